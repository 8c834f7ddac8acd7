"""Which configurations a sweep has: grids, zips, ranges, conditions, derived keys."""

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from small_sweep import SWEEP, configurations, opened, small_sweep

from flexsim.sweep.file import sweep_from
from flexsim.sweep.work import Opened

TENSOR, PIPELINE, DATA = "strategy.tensor", "strategy.pipeline", "strategy.data"


def test_a_grid_has_every_combination_the_last_key_fastest():
    found = configurations({"grid": {TENSOR: [1, 2], PIPELINE: [1, 4]}})
    assert found == [
        {TENSOR: 1, PIPELINE: 1},
        {TENSOR: 1, PIPELINE: 4},
        {TENSOR: 2, PIPELINE: 1},
        {TENSOR: 2, PIPELINE: 4},
    ]


def test_nested_tables_are_dotted_keys():
    nested = {"strategy": {"tensor": [1, 2]}, "training": {"micro_batch": [4]}}
    assert configurations({"grid": nested}) == [
        {TENSOR: 1, "training.micro_batch": 4},
        {TENSOR: 2, "training.micro_batch": 4},
    ]


def test_keys_of_a_zip_go_in_step():
    zipped = {"strategy.schedule": ["gpipe", "1f1b"], "strategy.chunks": [1, 2]}
    found = configurations({"grid": {TENSOR: [1, 2]}, "zip": zipped})
    assert [tuple(each.values()) for each in found] == [
        (1, "gpipe", 1),
        (1, "1f1b", 2),
        (2, "gpipe", 1),
        (2, "1f1b", 2),
    ]


def test_several_zips_are_combined():
    zips = [{TENSOR: [1, 2], PIPELINE: [4, 2]}, {"training.micro_batch": [1, 2, 4]}]
    assert len(configurations({"zip": zips})) == 6


@pytest.mark.parametrize(
    ("given_range", "values"),
    [
        ({"from": 1, "to": 4}, [1, 2, 3, 4]),
        ({"from": 2, "to": 9, "step": 3}, [2, 5, 8]),
        ({"from": 1, "to": 64, "factor": 2}, [1, 2, 4, 8, 16, 32, 64]),
        ({"from": 3, "to": 40, "factor": 3}, [3, 9, 27]),
        ({"divisors_of": 12}, [1, 2, 3, 4, 6, 12]),
    ],
)
def test_ranges(given_range, values):
    assert [each[TENSOR] for each in configurations({"grid": {TENSOR: given_range}})] == values


def test_conditions_and_derived_keys():
    found = configurations(
        {
            "grid": {TENSOR: [1, 2, 4, 8], PIPELINE: [1, 2, 3, 4]},
            "where": ["cluster.devices % (strategy.tensor * strategy.pipeline) == 0"],
            "derive": {DATA: "cluster.devices / (strategy.tensor * strategy.pipeline)"},
        }
    )
    assert [tuple(each.values()) for each in found] == [
        (t, p, 8 // (t * p)) for t in (1, 2, 4, 8) for p in (1, 2, 3, 4) if 8 % (t * p) == 0
    ]
    assert all(type(each[DATA]) is int for each in found)


def test_derived_keys_may_follow_from_one_another_and_stand_in_conditions():
    found = configurations(
        {
            "grid": {TENSOR: [1, 2, 4]},
            "derive": {PIPELINE: "strategy.data // 2", DATA: "cluster.devices // strategy.tensor"},
            "where": "strategy.pipeline > 1 and min(strategy.data, 99) < 8",
        }
    )
    assert found == [{TENSOR: 2, PIPELINE: 2, DATA: 4}]


@pytest.mark.parametrize(
    ("grid", "devices"),
    [
        ({"cluster.hosts": [1, 2, 16]}, [8, 16, 128]),
        ({"cluster.device_graph": ["dgx-a100", "dgx2-v100"]}, [8, 16]),
        ({"cluster.devices": [1, 4]}, [1, 4]),
    ],
)
def test_the_number_of_devices_is_known_however_the_cluster_varies(grid, devices):
    found = configurations({"grid": grid, "derive": {DATA: "cluster.devices"}})
    assert [each[DATA] for each in found] == devices


def test_the_sizes_of_a_preset_are_known():
    content = small_sweep({"grid": {"model.preset": ["gpt3-175b", "gpt-1.7b"]}})
    content["model"] = {}
    content["sweep"]["derive"] = {"training.micro_batch": "model.layers // model.heads"}
    space = Opened(sweep_from(content)).space
    found = [space.with_derived(space.plain_values(n))["training.micro_batch"] for n in (0, 1)]
    assert found == [96 // 96, 24 // 24]


@pytest.mark.parametrize(
    ("name", "value"),
    [("strategy.data", 2), ("strategy.chunks", 1), ("cluster.hosts", 1), ("model.layers", 4)],
)
def test_keys_that_do_not_vary_are_known(name, value):
    (found,) = configurations({"grid": {TENSOR: [1]}, "derive": {"training.micro_batch": name}})
    assert found["training.micro_batch"] == value


def test_refused_combinations_are_counted_by_the_condition_that_refused_them():
    table = {
        "grid": {TENSOR: [1, 2, 4, 8], PIPELINE: [1, 2], "training.micro_batch": [1, 2, 3]},
        "where": ["strategy.tensor <= 4", "strategy.tensor * training.micro_batch != 6"],
    }
    refused: Counter = Counter()
    numbers = list(opened(table).walk(refused))
    assert refused == {
        "strategy.tensor <= 4": 6,
        "strategy.tensor * training.micro_batch != 6": 2,
    }
    assert len(numbers) == 24 - 8


def test_a_division_by_zero_refuses_only_where_it_happens():
    table = {"grid": {TENSOR: [1, 2]}, "where": "4 / (strategy.tensor - 1) > 1"}
    refused: Counter = Counter()
    assert len(list(opened(table).walk(refused))) == 1
    assert list(refused) == ["'4 / (strategy.tensor - 1) > 1': division by zero"]


_AXES = {
    TENSOR: [1, 2, 3, 4],
    PIPELINE: [1, 2, 4],
    DATA: [1, 2, 8],
    "training.micro_batch": [1, 2],
}
_CONDITIONS = {
    "strategy.tensor * strategy.pipeline * strategy.data == cluster.devices": (
        lambda t, p, d, m: t * p * d == 8
    ),
    "strategy.tensor > strategy.data or training.micro_batch == 1": (
        lambda t, p, d, m: t > d or m == 1
    ),
    "not strategy.pipeline in [2, 4]": lambda t, p, d, m: p not in [2, 4],
    "1 < strategy.tensor <= 3": lambda t, p, d, m: 1 < t <= 3,
}


@settings(max_examples=40, deadline=None)
@given(order=some.permutations(list(_AXES)), wanted=some.sets(some.sampled_from([*_CONDITIONS])))
def test_the_walk_finds_what_trying_every_combination_finds(order, wanted):
    conditions = sorted(wanted)
    found = configurations({"grid": {key: _AXES[key] for key in order}, "where": conditions})
    combinations = product(*(_AXES[key] for key in order))
    every = [dict(zip(order, values, strict=True)) for values in combinations]
    assert found == [
        each
        for each in every
        if all(_CONDITIONS[text](*(each[key] for key in _AXES)) for text in conditions)
    ]


def test_the_walk_builds_nothing_ahead():
    huge = {"from": 1, "to": 1000}
    table = {"grid": {TENSOR: huge, PIPELINE: huge, DATA: huge}}
    walk = opened(table).walk()
    assert [next(walk) for _ in range(3)] == [0, 1, 2]


def test_the_shared_example_has_the_splits_of_its_devices():
    splits = [each[TENSOR] * each[PIPELINE] * each[DATA] for each in configurations(SWEEP)]
    assert set(splits) == {8}
    assert len(splits) == 2 * 9
