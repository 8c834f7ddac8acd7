"""The space: counted exactly, listed, restricted, and drawn from."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations, product
from math import factorial, perm, prod

import numpy as np
import pytest
from command_line import flexsim as command_line
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpt import toml_text
from small_search import content, gpt, moves_of, scenario, steps_apart

from flexsim.errors import FlexSimError
from flexsim.search.arrangement import COPIES, arranged, degrees_of, normal, prime_factors
from flexsim.search.objective import simulated
from flexsim.search.placements import FAMILIES, Pool
from flexsim.search.problem import make_problem, normal_configs
from flexsim.search.size import short, space_size
from flexsim.search.space import Restrictions
from flexsim.search.units import find_units

POOLS = [Pool(tuple(range(8)), 4), Pool((0, 2, 3, 7, 9), 0), Pool((5,), 1)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_counts_what_it_lists_and_draws_from_it(name, pool):
    family, rng = FAMILIES[name], np.random.default_rng(0)
    for number in range(1, min(pool.size, 4) + 1):
        listed = list(family.members(pool, number))
        assert len(set(listed)) == len(listed) == family.count(pool, number)
        for devices in listed:
            assert len(set(devices)) == number
            assert set(devices) <= set(pool.devices)
        drawn = {family.draw(pool, number, rng) for _ in range(20)}
        assert drawn - {None} <= set(listed)


def test_arbitrary_assignments_are_ordered_choices():
    assert FAMILIES["arbitrary"].count(POOLS[0], 8) == factorial(8)


def test_the_size_of_a_linear_layer_by_hand():
    one = scenario(model={"layers": 1}, search={"copies": False})
    moves = moves_of(one)
    linear = moves.units[0]
    # b, h or f halved on two devices in either order, or whole on one of two.
    assert moves.space.size(linear) == 3 * 2 + 2
    assert len(list(moves.space.configs(linear))) == 8


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"copies": False},
        {"powers_of_two": True},
        {"placement": "contiguous"},
        {"placement": "hierarchical", "dimensions": "OP"},
        {"dimensions": "SP"},
    ],
)
def test_the_size_is_the_number_of_configs_listed(search):
    moves = moves_of(scenario(cluster={"devices": 4}, search=search))
    for unit in moves.units:
        configs = list(moves.space.configs(unit))
        assert len(configs) == len(set(configs)) == moves.space.size(unit)


def placed_parts(unit, letters, num_devices):
    """Return every way to cut a unit and give each part a device of its own, as plain sets."""
    dims = [dim for dim in unit.dims if dim.letter in letters]
    choices = [range(1, min(dim.limit, num_devices) + 1) for dim in dims]
    found = set()
    for degrees in product(*choices):
        parts = list(product(*(range(degree) for degree in degrees)))
        if len(parts) > num_devices:
            continue
        choose = permutations(range(num_devices), len(parts)) if "O" in letters else None
        for devices in choose or [range(len(parts))]:
            found.add((degrees, frozenset(zip(parts, devices, strict=True))))
    return found


@pytest.mark.parametrize("letters", ["S", "O", "A", "P", "SP", "SAP", "SOAP"])
def test_the_size_is_what_cutting_and_placing_by_hand_gives(letters):
    three = {"cluster": {"devices": 3}, "training": {"global_batch": 12}}
    moves = moves_of(scenario(**three, search={"copies": False}))
    networks = [moves, moves_of(steps_apart(copies=False, dimensions="SOAP"))]
    for each in networks:
        size = {row.name: row for row in space_size(each.space).rows}
        restricted = replace(
            each.space, restrictions=replace(each.space.restrictions, dimensions=letters)
        )
        for unit in each.units[:6]:
            number = len(placed_parts(unit, letters, each.space.pool(unit).size))
            assert restricted.size(unit) == number
            if letters in size[unit.name].by_letter:
                assert size[unit.name].by_letter[letters] == number


def test_the_size_in_all_is_a_product_of_exact_numbers():
    space = moves_of(gpt(search={"copies": False})).space
    size = space_size(space)
    assert size.together == prod(row.together for row in size.rows)
    assert size.by_letter["O"] == 8 ** len(space.units)
    assert size.together > perm(8, 8) ** 10
    assert short(size.together).startswith(str(size.together)[0])


def test_operators_that_share_a_weight_are_one_unit():
    units = {unit.name: unit for unit in find_units(make_problem(gpt()).graph)}
    assert [op.name for op in units["word_embedding"].operators] == ["word_embedding", "logits"]
    assert units["word_embedding"].letters == {"b": "S", "s": "A", "v": "P", "h": "P"}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), dimensions=st.sampled_from(["SOAP", "SP", "O", "A", "SOP"]))
def test_what_is_drawn_keeps_the_restrictions(seed, dimensions):
    moves = moves_of(scenario(cluster={"devices": 4}, search={"dimensions": dimensions}))
    rng = np.random.default_rng(seed)
    for unit in moves.units:
        config = moves.space.draw(unit, moves.space.pool(unit), rng)
        letters = {unit.letters[dim] for dim in degrees_of(config) if dim != COPIES}
        assert letters <= set(dimensions)
        if "O" not in dimensions:
            assert config.mesh.flat.tolist() == [*range(config.mesh.size)]


def test_degrees_are_read_back():
    degrees = {"b": 6, "h": 2, COPIES: 2}
    config = arranged(degrees, range(24))
    assert degrees_of(config) == degrees
    assert config.mesh.shape == (2, 3, 2, 2)
    assert prime_factors(360) == (2, 2, 2, 3, 3, 5)


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_normal_form_changes_no_makespan(pipeline, sequence_parallel):
    changes = {"sequence_parallel": sequence_parallel}
    problem = make_problem(gpt(pipeline, strategy={"tensor": 4, **changes}))
    own = simulated(problem, problem.base.configs, problem.base.stage_of)
    assert own == simulated(problem, normal_configs(problem.base), problem.base.stage_of)
    config = next(iter(problem.base.configs.values()))
    assert normal(normal(config)) == normal(config)


@pytest.mark.parametrize(("letters", "said"), [("SX", "'X'"), ("SS", "once"), ("", "once")])
def test_wrong_letters_are_refused(letters, said):
    with pytest.raises(FlexSimError, match=said):
        Restrictions(letters)


def test_the_command_prints_exact_numbers(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(toml_text(content(search={"copies": False})), encoding="utf-8")
    answer = command_line("space", str(path), "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert found["operators"]["layer0.linear"]["together"] == 8
    assert found["in_all"]["O"] == 2 ** len(found["operators"])
    table = command_line("space", str(path))
    assert "in all" in table.out
    assert "b8:S h64:P f256:P" in table.out
