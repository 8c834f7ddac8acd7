"""Bad input of a search: one sentence each, exit code 2."""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import flexsim as command_line
from command_line import only_error
from small_gpt import toml_text
from small_search import content

from flexsim.scenario.load import load_scenario
from flexsim.search.api import search
from flexsim.strategy.files import write_strategy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a short search once: its scenario, its strategy and its checkpoint in one folder."""
    folder = tmp_path_factory.mktemp("made")
    table = content(cluster={"devices": 4}, search={"chains": 1})
    (folder / "small.toml").write_text(toml_text(table), encoding="utf-8")
    scenario = load_scenario(folder / "small.toml", [])
    found = search(scenario, budget=3, output=folder / "out")
    problem = found.problem
    path = folder / "out" / "best-strategy.json"
    write_strategy(path, found.best_strategy, problem.graph, problem.devices)
    return folder


@pytest.fixture
def file(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "small.toml"


@pytest.fixture
def strategy(file, tmp_path):
    """Return the path of a strategy that a search wrote, and its content."""
    path = tmp_path / "out" / "best-strategy.json"
    return path, json.loads(path.read_text(encoding="utf-8"))


def leave_out(found):
    del found["configs"]["layer0.linear"]


def put(found, dim, devices):
    found["meshes"].append({"axes": ["x"], "shape": [len(devices)], "devices": devices})
    found["configs"]["layer0.linear"] = [len(found["meshes"]) - 1, {dim: ["x"]}]


MISTAKES = [
    (leave_out, "leaves out 'layer0.linear'"),
    (lambda found: put(found, "b", [*range(20)]), "split 20 times; choose at most 16"),
    (lambda found: put(found, "loop", [0, 1]), "no dimension 'loop'"),
    (lambda found: put(found, "b", [0, 9]), "names device 9, but the cluster has"),
    (lambda found: put(found, "b", [0, -1]), "devices are numbered from 0"),
    (lambda found: put(found, "b", [2, 2]), "device 2 stands 2 times in a mesh"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES)
@pytest.mark.parametrize("command", ["run", "search"])
def test_a_strategy_that_does_not_fit_is_told(file, strategy, tmp_path, command, change, said):
    path, found = strategy
    change(found)
    wrong = path.with_name("wrong.json")
    wrong.write_text(json.dumps(found), encoding="utf-8")
    used = {
        "run": ["--strategy", str(wrong)],
        "search": ["--budget", "3", "--set", f'search.starts=["{wrong}"]'],
    }
    answer = command_line(command, str(file), *used[command], "--output", str(tmp_path / "new"))
    assert said in only_error(answer)
    assert "wrong.json" in answer.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("search.temperature=-0.01", "search.temperature = -0.01"),
        ("search.temperature=nan", "search.temperature = nan"),
        ("search.temperature=inf", "search.temperature = inf"),
        ("search.seconds=inf", "search.seconds = inf"),
        ("search.budget=0", "search.budget = 0"),
        ("search.restarts=-1", "search.restarts = -1"),
        ("search.shared_weights=apar", "did you mean 'apart'"),
    ],
)
def test_a_wrong_number_is_told(file, tmp_path, option, said):
    answer = command_line("search", str(file), "--set", option, "--output", str(tmp_path / "new"))
    assert said in only_error(answer)
    assert not (tmp_path / "new").exists()


def resumed(file, tmp_path, *options):
    return command_line(
        "search", str(file), "--budget", "9", "--resume", "--output", str(tmp_path / "out"),
        *options,
    )  # fmt: skip


def test_a_checkpoint_of_another_scenario_or_search_is_refused(file, strategy, tmp_path):
    other = resumed(file, tmp_path, "--set", "model.hidden=128")
    assert "this checkpoint is of another scenario" in only_error(other)
    assert "temperature = 0.02, not 0.5" in only_error(
        resumed(file, tmp_path, "--set", "search.temperature=0.5")
    )


@pytest.mark.parametrize("key", ["walk", "current", "best"])
@pytest.mark.parametrize("value", [None, {}, [], 3])
def test_a_damaged_checkpoint_is_refused(file, strategy, tmp_path, key, value):
    path = tmp_path / "out" / "checkpoints" / "checkpoint-0.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**found, key: value}), encoding="utf-8")
    assert "checkpoint of a search is damaged" in only_error(resumed(file, tmp_path))


def test_a_random_start_that_fits_nothing_is_told(file, tmp_path):
    big = ["--set", "model.hidden=200000", "--set", "model.ffn=200000"]
    random = ["--set", 'search.starts=["random"]', "--set", "search.chains=1", "--budget", "3"]
    answer = command_line("search", str(file), *big, *random, "--output", str(tmp_path / "new"))
    assert "the search found no strategy that fits" in only_error(answer)


def test_sharded_state_is_not_searched(tmp_path):
    table = content(strategy={"name": "data", "zero": 1})
    path = tmp_path / "zero.toml"
    path.write_text(toml_text(table), encoding="utf-8")
    assert "leave strategy.zero at 0" in only_error(command_line("search", str(path)))
