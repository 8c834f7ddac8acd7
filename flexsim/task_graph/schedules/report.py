"""What a schedule does with equal stages: its order, makespan, bubble and peak in flight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from flexsim.errors import ScheduleError
from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.pipeline import StageDurations, pipeline_task_graph
from flexsim.task_graph.schedules.asynchronous import steady_iteration_ns, weight_versions
from flexsim.task_graph.schedules.notation import format_action
from flexsim.task_graph.schedules.schedule import Schedule

NS_PER_UNIT = 1_000_000_000
"""The abstract unit of time as simulated: what the tools show as 1 s."""
_LONGEST_NS = 2**62


class Replayed(Protocol):
    """What an engine returns, as far as a report needs it."""

    @property
    def start_ns(self) -> Int64:
        """Start of every task."""
        ...

    @property
    def end_ns(self) -> Int64:
        """End of every task."""
        ...

    @property
    def makespan_ns(self) -> int:
        """End of the last task."""
        ...


@dataclass(frozen=True)
class ScheduleReport:
    """A schedule replayed with equal stages; times in the units of the given durations."""

    order: dict[str, list[str]]
    """Rank to its actions, such as "7F3"."""
    makespan: float
    bubble_fraction: float
    """Idle share of ranks × makespan."""
    bubble_ratio: float
    """Idle time over the time that the ranks compute."""
    bubble_fraction_of_span: float
    """Idle share of the longest span of a rank, from its first action to the end of its last: the
    bubble rate of Qi et al. 2023 (arXiv 2401.10241, §5.1)."""
    peak_in_flight: list[int]
    """The most microbatches that each rank holds at once, counted a chunk, until B or I."""
    peak_activations: list[int]
    """The same until B or W: what W reads stays until then."""
    weight_versions: list[int]
    """Versions of its weights that each rank holds; one where the schedule flushes."""
    steady_iteration: float | None = None
    """Time from the end of an iteration to that of the next, where there is no flush."""


def schedule_report(
    schedule: Schedule,
    forward: float,
    input_gradient: float,
    weight_gradient: float,
    transfer: float,
    simulate: Callable[[TaskGraph], Replayed],
) -> ScheduleReport:
    """Return what ``simulate`` makes of ``schedule`` with these durations of one stage's actions.

    Durations are in any unit and exact to the ninth decimal, as is the makespan. Raise
    :class:`ScheduleError` for a duration that is negative, not finite or too long.
    """
    named = {
        "forward": forward,
        "input-gradient": input_gradient,
        "weight-gradient": weight_gradient,
        "transfer": transfer,
    }
    durations = [to_ns(name, value) for name, value in named.items()]
    _refuse_longer_than_int64(schedule, sum(durations))
    task_graph = pipeline_task_graph(schedule, StageDurations(*durations))
    return _report(schedule, task_graph, simulate(task_graph))


def to_ns(name: str, value: float) -> int:
    """Return a duration in simulated nanoseconds; raise :class:`ScheduleError` for no duration."""
    if not math.isfinite(value) or value < 0:
        raise ScheduleError(f"{name} = {value} is not a duration; choose a number from 0 up")
    duration_ns = round(Fraction(str(value)) * NS_PER_UNIT)
    if value and not duration_ns:
        raise ScheduleError(f"{name} = {value} is too short; choose 0 or at least 1e-9")
    return duration_ns


def _refuse_longer_than_int64(schedule: Schedule, duration_ns: int) -> None:
    if schedule.num_actions * duration_ns > _LONGEST_NS:
        longest = _LONGEST_NS / NS_PER_UNIT / schedule.num_actions
        raise ScheduleError(
            f"the durations sum to {duration_ns / NS_PER_UNIT:g}, which is too long for "
            f"{schedule.num_actions} actions; choose a larger unit, such that they sum to less "
            f"than {longest:g}"
        )


def _report(schedule: Schedule, task_graph: TaskGraph, timeline: Replayed) -> ScheduleReport:
    busy_ns = int((timeline.end_ns - timeline.start_ns)[task_graph.is_compute].sum())
    total_ns = schedule.num_ranks * timeline.makespan_ns
    return ScheduleReport(
        order=order_text(schedule),
        makespan=timeline.makespan_ns / NS_PER_UNIT,
        bubble_fraction=(total_ns - busy_ns) / total_ns,
        bubble_ratio=(total_ns - busy_ns) / busy_ns,
        bubble_fraction_of_span=_idle_of_longest_span(schedule, task_graph, timeline),
        peak_in_flight=peak_in_flight(schedule),
        peak_activations=peak_activations(schedule),
        weight_versions=weight_versions(schedule),
        steady_iteration=_steady_iteration(schedule, task_graph, timeline),
    )


def _idle_of_longest_span(schedule: Schedule, task_graph: TaskGraph, timeline: Replayed) -> float:
    action, computes = task_graph.action, task_graph.is_compute
    rank = schedule.rank[action[computes]]
    start_ns, end_ns = timeline.start_ns[computes], timeline.end_ns[computes]
    first, last = np.full(schedule.num_ranks, _LONGEST_NS), np.zeros(schedule.num_ranks, np.int64)
    np.minimum.at(first, rank, start_ns)
    np.maximum.at(last, rank, end_ns)
    busy_ns = np.zeros(schedule.num_ranks, np.int64)
    np.add.at(busy_ns, rank, end_ns - start_ns)
    longest = int(np.argmax(last - first))
    span_ns = int(last[longest] - first[longest])
    return (span_ns - int(busy_ns[longest])) / span_ns


def _steady_iteration(
    schedule: Schedule, task_graph: TaskGraph, timeline: Replayed
) -> float | None:
    computes = task_graph.is_compute
    end_ns = np.zeros(schedule.num_actions, np.int64)
    end_ns[task_graph.action[computes]] = timeline.end_ns[computes]
    found = steady_iteration_ns(schedule, end_ns)
    return None if found is None else found / NS_PER_UNIT


def order_text(schedule: Schedule) -> dict[str, list[str]]:
    """Return every rank's actions in PyTorch's notation, by the rank as text."""
    ranks = range(schedule.num_ranks)
    return {str(rank): [format_action(a) for a in schedule.actions(rank)] for rank in ranks}


def peak_in_flight(schedule: Schedule) -> list[int]:
    """Return for each rank the most forwards that lack their B (or I) at one point of its order.

    A microbatch counts once for every chunk of the rank that it is in.
    """
    return _peak(schedule, "BI")


def peak_activations(schedule: Schedule) -> list[int]:
    """Return for each rank the most forwards that lack their B (or W) at one point of its order.

    W reads what the forward saved, so that nothing of it is counted as free before.
    """
    return _peak(schedule, "BW")


def _peak(schedule: Schedule, frees: str) -> list[int]:
    forward = schedule.kind == ACTION_CODE["F"]
    backward = np.isin(schedule.kind, [ACTION_CODE[kind] for kind in frees])
    change = forward.astype(np.int64) - backward
    by_rank = np.split(change, schedule.rank_offsets[1:-1])
    return [int(np.cumsum(each).max(initial=0)) for each in by_rank]
