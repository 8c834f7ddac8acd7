"""Proposals along mesh axes, and walks that begin at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_search import gpt, moves_of, scenario, walk_of

from flexsim.search.arrangement import degrees_of
from flexsim.search.delta_objective import delta_objective
from flexsim.search.mcmc import mcmc
from flexsim.search.moves import State
from flexsim.search.problem import random_configs
from flexsim.search.proposals import PROPOSALS
from flexsim.search.trace import ACCEPTED, NEVER
from flexsim.search.whole_proposals import _Taking

GPT = gpt(strategy={"tensor": 1})


def at_data_parallelism():
    walk = walk_of(GPT)
    return walk.moves, walk.state


def test_a_cut_of_one_layer_flows_to_those_that_keep_its_dimension():
    moves, state = at_data_parallelism()
    taking = _Taking(moves, state, "x2", "b")
    fc1 = next(unit for unit in moves.units if unit.name == "layer0.fc1")
    taking.give_onwards(fc1, "f")
    names = {f"layer{k}.{name}" for k in range(2) for name in ("fc1", "gelu", "fc2")}
    assert taking.configs.keys() == names
    for config in taking.configs.values():
        assert degrees_of(config) == {"b": 4, "f": 2}


def test_a_claim_takes_an_axis_from_whatever_held_it():
    moves, state = at_data_parallelism()
    state.apply(PROPOSALS["axis"].propose(moves, state, np.random.default_rng(3)))
    for name in ("x0", "x1", "x2"):
        taking = _Taking(moves, state, name, "")
        taking.claim(moves.units[0], "b")
        state.configs |= taking.configs
    assert {degrees_of(config).get("b") for config in state.configs.values()} == {8}


@pytest.mark.parametrize("pipeline", [1, 2])
def test_an_even_state_uses_all_devices_of_a_rank(pipeline):
    moves = moves_of(gpt(pipeline))
    walk = walk_of(gpt(pipeline))
    rng = np.random.default_rng(0)
    state = State(random_configs(walk.problem, moves.space, rng), walk.state.stage_of)
    change = PROPOSALS["even"].propose(moves, state, rng)
    for unit in moves.units:
        config = {**state.configs, **change.configs}[unit.name]
        assert config.mesh.flat.tolist() == [*moves.pool(unit, state).devices]


def test_even_states_are_rarely_proposed_where_there_is_order():
    moves, state = at_data_parallelism()
    rng = np.random.default_rng(0)
    found = [PROPOSALS["even"].propose(moves, state, rng) for _ in range(40)]
    assert 0 < sum(change is not None for change in found) < 20


def test_a_walk_comes_down_to_what_fits_memory():
    one = scenario(cluster={"devices": 4})
    walk = walk_of(one)
    configs = random_configs(walk.problem, walk.moves.space, np.random.default_rng(4))
    large = walk.begin(State(configs, walk.state.stage_of))
    limit = large.peak_memory_bytes * 2 // 3
    new = walk_of(one, budget=200, seed=1)
    new.problem = replace(new.problem, memory_limit_bytes=limit)
    new.objective = delta_objective(new.problem)
    new.best, new.best_evaluation = State({}, {}), replace(new.best_evaluation, makespan_ns=NEVER)
    assert not new.begin(State(configs, walk.state.stage_of)).is_feasible
    mcmc(new)
    assert new.best_evaluation.peak_memory_bytes <= limit
    assert new.best_evaluation.is_feasible
    first = new.rows[0]
    assert first.best_ns == NEVER or first.outcome == ACCEPTED


def test_a_random_start_reaches_what_data_parallelism_takes():
    walk = walk_of(GPT, budget=200, seed=2)
    data_ns = walk.current.makespan_ns
    walk.objective, walk.temperature = delta_objective(walk.problem), 0.002
    walk.best_evaluation = replace(walk.best_evaluation, makespan_ns=NEVER)
    configs = random_configs(walk.problem, walk.moves.space, walk.rng)
    begun = walk.begin(State(configs, walk.state.stage_of))
    assert begun.makespan_ns > 1.5 * data_ns
    mcmc(walk)
    assert walk.best_evaluation.makespan_ns <= 1.03 * data_ns
