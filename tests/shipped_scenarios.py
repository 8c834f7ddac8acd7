"""The shipped scenarios, each simulated at most once a test run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flexsim
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.timeline.memory import action_spans_ns

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
MOST_TASKS = 400_000
"""Scenarios with more tasks than this are simulated on request only."""
FLEXFLOW = "flexflow/"
"""Of these only the ones on four devices are simulated unasked; the others are much alike."""

NOT_CONTRACTED = {
    "palm-540b-6144xtpuv4": "weights are gathered ahead of the action that needs them",
    "pipedream-gpt-1.2b-32xv100": "the schedule updates weights between passes",
    "pipedream-2bw-gpt-2.5b-64xv100": "the schedule updates weights between passes",
    "deepseek-v3-2048xh800": "the schedule runs several actions of a rank at once",
}
"""Scenarios whose actions cannot be replayed whole, and why."""


def names_in(directory: Path, suffix: str) -> list[str]:
    """Return the files of a directory and those below, without suffix: ``flexflow/nmt-k80-4``."""
    found = directory.rglob(f"*{suffix}")
    return sorted(path.relative_to(directory).with_suffix("").as_posix() for path in found)


SWEEPS = "sweeps/"
NAMES = [each for each in names_in(ROOT / "scenarios", ".toml") if not each.startswith(SWEEPS)]


@dataclass(frozen=True)
class Outcome:
    """What tests need of a result, without its timeline."""

    scenario: flexsim.Scenario
    keys: dict[str, object]
    metrics: dict[str, Any]
    pass_time_s: dict[str, float]
    """Mean time of one action by its kind, F and B."""


@cache
def outcome(name: str) -> Outcome:
    """Simulate a shipped scenario."""
    scenario = flexsim.load_scenario(ROOT / "scenarios" / f"{name}.toml")
    result = flexsim.run(scenario)
    times = {kind: _mean_s(result.timeline, kind) for kind in "FB"}
    return Outcome(scenario, dict(result.keys), dict(result.metrics), times)


def _mean_s(timeline: flexsim.Timeline, kind: str) -> float:
    start_ns, end_ns = action_spans_ns(timeline)
    rows = timeline.task_graph.actions.kind == ACTION_CODE[kind]
    return float(np.mean((end_ns - start_ns)[rows])) / 1e9


def golden_path(name: str) -> Path:
    return GOLDEN / f"{name}.csv"


def is_long(name: str) -> bool:
    """Whether a scenario is simulated on request only."""
    path = golden_path(name)
    if name.startswith(FLEXFLOW):
        return not name.endswith("-4")
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as stream:
        return int(next(csv.DictReader(stream))["num_tasks"]) > MOST_TASKS


def skip_if_long(name: str, config: pytest.Config) -> None:
    """Skip a scenario of very many tasks, or one of many alike, unless all are asked for."""
    wanted = config.getoption("--all-scenarios") or config.getoption("--rewrite-golden")
    if is_long(name) and not wanted:
        pytest.skip(f"{name} is simulated with --all-scenarios")
