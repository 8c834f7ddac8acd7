"""Compiled loops over the tasks of a timeline: sweeps along devices, sums over actions.

A *busy row* is a task on a line (a device): the task's id where it communicates there, its
complement (``~id``) where it computes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64, UInt8

_SHORT_RUN = 24
"""Rows that are sorted by insertion."""
_FEW_BLOCKS = 1024
_NEVER = np.int64(2**62)


class Held(NamedTuple):
    """What tasks hold, and the one or two lines of every resource; -1 for none.

    ``computes`` tells the compute streams.
    """

    first: Int64
    resource: Int32
    line: Int64
    other_line: Int64
    computes: UInt8


class Tasks(NamedTuple):
    """A value a task, and what each holds."""

    action: Int32
    kind: UInt8
    start_ns: Int64
    end_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32


@inlined
def _task(row: int) -> np.int64:
    """Return the task of a busy row."""
    return np.int64(row) if row >= 0 else np.int64(~row)


@kept_on_disk
def count_by_line(held: Held, num_rows: Int64) -> None:
    """Count the busy rows of every line."""
    offsets, resource, line, other_line, _ = held
    for place in range(offsets[len(offsets) - 1]):
        stream = resource[place]
        if line[stream] >= 0:
            num_rows[line[stream]] += 1
        if other_line[stream] >= 0:
            num_rows[other_line[stream]] += 1


@kept_on_disk
def group_by_line(held: Held, first: Int64, rows: Int32) -> None:
    """Write the busy rows of every line from ``first`` of the line on, in order of id."""
    offsets, resource, line, other_line, computes = held
    free = first.copy()
    for task in range(len(offsets) - 1):
        for place in range(offsets[task], offsets[task + 1]):
            stream = resource[place]
            row = ~task if computes[stream] else task
            for where in (line[stream], other_line[stream]):
                if where >= 0:
                    rows[free[where]] = row
                    free[where] += 1


@inlined
def _insert(rows: Int32, first: int, last: int, start_ns: Int64) -> None:
    """Sort few rows, or rows almost in order."""
    for place in range(first + 1, last):
        row = rows[place]
        key = start_ns[_task(row)]
        while place > first and start_ns[_task(rows[place - 1])] > key:
            rows[place] = rows[place - 1]
            place -= 1  # noqa: PLW2901
        rows[place] = row


@inlined
def _skip(rows: Int32, first: int, middle: int, start_ns: Int64) -> int:
    """Return where the sorted rows before ``middle`` begin that the one there must precede."""
    key = start_ns[_task(rows[middle])]
    low, high = first, middle
    while low < high:
        between = (low + high) >> 1
        if start_ns[_task(rows[between])] <= key:
            low = between + 1
        else:
            high = between
    return low


@inlined
def _merge(rows: Int32, span: tuple[int, int, int], start_ns: Int64, spare: Int32) -> None:
    """Merge two neighbouring sorted runs; quick where they hardly overlap."""
    place, middle, last = span
    place = _skip(rows, place, middle, start_ns)
    num_left, left, right = middle - place, 0, middle
    spare[:num_left] = rows[place:middle]
    while left < num_left:
        if right < last and start_ns[_task(rows[right])] < start_ns[_task(spare[left])]:
            rows[place] = rows[right]
            right += 1
        else:
            rows[place] = spare[left]
            left += 1
        place += 1


@kept_on_disk
def sort_by_start(first: Int64, rows: Int32, start_ns: Int64, spare: Int32) -> None:
    """Sort the rows of every line by start; ``spare`` has room for the longest line.

    A merge sort that takes little more than a look at rows that are almost in order.
    """
    for line in range(len(first) - 1):
        begin, end = first[line], first[line + 1]
        for low in range(begin, end, _SHORT_RUN):
            _insert(rows, low, min(low + _SHORT_RUN, end), start_ns)
        width = _SHORT_RUN
        while width < end - begin:
            for low in range(begin, end - width, 2 * width):
                _merge(rows, (low, low + width, min(low + 2 * width, end)), start_ns, spare)
            width *= 2


@kept_on_disk
def covered_ns(
    rows: tuple[Int64, Int32], spans: tuple[Int64, Int64], levels: tuple[UInt8, Int64], num: int
) -> Int64:
    """Return how long rows of each level or a lower one cover each line: (line, level).

    ``rows`` are those of :class:`flexsim.timeline.intervals.BusyRows`, ``spans`` start and end
    of every task, ``levels`` its kind and the level of each kind. Computing is level 0 of
    ``num``.
    """
    first, row = rows
    start_ns, end_ns = spans
    kind, level = levels
    covered = np.zeros((len(first) - 1, num), np.int64)
    covered_to = np.empty(num, np.int64)
    for line in range(len(first) - 1):
        covered_to[:] = 0
        for place in range(first[line], first[line + 1]):
            task = _task(row[place])
            begin, end = start_ns[task], end_ns[task]
            for each in range(0 if row[place] < 0 else level[kind[task]], num):
                if end > covered_to[each]:
                    covered[line, each] += end - max(begin, covered_to[each])
                    covered_to[each] = end
    return covered


@kept_on_disk
def uncovered(
    first: Int64, rows: Int32, spans: tuple[Int64, Int64], found: tuple[Int64, Int64, Int64]
) -> int:
    """Write when a line communicates and does not compute; return how many intervals there are.

    Rows are sorted by start. ``found`` has room for an interval a row: line, start and end.
    """
    start_ns, end_ns = spans
    lines, starts, ends = found
    num_found = 0
    for line in range(len(first) - 1):
        computes_to, communicates_to = -_NEVER, -_NEVER
        first_of_line = num_found
        for place in range(first[line], first[line + 1]):
            task = _task(rows[place])
            if rows[place] < 0:
                computes_to = max(computes_to, end_ns[task])
            else:
                communicates_to = max(communicates_to, end_ns[task])
            until = communicates_to
            if place + 1 < first[line + 1]:
                until = min(until, start_ns[_task(rows[place + 1])])
            begin = max(start_ns[task], computes_to)
            if begin >= until:
                continue
            if num_found > first_of_line and ends[num_found - 1] == begin:
                ends[num_found - 1] = until
            else:
                lines[num_found], starts[num_found], ends[num_found] = line, begin, until
                num_found += 1
    return num_found


@kept_on_disk
def span_actions(tasks: tuple[Int32, Int64, Int64], spans: tuple[Int64, Int64]) -> None:
    """Lower the start and raise the end of every action to those of its tasks."""
    action, starts, ends = tasks
    start_ns, end_ns = spans
    for task in range(len(action)):
        row = action[task]
        if row >= 0:
            start_ns[row] = min(start_ns[row], starts[task])
            end_ns[row] = max(end_ns[row], ends[task])


@kept_on_disk
def sum_blocks(tasks: Tasks, last_block: Int32, num_kinds: int) -> Int64:
    """Sum the tasks of every resource, action and kind; return a row a block.

    Columns are resource, action, kind, start, end, summed durations, tasks and bytes. A resource
    is doubled: 2 r for tasks whose first resource is r, 2 r + 1 for tasks that hold it beside.
    An action comes as several blocks where ids of another lie between. ``last_block``, a value
    a (doubled resource, kind), begins with -1.
    """
    action, kind, start_ns, end_ns, num_bytes, first_held, held = tasks
    sums = np.empty((_FEW_BLOCKS, 8), np.int64)
    num_blocks = 0
    for task in range(len(action)):
        for row in range(first_held[task], first_held[task + 1]):
            place = 2 * np.int64(held[row]) + (row > first_held[task])
            slot = place * num_kinds + kind[task]
            block = last_block[slot]
            if block < 0 or sums[block, 1] != action[task]:
                block = num_blocks
                if block == len(sums):
                    sums = np.concatenate((sums, np.empty_like(sums)))
                last_block[slot], num_blocks = block, block + 1
                sums[block, 0], sums[block, 1], sums[block, 2] = place, action[task], kind[task]
                sums[block, 3], sums[block, 4] = start_ns[task], end_ns[task]
                sums[block, 5:] = 0
            sums[block, 3] = min(sums[block, 3], start_ns[task])
            sums[block, 4] = max(sums[block, 4], end_ns[task])
            sums[block, 5] += end_ns[task] - start_ns[task]
            sums[block, 6] += 1
            sums[block, 7] += num_bytes[task]
    return sums[:num_blocks]


@kept_on_disk
def assign_lanes(spans: tuple[Int64, Int64, Int64], free_from: Int64, lane: Int64) -> None:
    """Write for every span the first lane of its resource that is free at its start.

    ``spans`` are resource, start and end in order of (resource, start); ``free_from`` has room
    for the most spans of a resource.
    """
    resource, start_ns, end_ns = spans
    num_lanes = 0
    for row in range(len(resource)):
        if row == 0 or resource[row] != resource[row - 1]:
            num_lanes = 0
        place = 0
        while place < num_lanes and free_from[place] > start_ns[row]:
            place += 1
        num_lanes = max(num_lanes, place + 1)
        free_from[place], lane[row] = end_ns[row], place
