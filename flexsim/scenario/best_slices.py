"""The slices of a sequence that a pipeline passes fastest, from what slices of a layer take."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from flexsim.models import ModelConfig, build_model
from flexsim.operator_graph.slices import one_slice
from flexsim.scenario.choices import Subject
from flexsim.scenario.schema import BEST, Scenario
from flexsim.scenario.stage_costs import unit_costs
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import stages_of_layers
from flexsim.strategy.token_slices import Int64, best_cuts

MOST_UNITS = 16
"""Slices are whole numbers of the units that a sequence has at most."""


def with_best_slices(
    scenario: Scenario, degrees: Degrees, config: ModelConfig, subject: Subject
) -> tuple[Degrees, tuple[str, ...]]:
    """Return the degrees with the best slices, if they are asked for, and a note on them."""
    if scenario.strategy.token_slices != BEST:
        return degrees, ()
    step = _unit(config.sequence, degrees.tensor if degrees.sequence_parallel else 1)
    slice_ns = _slice_ns(degrees, config, subject, step)
    cuts = best_cuts(slice_ns, degrees.pipeline, degrees.num_microbatches)
    lengths = tuple(step * (end - begin) for begin, end in pairwise((0, *cuts)))
    told = ", ".join(map(str, lengths))
    note = f"slices: {told} of {config.sequence} tokens, the fastest in steps of {step}"
    return replace(degrees, slices=lengths), (note,)


def _unit(positions: int, multiple: int) -> int:
    """Return the shortest unit that divides a sequence and is a multiple of what cuts it."""
    least = -(-positions // MOST_UNITS)
    fits = [n for n in range(least, positions + 1) if not positions % n and not n % multiple]
    return fits[0] if fits else positions


def _slice_ns(degrees: Degrees, config: ModelConfig, subject: Subject, step: int) -> Int64:
    """Return what the slowest stage takes for a slice from unit a to unit b."""
    graph = subject.graph
    layer = build_model(replace(config, layers=1), graph.num_sequences, graph.precision)
    size = config.sequence // step + 1
    found = np.zeros((size, size), np.int64)
    for begin, end in zip(*np.triu_indices(size, 1), strict=True):
        cut = one_slice(layer, int(begin) * step, int(end) * step)
        found[begin, end] = _slowest_ns(degrees, config, replace(subject, graph=cut))
    return found


def _slowest_ns(degrees: Degrees, config: ModelConfig, subject: Subject) -> int:
    """Return what the slowest stage takes, given a model of one of its layers."""
    costs = unit_costs(subject.graph, degrees, subject.devices, subject.costs)
    before, layer, after = costs.time_ns
    stages = stages_of_layers(config.layers, config.name, degrees)
    time_ns = layer * np.bincount(stages, minlength=degrees.pipeline)
    time_ns[0] += before
    time_ns[-1] += after
    return int(time_ns.max())
