"""Where the time of every device goes: compute, exposed communication by kind, bubble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.timeline.intervals import (
    COMPUTE_CLASS,
    by_start,
    device_intervals,
    devices_of,
    union_length_ns,
)
from flexsim.timeline.spans import Timeline


@dataclass(frozen=True, eq=False)
class DeviceTimes:
    """Nanoseconds, a row a device; compute + all exposed + bubble = makespan on each."""

    device: Int64
    compute_ns: Int64
    exposed_ns: dict[str, Int64]
    """By communication kind, in the order of :data:`TASK_KINDS`; kinds that occur only."""
    bubble_ns: Int64


def device_times(timeline: Timeline) -> DeviceTimes:
    """Split the makespan of every device that appears in the graph.

    Compute is the busy time of its compute stream. Exposed communication is the time when
    that stream is idle while a communication stream of the device, or a channel into or out
    of it, is busy; where kinds coincide the time goes to the first in :data:`TASK_KINDS`.
    """
    devices = devices_of(timeline)
    intervals, label = device_intervals(timeline)
    order = by_start(intervals)
    intervals, label = intervals[order], label[order]
    covered_ns = union_length_ns(intervals[label == COMPUTE_CLASS], len(devices))
    compute_ns, exposed_ns = covered_ns, {}
    for code in _communication_codes(timeline):
        wider_ns = union_length_ns(intervals[label <= code], len(devices))
        exposed_ns[TASK_KINDS[code]] = wider_ns - covered_ns
        covered_ns = wider_ns
    return DeviceTimes(devices, compute_ns, exposed_ns, timeline.makespan_ns - covered_ns)


def _communication_codes(timeline: Timeline) -> list[int]:
    present = np.flatnonzero(np.bincount(timeline.task_graph.kind, minlength=len(TASK_KINDS)))
    return [code for code in present.tolist() if code >= NUM_COMPUTE_KINDS]
