"""Orders, makespans and peaks of PyTorch and Megatron-Core for 4 ranks, where at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexsim.engine.event import simulate
from flexsim.task_graph.schedules import (
    PipelineShape,
    Schedule,
    build_schedule,
    check,
    parse_action,
)
from flexsim.task_graph.schedules.report import schedule_report

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles"
NAMES = {
    "GPipe": "gpipe",
    "1F1B": "1f1b",
    "Interleaved1F1B": "interleaved-1f1b",
    "interleaved": "interleaved-1f1b",
}


def entries(file_name: str) -> list[Any]:
    """Return one parameter an entry of a file, or one that is skipped where it is absent."""
    path = ORACLES / file_name
    if not path.is_file():
        reason = f"{file_name} is not at hand"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="absent")]
    return [
        pytest.param(entry, id="{schedule}-v{v}-m{m}".format(**entry))
        for entry in json.loads(path.read_text())
    ]


def ours(oracle: dict[str, Any]) -> Schedule:
    shape = PipelineShape(oracle["p"], oracle["m"], oracle["v"])
    return build_schedule(NAMES[oracle["schedule"]], shape)


def as_given(oracle: dict[str, Any]) -> Schedule:
    """Return the oracle's own order as a schedule."""
    orders = [[parse_action(text) for text in order] for order in oracle["order"].values()]
    rank_of = {action.stage: rank for rank, order in enumerate(orders) for action in order}
    sets = [[[action] for action in order] for order in orders]
    return Schedule.from_sets(oracle["m"], [rank_of[s] for s in range(len(rank_of))], sets)


def timed(oracle: dict[str, Any]) -> Iterator[tuple[list[float], float]]:
    """Yield durations (F, I, W, transfer) and the makespan of each timing."""
    for key, times in oracle["time"].items():
        yield [float(part[1:]) for part in key.split("_")], times["ref"]


@pytest.mark.parametrize("oracle", entries("pytorch_pipelining_p4.json"))
def test_pytorchs_orders_are_ours_and_last_as_long(oracle):
    schedule = ours(oracle) if oracle["schedule"] in NAMES else as_given(oracle)
    check(schedule)
    for durations, makespan in timed(oracle):
        report = schedule_report(schedule, *durations, simulate)
        assert report.order == oracle["order"]
        assert report.makespan == pytest.approx(makespan, rel=1e-12)


@pytest.mark.parametrize("oracle", entries("megatron_core_p4.json"))
def test_megatrons_orders_are_ours_with_its_makespan_and_peak(oracle):
    report = schedule_report(ours(oracle), 1, 1, 1, 0, simulate)
    assert report.order == oracle["order"]
    assert report.makespan == oracle["makespan_F1_B2_c0"]
    assert report.peak_in_flight == oracle["peak_F_minus_B"]
