"""The shipped sweeps: each is valid, and its first configurations are simulated."""

from collections import Counter
from itertools import islice

import pytest
from shipped_scenarios import ROOT

from flexsim.files import shipped_names
from flexsim.sweep.checks import check_sweep
from flexsim.sweep.columns import OK, OUT_OF_MEMORY
from flexsim.sweep.file import load_sweep
from flexsim.sweep.work import Opened

NAMES = shipped_names("scenarios/sweeps")
SIZES = {
    "gpt-18b-splits": 32,
    "gpt3-175b-splits-64xa100": 1554,
    "gpt3-175b-splits-1024xa100": 1590,
    "micro-batches": 15,
    "model-sizes": 306,
    "schedules": 40,
    "weak-scaling": 15,
}
FIRST = 3


def _opened(name):
    opened = Opened(load_sweep(ROOT / "scenarios" / "sweeps" / f"{name}.toml"))
    check_sweep(opened)
    return opened


@pytest.mark.parametrize("name", NAMES)
def test_it_has_as_many_configurations_as_it_says(name):
    refused: Counter = Counter()
    opened = _opened(name)
    num_left = sum(1 for _ in opened.walk(refused))
    assert num_left == SIZES[name]
    assert num_left + sum(refused.values()) == opened.space.size


@pytest.mark.parametrize("name", NAMES)
def test_its_first_configurations_are_simulated(name):
    opened = _opened(name)
    rows = [opened.row(number) for number in islice(opened.walk(), FIRST)]
    assert {row.status for row in rows} <= {OK, OUT_OF_MEMORY}


@pytest.mark.parametrize("name", NAMES)
def test_every_condition_leaves_something_out(name):
    opened = _opened(name)
    refused: Counter = Counter()
    list(opened.walk(refused))
    assert sorted(refused) == sorted(opened.table.conditions)
