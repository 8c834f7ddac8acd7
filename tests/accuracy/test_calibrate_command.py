"""The command: a table in, a profile out; mistakes are told in one sentence."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from calibration_runs import made_runs, profile_with
from command_line import flexsim

LM = "megatron-lm"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs under hosts that take 30 microseconds for a kernel."""
    folder = tmp_path_factory.mktemp("runs")
    values = {"host_time_per_kernel": '"30 us"'}
    profile = profile_with(folder, "software", LM, values)
    path = made_runs(folder, {"training.software": str(profile)})
    path.write_text(path.read_text(encoding="utf-8").replace("Megatron-DeepSpeed", "Megatron-LM"))
    return path


def test_a_profile_is_written_and_the_errors_are_told(runs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    given = ("--runs", str(runs), "--profile", LM, "--constants", "host_time_per_kernel")
    answer = flexsim("calibrate", *given, "--output", str(mine), "--json")
    assert answer.code == 0
    facts = json.loads(answer.out)
    assert facts["constants"]["host_time_per_kernel"]["after"] == pytest.approx(30, rel=0.01)
    assert facts["after"]["mean_absolute_error"] < facts["before"]["mean_absolute_error"] / 10
    profile = tomllib.loads(mine.read_text(encoding="utf-8"))
    assert profile["name"] == "mine"
    assert profile["fusions"]


def test_the_report_names_constants_and_errors(runs: Path, tmp_path: Path) -> None:
    given = ("--runs", str(runs), "--profile", LM, "--constants", "host_time_per_kernel")
    answer = flexsim("calibrate", *given, "--output", str(tmp_path / "mine.toml"))
    for words in ("host_time_per_kernel  8 us    30 us", "left out of the fit", "written: "):
        assert words in answer.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--runs": "nowhere.csv"}, "nowhere.csv"),
        ({"--output": "mine.txt"}, "--output mine.txt: the name of a profile's file ends with"),
        ({"--constants": "hosttime"}, "unknown 'hosttime'"),
        ({"--folds": "1"}, "--folds 1: choose from 2 to 10"),
        ({"--constants": "host_time_per_kernel,memory_bound_factor,transfer_time"}, "so 15"),
    ],
)
def test_mistakes_are_told(runs: Path, changes: dict[str, str], said: str) -> None:
    given = {"--runs": str(runs), "--profile": LM, "--output": "mine.toml"} | changes
    answer = flexsim("calibrate", *(word for pair in given.items() for word in pair))
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("mine.toml").exists()


def test_a_misspelt_column_is_told(runs: Path, tmp_path: Path) -> None:
    table = tmp_path / "misspelt.csv"
    table.write_text(runs.read_text(encoding="utf-8").replace("hidden", "hiden"), encoding="utf-8")
    given = ("--runs", str(table), "--profile", LM, "--output", str(tmp_path / "mine.toml"))
    answer = flexsim("calibrate", *given)
    assert answer.code == 2
    assert "hidden" in answer.err
