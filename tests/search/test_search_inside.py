"""Proposals stay inside the space that the restrictions leave."""

from __future__ import annotations

import numpy as np
import pytest
from small_search import gpt, scenario, walk_of

from flexsim.search.proposals import propose

NETWORKS = {
    "perceptron": lambda search: scenario(cluster={"devices": 4}, search=search),
    "transformer": lambda search: gpt(cluster={"devices": 4}, search=search),
}


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("placement", ["contiguous", "strided"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_proposal_leaves_a_space_of_powers_of_two_on_regular_devices(name, placement, copies):
    search = {"powers_of_two": True, "placement": placement, "copies": copies}
    walk = walk_of(NETWORKS[name](search))
    moves, state, rng = walk.moves, walk.state, np.random.default_rng(3)
    inside = {unit.name: set(moves.space.configs(unit)) for unit in moves.units}
    for _ in range(400):
        change = propose(moves, state, rng)
        assert change is not None
        state.apply(change)
        for unit in {moves.space.by_operator[name].name: 0 for name in change.configs}:
            own = next(each for each in moves.units if each.name == unit)
            assert own.config(state.configs) in inside[unit], change.kind
