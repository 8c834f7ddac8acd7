"""The metrics of every shipped scenario, compared byte by byte with what they were."""

import csv

import pytest
from shipped_scenarios import GOLDEN, NAMES, golden_path, names_in, outcome, skip_if_long

from flexsim.timeline.export import write_metrics


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_the_golden_ones(name, tmp_path, request):
    skip_if_long(name, request.config)
    found = outcome(name)
    path = golden_path(name) if request.config.getoption("--rewrite-golden") else tmp_path / "new"
    write_metrics(path, found.keys, found.metrics)
    assert golden_path(name).is_file(), "no golden file: write it with pytest --rewrite-golden"
    assert _cells(path) == _cells(golden_path(name))
    assert path.read_bytes() == golden_path(name).read_bytes()


def test_every_golden_file_has_its_scenario():
    assert names_in(GOLDEN, ".csv") == NAMES


def _cells(path):
    """Return the file by column, so that a difference is shown with its name."""
    with path.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    return row
