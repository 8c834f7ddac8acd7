"""Intervals on devices, and what lies inside some and outside others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import offsets_of
from flexsim.task_graph.columns import Int32, Int64, TaskGraph
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS

if TYPE_CHECKING:
    from flexsim.timeline.kernels import Held
    from flexsim.timeline.spans import Timeline


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


@dataclass(frozen=True, eq=False)
class BusyRows:
    """What keeps each line busy, a row a (task, stream or channel), in order of (line, start).

    ``first[n]:first[n + 1]`` are the rows of line n. ``row`` is the id of a task that
    communicates, the complement (``~id``) of one that holds the line's compute stream.
    """

    first: Int64
    row: Int32


def busy_rows(timeline: Timeline) -> BusyRows:
    """Return what keeps each device busy; lines are positions in :func:`devices_of`.

    A task holding streams of several devices counts on each, a channel at both of its ends.
    """
    from flexsim.timeline.kernels import Held

    table, held = timeline.task_graph.resource_table, timeline.task_graph.resources
    devices = devices_of(timeline)
    line = np.searchsorted(devices, table.device)
    other = np.searchsorted(devices, table.peer) % max(len(devices), 1)
    is_channel = table.peer >= 0
    other = np.where(is_channel & (devices[other] == table.peer), other, -1)
    computes = (table.kind < NUM_COMPUTE_KINDS) & ~is_channel
    streams = Held(held.offsets, held.values, line, other, computes.astype(np.uint8))
    found = _sorted_rows(streams, len(devices), timeline.start_ns)
    return _with_blocking_messages(found, timeline.task_graph)


def _with_blocking_messages(rows: BusyRows, graph: TaskGraph) -> BusyRows:
    """Return the rows with messages that hold compute streams told from computation."""
    computes = np.flatnonzero(rows.row < 0)
    messages = computes[~graph.is_compute[~rows.row[computes]]]
    if not len(messages):
        return rows
    row = rows.row.copy()
    row[messages] = ~row[messages]
    return BusyRows(rows.first, row)


def rows_of_resources(timeline: Timeline) -> BusyRows:
    """Return the tasks that hold each resource, in order of start; lines are resources."""
    from flexsim.timeline.kernels import Held

    num, held = timeline.task_graph.num_resources, timeline.task_graph.resources
    nowhere, communicates = np.full(num, -1), np.zeros(num, np.uint8)
    streams = Held(held.offsets, held.values, np.arange(num), nowhere, communicates)
    return _sorted_rows(streams, num, timeline.start_ns)


def _sorted_rows(held: Held, num_lines: int, start_ns: Int64) -> BusyRows:
    from flexsim.timeline.kernels import count_by_line, group_by_line, sort_by_start

    num_rows = np.zeros(num_lines, np.int64)
    count_by_line(held, num_rows)
    first = offsets_of(num_rows)
    row = np.empty(int(first[-1]), np.int32)
    group_by_line(held, first, row)
    sort_by_start(first, row, start_ns, np.empty(int(num_rows.max(initial=0)), np.int32))
    return BusyRows(first, row)


def uncovered_intervals(rows: BusyRows, start_ns: Int64, end_ns: Int64) -> Intervals:
    """Return the maximal intervals when a line communicates and does not compute.

    They come in order of (line, start); ``start_ns`` and ``end_ns`` have a value a task.
    """
    from flexsim.timeline.kernels import uncovered

    room = Intervals(*(np.empty(len(rows.row), np.int64) for _ in range(3)))
    found = (room.line, room.start_ns, room.end_ns)
    number = uncovered(rows.first, rows.row, (start_ns, end_ns), found)
    return Intervals(*(column[:number].copy() for column in found))


def difference(inside: Intervals, outside: Intervals) -> Intervals:
    """Return the maximal intervals covered by ``inside`` and not by ``outside``.

    They come in order of (line, start).
    """
    from flexsim.timeline.kernels import Held

    num_inside, num_rows = len(inside.line), len(inside.line) + len(outside.line)
    line = np.concatenate([inside.line, outside.line])
    start_ns = np.concatenate([inside.start_ns, outside.start_ns])
    end_ns = np.concatenate([inside.end_ns, outside.end_ns])
    one_each = Held(
        np.arange(num_rows + 1),
        np.arange(num_rows, dtype=np.int32),
        line,
        np.full(num_rows, -1),
        (np.arange(num_rows) >= num_inside).astype(np.uint8),
    )
    rows = _sorted_rows(one_each, int(line.max(initial=-1)) + 1, start_ns)
    return uncovered_intervals(rows, start_ns, end_ns)
