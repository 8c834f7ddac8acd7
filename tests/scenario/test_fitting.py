"""What would make a scenario fit: real ways, cheapest first, that do make it fit."""

from __future__ import annotations

import pytest
from command_line import flexsim

from flexsim.scenario.batch import run_many
from flexsim.scenario.fitting import Advice, advice_on, sentence
from flexsim.scenario.load import load_scenario

TABLES = """
[model]
name = "gpt"
layers = 16
hidden = 6144
heads = 48
sequence = 2048
vocabulary = 51200

[cluster]
device_graph = "dgx-a100"
hosts = 1

[training]
global_batch = 16
micro_batch = {micro_batch}

[strategy]
name = "megatron"
tensor = 2
pipeline = 1
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "large.toml"
    file.write_text(TABLES.format(micro_batch=2))
    return str(file)


def test_ways_fit_and_the_cheapest_comes_first(path):
    scenario = load_scenario(path)
    assert run_many([scenario])[0].metrics["fits_memory"] is False
    ways = advice_on(scenario).ways
    keys = {next(iter(way.changes)) for way in ways if len(way.changes) == 1}
    assert {"strategy.tensor", "strategy.pipeline"} <= keys
    assert [way.relative_time for way in ways] == sorted(way.relative_time for way in ways)
    best = [f"{key}={str(value).lower()}" for key, value in ways[0].changes.items()]
    metrics = run_many([load_scenario(path, best)])[0].metrics
    assert metrics["fits_memory"] is True
    assert metrics["peak_memory_bytes"] == ways[0].peak_bytes


def test_the_command_says_what_would_help(path):
    answer = flexsim("run", path, "--output", "out")
    assert answer.code == 0
    assert "does not fit" in answer.out
    assert "it would fit, the cheapest way first, with" in answer.out
    assert "strategy." in answer.out.split("cheapest way first")[1]


def test_where_nothing_helps_it_tells_what_comes_nearest_and_what_more_devices_would_do(path):
    alone = ["cluster.devices=1", "strategy.tensor=1", "model.layers=4", "model.hidden=24576"]
    alone += ["training.global_batch=2", "training.micro_batch=1"]
    advice = advice_on(load_scenario(path, alone))
    capacity_bytes = 80 * 2**30
    assert not advice.ways
    assert advice.nearest.peak_bytes > capacity_bytes >= advice.larger.peak_bytes
    changes = [f"{key}={value}".replace("'", '"') for key, value in advice.larger.changes.items()]
    metrics = run_many([load_scenario(path, [*alone, *changes])])[0].metrics
    assert metrics["peak_memory_bytes"] == advice.larger.peak_bytes
    assert metrics["num_devices"] == advice.larger.changes["cluster.devices"] > 1
    told = sentence(advice, capacity_bytes)
    assert "makes it fit; the nearest lacks" in told
    assert f"\non more devices it would fit with\n  {advice.larger}" in told


def test_where_nothing_can_be_tried_it_says_so():
    assert sentence(Advice([]), 80 * 2**30).startswith("no way of recomputation")
