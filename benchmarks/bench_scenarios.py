"""Whole scenarios, each in a process of its own: wall time and peak memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from graphs import scenario_path
from processes import COMMAND, finished

SCENARIOS = {
    "korthikanti-22b-layer-baseline": 1,
    "gpt3-175b-64xa100": 64,
    "korthikanti-1t-512xa100-selective": 512,
    "sc21-1t-3072xa100": 3072,
    "llama3-405b-16384xh100": 16384,
    "gpt-1t-100000gpus": 100352,
}
"""Name to number of devices; the first has 47 tasks, so it tells what the libraries take."""
NUM_TASKS = {
    "gpt3-175b-64xa100": 336_274,
    "korthikanti-1t-512xa100-selective": 3_615_874,
    "sc21-1t-3072xa100": 4_006_530,
    "gpt-1t-100000gpus": 452_162,
}
"""To skip those that are too large for a short run."""
IN_PYTHON = """
import sys, flexsim
scenario = flexsim.load_scenario(sys.argv[1], ["simulation.engine=compiled"])
print(flexsim.run(scenario).task_graph.num_tasks)
"""


def command(name: str, directory: Path) -> dict[str, Any]:
    """Run the command line, files written; return the facts."""
    options = ["--json", "--output", str(directory)]
    done = finished([COMMAND, "run", str(scenario_path(name)), *options])
    return {"num_tasks": json.loads(done.out)["num_tasks"], "peak_bytes": done.peak_bytes}


def in_python(name: str, _: Path) -> dict[str, Any]:
    """Run without writing, with the compiled engine; return the facts."""
    done = finished([sys.executable, "-c", IN_PYTHON, str(scenario_path(name))])
    return {"num_tasks": int(done.out), "peak_bytes": done.peak_bytes}


@pytest.fixture(autouse=True, scope="module")
def _warm_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    for way in (command, in_python):
        way("korthikanti-22b-layer-baseline", tmp_path_factory.mktemp("warm"))


@pytest.mark.parametrize("way", [command, in_python], ids=["command", "in Python"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(
    name: str,
    way: Callable[..., dict[str, Any]],
    measure: Callable[..., Any],
    most: Callable[..., None],
    tmp_path: Path,
) -> None:
    """Time a scenario from the start of its process to the end."""
    most(NUM_TASKS.get(name, 0))
    facts = {"what": "scenario", "scenario": name, "way": way.__name__}
    found = measure(way, name, tmp_path, num_devices=SCENARIOS[name], **facts)
    assert found["num_tasks"] > 0
