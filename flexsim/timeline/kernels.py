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


class Spans(NamedTuple):
    """Tasks as blocks merge them: a value a task, and the place of every resource."""

    action: Int32
    kind: UInt8
    start_ns: Int64
    end_ns: Int64
    num_bytes: Int64
    first_held: Int64
    held: Int32
    place: Int64


@inlined
def _task(row: int) -> np.int64:
    """Return the task of a busy row."""
    return np.int64(row) if row >= 0 else np.int64(~row)


@kept_on_disk
def group_by_line(held: Held, first: Int64, rows: Int32) -> None:
    """Write the busy rows of every line one behind the other, in order of id.

    ``first`` (a value a line, and one) gets where each line's rows begin; the first pass, with
    no room in ``rows``, counts only.
    """
    offsets, resource, line, other_line, computes = held
    next_row = first.copy()
    first[:] = 0
    for task in range(len(offsets) - 1):
        for place in range(offsets[task], offsets[task + 1]):
            stream = resource[place]
            row = ~task if computes[stream] else task
            for where in (line[stream], other_line[stream]):
                if where >= 0:
                    if len(rows):
                        rows[next_row[where]] = row
                        next_row[where] += 1
                    first[where + 1] += 1
    for where in range(len(first) - 1):
        first[where + 1] += first[where]


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
    first: Int64, rows: Int32, spans: tuple[Int64, Int64], level: Int64, num_levels: int
) -> Int64:
    """Return how long rows of each level or a lower one cover each line: (line, level).

    Rows are sorted by start. ``spans`` are start and end of every task, ``level`` that of one
    that communicates; computing is level 0.
    """
    start_ns, end_ns = spans
    covered = np.zeros((len(first) - 1, num_levels), np.int64)
    covered_to = np.empty(num_levels, np.int64)
    for line in range(len(first) - 1):
        covered_to[:] = 0
        for place in range(first[line], first[line + 1]):
            task = _task(rows[place])
            lowest = 0 if rows[place] < 0 else level[task]
            end = end_ns[task]
            for each in range(lowest, num_levels):
                begin = max(start_ns[task], covered_to[each])
                if end > begin:
                    covered[line, each] += end - begin
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
def span_actions(spans: Spans, start_ns: Int64, end_ns: Int64) -> None:
    """Lower ``start_ns`` and raise ``end_ns`` of every action to those of its tasks."""
    action, _, starts, ends = spans[:4]
    for task in range(len(action)):
        row = action[task]
        if row >= 0:
            start_ns[row] = min(start_ns[row], starts[task])
            end_ns[row] = max(end_ns[row], ends[task])


@kept_on_disk
def find_ranks(
    spans: Spans, rank_of_action: Int32, num_compute_kinds: int, rank: Int64, lowest: Int64
) -> None:
    """Write the pipeline rank that computes on each place, and the lowest place of each rank."""
    action, kind, _, _, _, first_held, held, place = spans
    for task in range(len(action)):
        first, row = first_held[task], action[task]
        if row >= 0 and kind[task] < num_compute_kinds and first < first_held[task + 1]:
            where = place[held[first]]
            rank[where] = rank_of_action[row]
            lowest[rank_of_action[row]] = min(lowest[rank_of_action[row]], where)


@kept_on_disk
def count_blocks(spans: Spans, last_action: Int32, once: bool) -> int:
    """Return the number of blocks that :func:`merge_blocks` writes.

    ``last_action`` has a value a (place, kind), less than -1.
    """
    action, kind, _, _, _, first_held, held, place = spans
    num_kinds = len(last_action) // len(place) if len(place) else 1
    num_blocks = 0
    for task in range(len(action)):
        first, last = first_held[task], first_held[task + 1]
        for row in range(first, min(last, first + 1) if once else last):
            slot = place[held[row]] * num_kinds + kind[task]
            if last_action[slot] != action[task]:
                last_action[slot] = action[task]
                num_blocks += 1
    return num_blocks
