"""Branch and bound against trying everything, and its bounds against simulated makespans."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from small_search import gpt, scenario, walk_of
from test_proof_chain import walk_of as walk_on_p100

from flexsim.search.arrangement import moved
from flexsim.search.exhaustive import exhaustive, tree_of
from flexsim.search.exhaustive_chain import chain_tree
from flexsim.search.exhaustive_leaves import numberings
from flexsim.search.objective import simulated
from flexsim.search.problem import random_configs
from flexsim.search.proposals import propose


@pytest.fixture
def few_proposals(monkeypatch):
    """Leave nearly all of the search to the tree."""
    for name in ("_MOST_GREEDY", "_MOST_WALKED"):
        monkeypatch.setattr(f"flexsim.search.exhaustive.{name}", 20)


@pytest.mark.usefixtures("few_proposals")
@pytest.mark.parametrize("hidden", [64, 4096])
def test_it_finds_what_trying_everything_finds(hidden):
    one = scenario(model={"layers": 1, "hidden": hidden}, search={"dimensions": "SP"})
    walk = walk_of(one, budget=None)
    lowest = min(
        simulated(walk.problem, configs, {}).makespan_ns for configs in every_strategy(walk)
    )
    assert exhaustive(walk)
    assert walk.best_evaluation.makespan_ns == lowest


@pytest.mark.usefixtures("few_proposals")
@pytest.mark.parametrize(
    "search", [{"placement": "contiguous"}, {"placement": "arbitrary", "dimensions": "SO"}]
)
def test_it_does_so_for_networks_that_branch(search):
    model = {"preset": "rnntc", "sequence": 2, "layers": 1, "hidden": 512, "vocabulary": 2000}
    walk = walk_on_p100(model, 2, batch=8, copies=False, **search)
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


MICROBATCHES = {"micro_batch": 1, "global_batch": 16}
REGULAR = {"powers_of_two": True, "placement": "contiguous"}


def recurrent(preset, devices, **model):
    """Return a walk over a small recurrent network of two or three steps."""
    content = {"preset": preset, "sequence": 2, **model}
    return walk_on_p100(content, devices, batch=16 * devices, **REGULAR)


SETTINGS = {
    "perceptron": lambda: walk_on_p100({"name": "mlp", "layers": 3, "hidden": 2048}, 4, **REGULAR),
    "microbatches": lambda: walk_of(scenario(training=MICROBATCHES, search=REGULAR)),
    "inference": lambda: walk_of(scenario(strategy={"schedule": "forward"}, search=REGULAR)),
    "transformer": lambda: walk_of(gpt(search=REGULAR)),
    "lenet": lambda: walk_on_p100({"preset": "lenet-5"}, 4, **REGULAR),
    "rnnlm": lambda: recurrent("rnnlm", 4),
    "three steps": lambda: recurrent("rnnlm", 4, sequence=3, hidden=64, vocabulary=96),
    "nmt": lambda: recurrent("nmt", 4, hidden=128, vocabulary=1000),
}
NUM_DRAWN = {
    "microbatches": 40,
    "inference": 40,
    "transformer": 5,
    "nmt": 40,
    "lenet": 60,
    "three steps": 60,
}
"""Strategies by setting, where those take longer than the others."""


@pytest.mark.parametrize("name", SETTINGS)
def test_no_bound_of_a_partial_strategy_is_above_the_makespan(name):
    walk = SETTINGS[name]()
    tree, rng = tree_of(walk, 0), np.random.default_rng(9)
    for _ in range(NUM_DRAWN.get(name, 120)):
        numbers = strategy_near(walk, tree, rng)
        own = [tree.choices[depth][number] for depth, number in enumerate(numbers)]
        pairs = zip(walk.moves.units, own, strict=True)
        configs = {n: c for unit, each in pairs for n, c in unit.configs(each).items()}
        simulated_ns = makespan_ns(walk, configs)
        if simulated_ns:
            assert max(bounds_ns(walk, tree, numbers, rng)) <= simulated_ns


def strategy_near(walk, tree, rng):
    """Return the configs' numbers in a strategy: any, or half of the time one near the last."""
    if rng.random() < 0.5:
        return [int(rng.integers(len(choices))) for choices in tree.choices]
    for _ in range(3):
        walk.state.apply(propose(walk.moves, walk.state, rng))
    own = [unit.config(walk.state.configs) for unit in walk.moves.units]
    return [choices.index(each) for choices, each in zip(tree.choices, own, strict=True)]


def bounds_ns(walk, tree, numbers, rng):
    """Return the bounds of a strategy's beginnings, by paths for one of them, often for all."""
    length = min(int(rng.integers(2 * len(numbers))), len(numbers) - 1)
    found, partial, now = [], {}, tree.loads.begin
    for depth, number in enumerate(numbers):
        found.append(int(tree.loads(depth, now)[number]))
        now = tree.loads.after(depth, now, number)
        partial |= walk.moves.units[depth].configs(tree.choices[depth][number])
        if depth == length:
            found.append(tree.paths(partial, now.parameters))
    return found


def test_numberings_are_all_that_differ_in_the_devices_numbers():
    walk = walk_on_p100({"name": "mlp", "layers": 1, "hidden": 64}, 3, 12, copies=False)
    configs = random_configs(walk.problem, walk.moves.space, np.random.default_rng(2))
    wanted = {
        tuple(moved(each, np.array(numbers)[each.mesh.devices]) for each in configs.values())
        for numbers in permutations(range(3))
    }
    found = [tuple(each.values()) for each in numberings(configs, 3)]
    assert set(found) == wanted
    assert len(found) == len(wanted)
    assert [tuple(each.values()) for each in numberings(configs, 0)] == found[:1]
