import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from command_line import flexsim
from scenario_content import GPT3_TOML


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Put a runner that records its scenarios in the real one's place."""
    seen = []

    def run(scenario):
        seen.append(scenario)
        written = [Path(scenario.directory) / "metrics.csv"]
        return SimpleNamespace(metrics={"mfu": 0.5}, engine="event", save=lambda directory: written)

    module = ModuleType("flexsim.scenario.runner")
    module.run = run
    monkeypatch.setitem(sys.modules, "flexsim.scenario.runner", module)
    monkeypatch.setattr("flexsim.scenario.report.summary_table", lambda result: "the table")
    monkeypatch.setattr("flexsim.cli.run._detail_sentence", lambda result: "one row a task")
    (tmp_path / "gpt3.toml").write_text(GPT3_TOML)
    return SimpleNamespace(seen=seen, file=str(tmp_path / "gpt3.toml"))


def test_run_prints_the_table_and_the_files(runs):
    answer = flexsim("run", runs.file)
    assert answer == (0, "the table\nwrote plots/gpt3/metrics.csv\none row a task\n", "")


def test_json_is_alone_on_standard_output(runs):
    answer = flexsim("run", runs.file, "--json")
    assert json.loads(answer.out) == {"mfu": 0.5}
    assert answer.err == ""


def test_quiet_prints_nothing(runs):
    assert flexsim("run", runs.file, "--quiet") == (0, "", "")


def test_options_replace_keys(runs):
    options = ("--set", "strategy.tensor=4", "--set", "title=new", "--engine", "event")
    flexsim("run", runs.file, *options, "--output", "8", "--detail", "operators")
    (scenario,) = runs.seen
    assert (scenario.strategy.tensor, scenario.title) == (4, "new")
    assert (scenario.directory, scenario.output.detail) == (Path("8"), "operators")


@pytest.mark.parametrize(
    ("options", "contract"), [((), None), (("--contract",), True), (("--no-contract",), False)]
)
def test_contraction_has_a_switch(runs, options, contract):
    flexsim("run", runs.file, *options)
    (scenario,) = runs.seen
    assert scenario.simulation.contract is contract


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--engine", "quantum"), "simulation.engine = 'quantum': choose from"),
        (("--detail", "every"), "output.detail = 'every'"),
        (("--set", "strategy.tensor"), "does not set a key"),
        (("--set", "strategy.tensor=0"), "strategy.tensor = 0"),
        (("--set", "strategy.tenser=4"), "did you mean 'tensor'?"),
    ],
)
def test_wrong_options_are_one_sentence(runs, options, told):
    answer = flexsim("run", runs.file, *options)
    assert (answer.code, answer.out, runs.seen) == (2, "", [])
    assert told in answer.err
    assert answer.err.count("\n") == 1
