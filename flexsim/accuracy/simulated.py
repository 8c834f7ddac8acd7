"""Simulating many scenarios, with the same numbers as one by one, on several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.errors import FlexSimError
from flexsim.scenario.batch import Batch
from flexsim.scenario.schema import Scenario
from flexsim.units import NS_PER_S
from flexsim.workers import WorkerDied, Workers, map_unordered

if TYPE_CHECKING:
    from flexsim.scenario.runner import Result

ITERATION, SPAN, FORWARD, BACKWARD, PASSES = "iteration", "span", "forward", "backward", "passes"
"""What is timed: an iteration; the longest span of a device (for schedules that check the step
afterwards, where devices begin their next iteration before others end); a mean forward or
backward of a microbatch; both together."""
_A_PROCESS = 10
"""Scenarios that are worth a further process."""
_TOGETHER = 8
"""Neighbouring scenarios that go to one process."""


@dataclass(frozen=True)
class Job:
    """A scenario to simulate, and what of it is timed."""

    scenario: Scenario
    of: str = ITERATION


@dataclass(frozen=True)
class Simulated:
    """What became of a job: a time, memory by stage and whether it fits; or why nothing."""

    seconds: float = 0.0
    stages: tuple[Mapping[str, int], ...] = field(default=())
    num_devices: int = 1
    fits_memory: bool | None = None
    problem: str = ""


def simulate_jobs(jobs: Sequence[Job], num_processes: int = 0) -> list[Simulated]:
    """Return what became of each job; 0 processes are one a core, where there is work for them."""
    useful = max(1, len(jobs) // _A_PROCESS)
    workers = Workers(num_local=min(useful, Workers(num_local=num_processes).num_processes))
    order = sorted(range(len(jobs)), key=lambda row: _alike(jobs[row].scenario))
    parcels = [order[at : at + _TOGETHER] for at in range(0, len(order), _TOGETHER)]
    contents = [tuple(jobs[row] for row in parcel) for parcel in parcels]
    found: dict[int, Simulated] = {}
    for index, came in map_unordered(_simulate_some, contents, workers):
        if isinstance(came, WorkerDied):
            found |= dict.fromkeys(parcels[index], Simulated(problem=came.reason))
        else:
            found |= dict(zip(parcels[index], came, strict=True))
    return [found[row] for row in range(len(jobs))]


def _alike(scenario: Scenario) -> str:
    """Return a key by which scenarios that share most of their work stand side by side."""
    return f"{scenario.model!r}{scenario.cluster!r}{scenario.strategy!r}{scenario.training!r}"


def _simulate_some(jobs: tuple[Job, ...]) -> tuple[Simulated, ...]:
    return tuple(_simulate(job) for job in jobs)


def _simulate(job: Job) -> Simulated:
    if job.of == ITERATION:
        outcome = _batch().run(job.scenario)
        if outcome.error:
            return _failed(job, outcome.error)
        return _record(outcome.metrics, outcome.metrics["iteration_time_s"])
    try:
        result = _run_in_full(job.scenario)
    except FlexSimError as problem:
        return _failed(job, str(problem))
    return _record(result.metrics, _TIMES[job.of](result))


def _failed(job: Job, problem: str) -> Simulated:
    return Simulated(problem=problem.removeprefix(f"{job.scenario.source}: "))


@cache
def _batch() -> Batch:
    """Return the batch of this process: what repeats is computed once in it."""
    return Batch()


def _run_in_full(scenario: Scenario) -> Result:
    from flexsim.scenario.runner import run

    compiled = scenario.simulation.model_copy(update={"engine": "compiled"})
    return run(scenario.model_copy(update={"simulation": compiled}))


def _record(metrics: Mapping[str, Any], seconds: float) -> Simulated:
    stages = metrics["peak_memory_bytes_per_stage"] or ()
    return Simulated(seconds, tuple(stages), metrics["num_devices"], metrics["fits_memory"])


def _longest_span_s(result: Result) -> float:
    """Return the longest time from a device's first computation to its last."""
    timeline = result.timeline
    rows = np.flatnonzero(timeline.task_graph.is_compute)
    device = timeline.task_graph.device[rows]
    first = np.full(int(device.max()) + 1, np.iinfo(np.int64).max)
    last = np.zeros_like(first)
    np.minimum.at(first, device, timeline.start_ns[rows])
    np.maximum.at(last, device, timeline.end_ns[rows])
    return float((last - first)[last > 0].max()) / NS_PER_S


def _mean_pass_s(result: Result, kind: str) -> float:
    """Return the mean time of one pass, from its first task to its last."""
    from flexsim.task_graph.kinds import ACTION_CODE
    from flexsim.timeline.memory import action_spans_ns

    start_ns, end_ns = action_spans_ns(result.timeline)
    rows = result.task_graph.actions.kind == ACTION_CODE[kind]
    return float((end_ns - start_ns)[rows].mean()) / NS_PER_S


_TIMES: Mapping[str, Callable[[Result], float]] = {
    SPAN: _longest_span_s,
    FORWARD: lambda result: _mean_pass_s(result, "F"),
    BACKWARD: lambda result: _mean_pass_s(result, "B"),
    PASSES: lambda result: _mean_pass_s(result, "F") + _mean_pass_s(result, "B"),
}
