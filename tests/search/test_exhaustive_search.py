"""Branch and bound against trying everything, and its bounds against simulated makespans."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from small_search import gpt, scenario, walk_of
from test_proof_chain import walk_of as walk_on_p100

from flexsim.search.arrangement import moved
from flexsim.search.bound_loads import LoadBound, LoadTables, no_loads
from flexsim.search.bound_path import PathBound
from flexsim.search.exhaustive import exhaustive
from flexsim.search.exhaustive_chain import chain_tree
from flexsim.search.exhaustive_leaves import numberings
from flexsim.search.objective import simulated
from flexsim.search.prices import Prices
from flexsim.search.problem import random_configs
from flexsim.search.proposals import propose


@pytest.mark.parametrize("hidden", [64, 4096])
def test_it_finds_what_trying_everything_finds(hidden):
    one = scenario(model={"layers": 1, "hidden": hidden}, search={"copies": False})
    walk = walk_of(one, budget=None)
    lowest = min(
        simulated(walk.problem, configs, {}).makespan_ns for configs in every_strategy(walk)
    )
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest


@pytest.mark.parametrize("placement", ["contiguous", "arbitrary"])
def test_it_does_so_for_networks_that_branch(placement):
    model = {"preset": "rnntc", "sequence": 2, "layers": 1, "hidden": 512, "vocabulary": 2000}
    search = {"copies": False, "placement": placement, "dimensions": "SPO"}
    walk = walk_on_p100(model, 2, batch=8, **search)
    assert chain_tree(walk) is None
    lowest = min(filter(None, (makespan_ns(walk, each) for each in every_strategy(walk))))
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest


def every_strategy(walk):
    """Yield all strategies of a walk's space."""
    units = walk.moves.units
    for choice in product(*(list(walk.moves.space.configs(unit)) for unit in units)):
        pairs = zip(units, choice, strict=True)
        yield {n: c for unit, each in pairs for n, c in unit.configs(each).items()}


def makespan_ns(walk, configs):
    """Return what simulating a strategy gives."""
    found = walk.objective.propose(configs, None)
    walk.objective.reject()
    return found.makespan_ns


def recurrent(preset, devices, **model):
    """Return a walk over a small recurrent network of two or three steps."""
    return walk_on_p100({"preset": preset, "sequence": 2, **model}, devices, batch=16 * devices)


SETTINGS = {
    "perceptron": lambda: walk_on_p100({"name": "mlp", "layers": 3, "hidden": 2048}, 4),
    "microbatches": lambda: walk_of(scenario(training={"micro_batch": 1, "global_batch": 16})),
    "transformer": lambda: walk_of(gpt()),
    "lenet": lambda: walk_on_p100({"preset": "lenet-5"}, 4),
    "rnnlm": lambda: recurrent("rnnlm", 4),
    "three steps": lambda: recurrent("rnnlm", 3, sequence=3, hidden=64, vocabulary=96),
    "nmt": lambda: recurrent("nmt", 3, hidden=128, vocabulary=1000),
}
NUM_DRAWN = {"microbatches": 60, "transformer": 20, "nmt": 150}
"""Strategies by setting, where those take longer than the others."""


@pytest.mark.parametrize("name", SETTINGS)
def test_no_bound_of_a_partial_strategy_is_above_the_makespan(name):
    walk = SETTINGS[name]()
    rng = np.random.default_rng(9)
    for _ in range(NUM_DRAWN.get(name, 300)):
        configs = strategy_near(walk, rng)
        simulated_ns = makespan_ns(walk, configs)
        if simulated_ns:
            assert max(bounds_ns(walk, configs, rng)) <= simulated_ns


def strategy_near(walk, rng):
    """Return a random strategy half of the time, else one that proposals wander to."""
    if rng.random() < 0.5:
        return random_configs(walk.problem, walk.moves.space, rng)
    for _ in range(3):
        walk.state.apply(propose(walk.moves, walk.state, rng))
    return dict(walk.state.configs)


def bounds_ns(walk, configs, rng):
    """Return the bounds of a strategy's beginnings, by paths for a random one and for all."""
    prices, num_devices = Prices(walk.problem), walk.problem.devices.num_devices
    tables = LoadTables(prices, num_devices)
    units = walk.moves.units
    own = [[unit.config(configs)] for unit in units]
    loads = [tables.of_unit(unit, each) for unit, each in zip(units, own, strict=True)]
    used = {device for pool in walk.moves.space.pools.values() for device in pool.devices}
    load_bound = LoadBound(tables, loads, no_loads(num_devices), len(used))
    path_bound = PathBound(prices, tables, {name: [each] for name, each in configs.items()})
    lengths = {int(rng.integers(len(units))), len(units) - 1}
    found, partial, now = [], {}, load_bound.begin
    for depth, unit in enumerate(units):
        found.append(int(load_bound(depth, now)[0]))
        now = load_bound.after(depth, now, 0)
        partial |= unit.configs(own[depth][0])
        if depth in lengths:
            found.append(path_bound(partial, now.parameters))
    return found


def test_numberings_are_all_that_differ_in_the_devices_numbers():
    walk = walk_on_p100({"name": "mlp", "layers": 1, "hidden": 64}, 3, copies=False)
    configs = random_configs(walk.problem, walk.moves.space, np.random.default_rng(2))
    wanted = {
        tuple(moved(each, np.array(numbers)[each.mesh.devices]) for each in configs.values())
        for numbers in permutations(range(3))
    }
    found = [tuple(each.values()) for each in numberings(configs, 3)]
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert [tuple(each.values()) for each in numberings(configs, 0)] == found[:1]
