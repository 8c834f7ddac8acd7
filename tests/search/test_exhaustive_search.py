"""Branch and bound against trying everything, and its bound against simulated makespans."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_search import gpt, scenario, walk_of

from flexsim.search.bound import Bound
from flexsim.search.exhaustive import exhaustive
from flexsim.search.objective import simulated
from flexsim.search.prices import Prices
from flexsim.search.problem import random_configs


@pytest.mark.parametrize("hidden", [64, 4096])
def test_it_finds_what_trying_everything_finds(hidden):
    walk = walk_of(scenario(model={"layers": 1, "hidden": hidden}), budget=None)
    units, space = walk.moves.units, walk.moves.space
    lowest = min(
        simulated(walk.problem, _joined(units, choice), {}).makespan_ns
        for choice in product(*(list(space.configs(unit)) for unit in units))
    )
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest


SETTINGS = {
    "perceptron": walk_of(scenario(model={"layers": 3, "hidden": 2048}, cluster={"devices": 4})),
    "microbatches": walk_of(scenario(training={"micro_batch": 1, "global_batch": 16})),
    "transformer": walk_of(gpt()),
}


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(list(SETTINGS)), seed=st.integers(0, 10**6), known=st.floats(0, 1))
def test_the_bound_holds_for_every_strategy_that_extends_a_partial_one(name, seed, known):
    walk = SETTINGS[name]
    rng = np.random.default_rng(seed)
    configs = random_configs(walk.problem, walk.moves.space, rng)
    found = simulated(walk.problem, configs, {})
    if found.makespan_ns == 0:
        return
    bound = Bound(walk.problem, walk.moves, Prices(walk.problem))
    units = walk.moves.units
    for unit in units:
        bound.prepare(unit, [unit.config(configs)])
    chosen = units[: round(known * len(units))]
    partial = _joined(chosen, [unit.config(configs) for unit in chosen])
    least = [bound.of_unit(unit, unit.config(configs)) for unit in chosen]
    assert bound(partial, least) <= found.makespan_ns


def _joined(units, choice):
    return {
        name: config
        for unit, each in zip(units, choice, strict=True)
        for name, config in unit.configs(each).items()
    }
