"""As little recomputation as fits: what is chosen, checked against the simulated peak.

The choice is exact for what forwards keep. What passes hold beside it for a moment is only known
from a replay, so where a choice does not fit, the room is made smaller by what was too much.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.compiled import simulate
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.choices import Subject, memory_limit_bytes, schedule_of
from flexsim.scenario.schema import Scenario
from flexsim.scenario.small_recompute import Choice, SmallGraph
from flexsim.scenario.stage_costs import UnitCosts, unit_costs
from flexsim.strategy import BASELINES, Degrees, Strategy
from flexsim.strategy.baselines import ranks_of_stages, stages_of_layers
from flexsim.strategy.recompute import Segments, recompute_segments
from flexsim.strategy.recompute_chain import cheapest_choices
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.schedules.held import held_when_fullest
from flexsim.timeline.memory import peak_memory
from flexsim.units import format_bytes

Int64 = NDArray[np.int64]

OPTIONS = ("none", "selective", "full")
"""What may be done with a layer, the least first."""
_MOST_TRIES = 8
_WORDS = {
    frozenset((True,)): "recomputed",
    frozenset((True, False)): "recomputed in part",
    frozenset((False,)): "kept",
}


class Chooser(Protocol):
    """Chooses what is recomputed, with so many bytes for every rank."""

    def choose(self, room: Int64, /) -> Choice:
        """Return the cheapest choice that fits, as far as what is kept tells."""
        ...


@dataclass(frozen=True, eq=False)
class Chosen:
    """Runs of operators to recompute, and what was chosen in one sentence."""

    degrees: Degrees
    note: str


def with_best_recompute(scenario: Scenario, degrees: Degrees, subject: Subject) -> Chosen:
    """Return the degrees with the cheapest recomputation that fits on every rank.

    Where not even all layers' recomputation fits, that is taken and the sentence says by how
    much it does not.
    """
    limit = memory_limit_bytes(scenario, subject)
    chooser = _chooser(degrees, subject)
    room = np.full(degrees.pipeline, limit, np.int64)
    for _ in range(_MOST_TRIES):
        choice = chooser.choose(room)
        tried = replace(degrees, segments=choice.segments)
        over = _too_much(_strategy(scenario, tried, subject), subject, limit)
        again = (over > 0) & ~choice.is_least
        if not again.any():
            break
        room = np.where(again, choice.used_bytes - over, room)
    return Chosen(tried, _sentence(subject.graph, choice.segments, int(over.max()), limit))


def _strategy(scenario: Scenario, degrees: Degrees, subject: Subject) -> Strategy:
    strategy = BASELINES[scenario.strategy.name or ""](subject.graph, degrees)
    return replace(strategy, offload=degrees.offload)


def _too_much(strategy: Strategy, subject: Subject, limit_bytes: int) -> Int64:
    """Return by how much the fullest device of each rank exceeds the limit; 0 where it fits."""
    plan = plan_task_graph(subject.graph, strategy, subject.devices, subject.costs)
    peak = peak_memory(simulate(plan.task_graph()))
    over = np.zeros(strategy.num_ranks, np.int64)
    if peak is not None:
        known = peak.rank >= 0
        np.maximum.at(over, peak.rank[known], (peak.total - limit_bytes)[known])
    return over


def _sentence(graph: OperatorGraph, segments: Segments, over: int, limit: int) -> str:
    units = Counter(_how_much(graph, segments).values())
    what = "layer" if any(op.block for op in graph.operators) else "operator"
    ways = ("recomputed", "recomputed in part", "kept")
    parts = ", ".join(
        f"{units[way]} {what}{'s' * (units[way] > 1)} {way}" for way in ways if units[way]
    )
    sentence = f"training.recompute = best: {parts}"
    if over <= 0:
        return sentence
    return (
        f"{sentence}, and the fullest device still needs {format_bytes(over)} more than"
        f" {format_bytes(limit)}"
    )


def _how_much(graph: OperatorGraph, segments: Segments) -> dict[str, str]:
    """Return how much of every layer is recomputed; of every operator where there are none."""
    repeated = {name for segment in segments for name in segment}
    found: dict[str, set[bool]] = {}
    has_layers = any(op.block for op in graph.operators)
    for op in graph.operators:
        if op.block or not has_layers:
            found.setdefault(op.block or op.name, set()).add(op.name in repeated)
    return {key: _WORDS[frozenset(value)] for key, value in found.items()}


def _chooser(degrees: Degrees, subject: Subject) -> Chooser:
    if any(op.block for op in subject.graph.operators):
        return _Layers(degrees, subject)
    return SmallGraph(degrees, subject)


class _Layers:
    """Chooses for every layer of a chain, rank by rank."""

    def __init__(self, degrees: Degrees, subject: Subject) -> None:
        self.degrees, self.graph = degrees, subject.graph
        self.tables = [self._table(option, subject) for option in OPTIONS]
        self.held = held_when_fullest(schedule_of(degrees))
        self.runs = [_runs_by_layer(subject.graph, option) for option in OPTIONS]

    def _table(self, option: str, subject: Subject) -> UnitCosts:
        degrees = replace(self.degrees, recompute=option)
        return unit_costs(subject.graph, degrees, subject.devices, subject.costs)

    def choose(self, room: Int64) -> Choice:
        """Return the cheapest choice on every rank by itself."""
        option_of: dict[str, int] = {}
        is_least, used = np.zeros(len(room), bool), np.zeros(len(room), np.int64)
        for rank in range(len(room)):
            rest, layers = self._of_rank(rank)
            sizes = np.array([layer.sizes for layer in layers], np.int64)
            times = np.array([layer.times_ns for layer in layers], np.int64)
            found = cheapest_choices(sizes, times, int(room[rank]) - rest)
            is_least[rank] = found is None
            options = sizes.argmin(axis=1).tolist() if found is None else found
            used[rank] = rest + int(sizes[np.arange(len(layers)), options].sum())
            option_of |= {each.name: how for each, how in zip(layers, options, strict=True)}
        return Choice(self._segments(option_of), used, is_least)

    def _segments(self, option_of: dict[str, int]) -> Segments:
        found = [run for key, option in option_of.items() for run in self.runs[option].get(key, ())]
        index = {op.name: number for number, op in enumerate(self.graph.operators)}
        return tuple(sorted(found, key=lambda run: index[run[0]]))

    def _of_rank(self, rank: int) -> tuple[int, list[_Layer]]:
        """Return the bytes of a rank that are not to be chosen, and its layers."""
        found: list[_Layer] = []
        plain, rest = self.tables[0], 0
        for stage, at in enumerate(ranks_of_stages(self.degrees)):
            for unit in self._units_of_stage(stage) if at == rank else ():
                rest += int(plain.static_bytes[unit])
                if 0 < unit <= len(plain.blocks):
                    found.append(self._layer(stage, unit))
                else:
                    rest += int(self.held[stage] * plain.kept_bytes[unit])
        return rest, found

    def _units_of_stage(self, stage: int) -> list[int]:
        num_stages = self.degrees.pipeline * self.degrees.chunks
        layers = stages_of_layers(len(self.tables[0].blocks), self.graph.name, self.degrees)
        units: list[int] = np.flatnonzero(
            np.array([0, *layers, num_stages - 1]) == stage % num_stages
        ).tolist()
        return units

    def _layer(self, stage: int, unit: int) -> _Layer:
        lane = stage // (self.degrees.pipeline * self.degrees.chunks)
        prefix = f"lane{lane}." if lane else ""
        return _Layer(
            prefix + self.tables[0].blocks[unit - 1],
            [int(self.held[stage] * table.kept_bytes[unit]) for table in self.tables],
            [int(table.time_ns[unit] - self.tables[0].time_ns[unit]) for table in self.tables],
        )


class _Layer(NamedTuple):
    """A layer of a rank: bytes that it keeps and time that it adds, by option."""

    name: str
    sizes: list[int]
    times_ns: list[int]


def _runs_by_layer(graph: OperatorGraph, option: str) -> dict[str, Segments]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for run in recompute_segments(graph, option):
        found.setdefault(graph.by_name[run[0]].block, []).append(run)
    return {block: tuple(runs) for block, runs in found.items()}
