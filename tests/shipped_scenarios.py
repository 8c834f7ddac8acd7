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
NAMES = sorted(path.stem for path in (ROOT / "scenarios").glob("*.toml"))
MOST_TASKS = 400_000
"""Scenarios with more tasks than this are simulated on request only."""


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
    """Whether the golden file of a scenario says that it has very many tasks."""
    path = golden_path(name)
    if not path.is_file():
        return False
    with path.open(newline="", encoding="utf-8") as stream:
        return int(next(csv.DictReader(stream))["num_tasks"]) > MOST_TASKS


def skip_if_long(name: str, config: pytest.Config) -> None:
    """Skip a scenario of very many tasks unless all scenarios are asked for."""
    wanted = config.getoption("--all-scenarios") or config.getoption("--rewrite-golden")
    if is_long(name) and not wanted:
        pytest.skip(f"{name} has more than {MOST_TASKS:,} tasks: simulated with --all-scenarios")
