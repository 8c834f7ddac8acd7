"""The delta objective: the same answers as the full one, through the protocol of a search."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from engine.delta_walk import any_config, problem, single_units

from flexsim.search.delta_objective import DeltaObjective, delta_objective
from flexsim.search.objective import FullObjective
from flexsim.strategy import Mesh, ParallelConfig
from flexsim.task_graph.blocks import why_not

SHAPE = {"layers": 2, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}


def whole(graph, device=0):
    """Return configs that run every operator on one device."""
    mesh = Mesh(("x0",), [device])
    return {op.name: ParallelConfig.of(mesh, {}) for op in graph.operators}


@pytest.mark.parametrize("seed", range(4))
def test_a_metropolis_chain_takes_the_same_way(seed):
    rng = random.Random(seed)
    searched = problem("gpt", 8, rng, **SHAPE)
    full, delta = FullObjective(searched), delta_objective(searched)
    assert isinstance(delta, DeltaObjective)
    start = whole(searched.graph)
    current = full.start(start).makespan_ns
    assert delta.start(start).makespan_ns == current
    units = single_units(searched.graph)
    for _ in range(15):
        unit = rng.choice(units)
        config = any_config(unit, searched.devices.num_devices, rng)
        if not unit.accepts(config):
            continue
        limit = round(current * (1 - 0.02 * np.log(rng.random())))
        found = full.propose(unit.configs(config), None)
        same = delta.propose(unit.configs(config), limit)
        accepted = found.is_feasible and found.makespan_ns <= limit
        assert accepted == (same is not None and same.is_feasible and same.makespan_ns <= limit)
        if accepted:
            assert same == found
            current = found.makespan_ns
            full.accept()
            delta.accept()
        else:
            full.reject()
            delta.reject()


def test_a_refused_proposal_leaves_the_state_as_it_was():
    searched = problem("mlp", 8, random.Random(1), layers=2, hidden=16)
    delta = DeltaObjective(searched)
    before = delta.start(whole(searched.graph))
    name = searched.graph.operators[0].name
    beyond = {name: ParallelConfig.of(Mesh(("x0",), [99]), {})}
    found = delta.propose(beyond, None)
    assert not found.is_feasible
    assert found.refusal == refusal_in_full(searched, beyond)
    delta.reject()
    assert delta.propose({}, None) == before


def refusal_in_full(searched, changes):
    full = FullObjective(searched)
    full.start(whole(searched.graph))
    return full.propose(changes, None).refusal


def test_a_start_that_does_not_fit_is_refused_with_the_reason():
    searched = problem("mlp", 8, random.Random(1), layers=2, hidden=16)
    configs = whole(searched.graph, device=1000)
    assert DeltaObjective(searched).start(configs) == FullObjective(searched).start(configs)


def test_a_memory_limit_makes_a_strategy_infeasible():
    searched = problem("mlp", 8, random.Random(1), layers=2, hidden=16)
    configs = whole(searched.graph)
    limited = replace(searched, memory_limit_bytes=1)
    assert DeltaObjective(limited).start(configs) == FullObjective(limited).start(configs)
    assert not DeltaObjective(limited).start(configs).is_feasible


@pytest.mark.parametrize(
    "change",
    [
        {"num_microbatches": 2},
        {"rank_of_stage": (0, 1)},
        {"blocking_transfers": True},
        {"recompute": (("a",),)},
    ],
)
def test_what_blocks_do_not_serve_is_simulated_in_full(change):
    searched = problem("mlp", 8, random.Random(1), layers=2, hidden=16)
    other = replace(searched, base=replace(searched.base, **change))
    assert why_not(other.base)
    assert isinstance(delta_objective(other), FullObjective)
