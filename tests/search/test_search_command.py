"""``flexsim search`` end to end: files, numbers, bad input, and a kill in the middle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import flexsim as command_line
from command_line import only_error
from small_gpt import toml_text
from small_search import content

FILES = {"search.csv", "search.png", "strategy.png", "timelines.png", "best-strategy.json"}
KEYS = {
    "best_iteration_time_s",
    "baseline_iteration_time_s",
    "proposals",
    "proposals_per_s",
    "acceptance_rate",
    "proven_optimal",
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(toml_text(content(search={"chains": 2})), encoding="utf-8")
    return path


def test_it_writes_its_files_and_the_best_strategy_runs_as_fast_as_it_says(file, tmp_path):
    folder = tmp_path / "out"
    answer = command_line("search", str(file), "--budget", "30", "--output", str(folder), "--json")
    assert answer.code == 0
    numbers = json.loads(answer.out)
    assert numbers.keys() >= KEYS
    assert {path.name for path in folder.iterdir()} >= FILES
    with (folder / "search.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == numbers["proposals"]
    best_ns = min(int(row["best_ns"]) for row in rows)
    assert best_ns == round(numbers["best_iteration_time_s"] * 1e9)
    run = command_line(
        "run", str(file), "--strategy", str(folder / "best-strategy.json"), "--json",
        "--output", str(tmp_path / "run"),
    )  # fmt: skip
    assert json.loads(run.out)["iteration_time_s"] == numbers["best_iteration_time_s"]


def test_it_tells_what_it_found(file, tmp_path):
    answer = command_line("search", str(file), "--budget", "10", "--output", str(tmp_path / "out"))
    assert answer.code == 0
    assert "times as fast as data parallelism" in answer.out
    assert "layer0.linear" in answer.out
    assert "wrote" in answer.out


def test_an_exhaustive_search_proves(file, tmp_path):
    command = ("search", str(file), "--method", "exhaustive", "--budget", "100000", "--json")
    answer = command_line(*command, "--set", "model.layers=1", "--output", str(tmp_path / "out"))
    assert json.loads(answer.out)["proven_optimal"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "0"], "search.budget = 0"),
        (["--seconds", "0"], "search.seconds = 0"),
        (["--chains", "0"], "search.chains = 0"),
        (["--method", "mcm"], "did you mean 'mcmc'"),
        (["--set", "search.temperature=-1"], "search.temperature = -1"),
        (["--set", "search.dimensions=XY"], "no letter 'X'"),
        (["--set", "search.placement=anywhere"], "search.placement = 'anywhere'"),
        (["--set", 'search.starts=["nowhere.json"]'], "nowhere.json"),
        (["--set", "search.starts=[]"], "search.starts"),
        (["--set", "search.tempreature=1"], "did you mean 'temperature'"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(file, tmp_path, options, said):
    answer = command_line("search", str(file), "--output", str(tmp_path / "out"), *options)
    assert said in only_error(answer)
    assert str(file) in answer.err


def test_a_memory_too_small_for_every_start_is_told(file, tmp_path):
    huge = ["--set", "model.hidden=200000", "--set", "model.ffn=200000", "--budget", "5"]
    answer = command_line("search", str(file), "--output", str(tmp_path / "out"), *huge)
    assert "no start of the search is feasible" in only_error(answer)


PROGRAM = """
import sys
from flexsim.search import chains
chains.CHECKPOINT_EVERY_S = 0.05
from flexsim.cli import main
sys.argv = ["flexsim", "search", *sys.argv[1:]]
main()
"""


def test_a_killed_search_leaves_a_checkpoint_that_loads(file, tmp_path):
    folder = tmp_path / "out"
    options = [str(file), "--chains", "1", "--output", str(folder), "--json"]
    command = [sys.executable, "-c", PROGRAM, *options, "--seconds", "60"]
    checkpoint = folder / "checkpoints" / "checkpoint-0.json"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
    done = len(json.loads(checkpoint.read_text(encoding="utf-8"))["walk"]["rows"])
    answer = command_line("search", *options, "--budget", str(done + 5), "--resume")
    assert done < json.loads(answer.out)["proposals"] <= done + 5
