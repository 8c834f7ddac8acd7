"""Proposals: what each changes, that all letters come up, that restrictions are kept."""

from __future__ import annotations

import numpy as np
import pytest
from small_search import gpt, moves_of, scenario, steps_apart, walk_of

from flexsim.search.arrangement import degrees_of
from flexsim.search.moves import State
from flexsim.search.problem import make_problem, normal_configs
from flexsim.search.proposals import PROPOSALS, propose

NUM_DRAWS = 300


def start_of(one):
    problem = make_problem(one)
    return State(normal_configs(problem.base), dict(problem.base.stage_of))


def drawn(one, kind, number=NUM_DRAWS):
    """Draw changes of one kind, all of the same state, in which layers differ."""
    moves, state, rng = moves_of(one), start_of(one), np.random.default_rng(5)
    for _ in range(10):
        change = PROPOSALS["operator"].propose(moves, state, rng)
        if change is not None:
            state.apply(change)
    found = (PROPOSALS[kind].propose(moves, state, rng) for _ in range(number))
    return moves, state, [change for change in found if change is not None]


@pytest.mark.parametrize("kind", PROPOSALS)
def test_every_kind_proposes_something_new_that_operators_accept(kind):
    one = steps_apart() if kind == "sharers" else gpt(pipeline=2, cluster={"hosts": 2})
    moves, state, changes = drawn(one, kind)
    assert changes
    for change in changes:
        assert change.kind == kind
        assert change.stages or any(state.configs[n] != c for n, c in change.configs.items())
        letters = moves.letters(state, change)
        assert letters
        assert set(letters) <= set(PROPOSALS[kind].letters)
        for name in change.configs:
            unit = moves.space.by_operator[name]
            assert unit.accepts(unit.config({**state.configs, **change.configs}))


def test_every_letter_is_reached_alone_and_together():
    moves = moves_of(gpt())
    state, rng = start_of(gpt()), np.random.default_rng(0)
    letters = {moves.letters(state, propose(moves, state, rng)) for _ in range(1000)}
    assert {"S", "O", "A", "P"} <= letters
    assert "SOAP" in letters


@pytest.mark.parametrize("dimensions", ["S", "P", "SP", "OA"])
def test_letters_that_are_not_searched_are_not_touched(dimensions):
    one = scenario(cluster={"devices": 4}, search={"dimensions": dimensions})
    walk = walk_of(one)
    start = walk.state.copy()
    rng = np.random.default_rng(1)
    for _ in range(NUM_DRAWS):
        change = propose(walk.moves, walk.state, rng)
        if change is None:
            continue
        for name, config in change.configs.items():
            unit = walk.moves.space.by_operator[name]
            for dim, degree in degrees_of(config).items():
                same = degrees_of(start.configs[name]).get(dim) == degree
                assert same or unit.letters.get(dim, "O") in dimensions


def test_a_block_changes_equal_places_of_layers():
    _, _, changes = drawn(gpt(), "block")
    for change in changes:
        roles = {name.partition(".")[2] for name in change.configs}
        assert len(roles) == 1
    assert any(len(change.configs) == 2 for change in changes)


def test_a_stage_boundary_moves_neighbouring_operators_to_the_other_rank():
    one = gpt(pipeline=2, cluster={"hosts": 2})
    _, state, changes = drawn(one, "stage")
    order = list(state.configs)
    for change in changes:
        moved = [order.index(name) for name in change.configs]
        assert moved == [*range(min(moved), min(moved) + len(moved))] or moved[::-1] == sorted(
            moved
        )
        for name, stage in change.stages.items():
            assert stage == 1 - state.stage_of[name]
            assert not set(change.configs[name].mesh.flat) & set(state.configs[name].mesh.flat)


def test_a_neighbour_hands_its_mesh_on():
    _, state, changes = drawn(scenario(cluster={"devices": 4}, strategy={"data": 2}), "swap")
    start = changes[0]
    state.apply(start)
    moves, rng = moves_of(scenario(cluster={"devices": 4})), np.random.default_rng(0)
    meshes = {config.mesh for config in state.configs.values()}
    for _ in range(50):
        change = PROPOSALS["neighbour"].propose(moves, state, rng)
        if change is not None:
            assert {config.mesh for config in change.configs.values()} <= meshes


def test_pipelines_keep_operators_on_the_devices_of_their_rank():
    one = gpt(pipeline=2, cluster={"hosts": 2})
    moves, state, rng = moves_of(one), start_of(one), np.random.default_rng(2)
    for _ in range(NUM_DRAWS):
        change = propose(moves, state, rng)
        state.apply(change)
        for name in change.configs:
            unit = moves.space.by_operator[name]
            assert set(state.configs[name].mesh.flat) <= set(moves.pool(unit, state).devices)
