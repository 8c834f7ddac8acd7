"""Intervals on devices, and what lies inside some and outside others.

Everything is vectorized: one sort, then running sums or maxima over all devices at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.timeline.spans import Timeline

COMPUTE_CLASS = -1


@dataclass(frozen=True, eq=False)
class Intervals:
    """Half-open intervals ``[start_ns, end_ns)`` on lines (devices, numbered from 0)."""

    line: Int64
    start_ns: Int64
    end_ns: Int64

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> Intervals:
        return Intervals(self.line[rows], self.start_ns[rows], self.end_ns[rows])


def devices_of(timeline: Timeline) -> Int64:
    """Return, sorted, every device that owns a stream or a channel of the graph."""
    return np.unique(timeline.task_graph.resource_table.device).astype(np.int64)


def device_intervals(timeline: Timeline) -> tuple[Intervals, Int64]:
    """Return when each device is busy, and with what, a row a (task, stream or channel).

    Lines are positions in :func:`devices_of`. The second value is :data:`COMPUTE_CLASS`
    where a task holds the device's compute stream, else the code of its task kind. A task
    holding streams of several devices counts on each, a channel at both of its ends.
    """
    graph = timeline.task_graph
    table, held = graph.resource_table, graph.resources
    has_peer = table.peer[held.values] >= 0
    resource = np.concatenate([held.values, held.values[has_peer]])
    task = np.concatenate([held.rows, held.rows[has_peer]])
    device = np.concatenate([table.device[held.values], table.peer[held.values[has_peer]]])
    known = np.isin(device, devices_of(timeline))
    device, task, resource = device[known], task[known], resource[known]
    line = np.searchsorted(devices_of(timeline), device)
    on_compute = (table.kind[resource] < NUM_COMPUTE_KINDS) & (table.peer[resource] < 0)
    label = np.where(on_compute, COMPUTE_CLASS, graph.kind[task].astype(np.int64))
    return Intervals(line, timeline.start_ns[task], timeline.end_ns[task]), label


def by_start(intervals: Intervals) -> Int64:
    """Return the rows of ``intervals`` in order of (line, start)."""
    return np.lexsort((intervals.start_ns, intervals.line))


def union_length_ns(intervals: Intervals, num_lines: int) -> Int64:
    """Return how long each line is covered; ``intervals`` are in order of (line, start)."""
    covered_to = _running_end(intervals)
    begin = np.maximum(intervals.start_ns, covered_to)
    length = np.maximum(intervals.end_ns - begin, 0)
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])
    bounds = np.searchsorted(intervals.line, np.arange(num_lines + 1))
    return np.diff(total[bounds])


def _running_end(intervals: Intervals) -> Int64:
    """Return the latest end of the earlier intervals on the same line; 0 where none is."""
    if not len(intervals.line):
        return intervals.end_ns
    step = int(intervals.end_ns.max()) + 1
    latest = np.maximum.accumulate(intervals.line * step + intervals.end_ns)
    before = np.concatenate([np.zeros(1, np.int64), latest[:-1]])
    return np.maximum(before - intervals.line * step, 0)


def difference(inside: Intervals, outside: Intervals) -> Intervals:
    """Return the maximal intervals covered by ``inside`` and not by ``outside``.

    They come in order of (line, start).
    """
    line, time_ns, depth_in, depth_out = _depths(inside, outside)
    kept = (depth_in > 0) & (depth_out == 0)  # false at the last boundary of every line
    change = np.diff(kept.astype(np.int8), prepend=0)
    return Intervals(line[change == 1], time_ns[change == 1], time_ns[change == -1])


def _depths(inside: Intervals, outside: Intervals) -> tuple[Int64, Int64, Int64, Int64]:
    """Return the distinct (line, time) boundaries and how many of each cover what follows."""
    both = (inside, inside, outside, outside)
    line = np.concatenate([intervals.line for intervals in both])
    time_ns = np.concatenate([inside.start_ns, inside.end_ns, outside.start_ns, outside.end_ns])
    zeros_in, zeros_out = (np.zeros(2 * len(i.line), np.int64) for i in (inside, outside))
    step_in = np.concatenate([_plus_minus(inside), zeros_out])
    step_out = np.concatenate([zeros_in, _plus_minus(outside)])
    order = np.lexsort((time_ns, line))
    line, time_ns = line[order], time_ns[order]
    is_last = np.ones(len(line), np.bool_)
    is_last[:-1] = (line[1:] != line[:-1]) | (time_ns[1:] != time_ns[:-1])
    depth_in, depth_out = (np.cumsum(step[order])[is_last] for step in (step_in, step_out))
    return line[is_last], time_ns[is_last], depth_in, depth_out


def _plus_minus(intervals: Intervals) -> Int64:
    return np.repeat(np.array([1, -1]), len(intervals.line))
