"""Where the time of every device goes: compute, exposed communication by kind, bubble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.timeline.intervals import devices_of
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
    from flexsim.timeline.kernels import covered_ns

    devices, rows, graph = devices_of(timeline), timeline.busy_rows, timeline.task_graph
    codes = _communication_codes(timeline)
    level = np.searchsorted(codes, np.arange(len(TASK_KINDS))) + 1
    covered = covered_ns(
        (rows.first, rows.row),
        (timeline.start_ns, timeline.end_ns),
        (graph.kind, level.astype(np.int64)),
        len(codes) + 1,
    )
    exposed_ns = np.diff(covered, axis=1).T
    return DeviceTimes(
        devices,
        covered[:, 0].copy(),
        {TASK_KINDS[code]: row for code, row in zip(codes, exposed_ns, strict=True)},
        timeline.makespan_ns - covered[:, -1],
    )


def _communication_codes(timeline: Timeline) -> list[int]:
    present: list[int] = np.unique(timeline.fine_blocks.kind).tolist()
    return [code for code in present if code >= NUM_COMPUTE_KINDS]
