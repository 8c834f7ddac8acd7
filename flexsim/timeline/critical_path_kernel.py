"""Compiled loops of the critical path: what each task waited for, and the walk back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64

START, PREDECESSOR, RESOURCE = 0, 1, 2
"""Why a task starts when it does; positions in ``critical_path.REASONS``."""
_FEW_TASKS = 4096


class Replayed(NamedTuple):
    """When tasks ran, what they hold, and the tasks of every resource in order of start."""

    start_ns: Int64
    end_ns: Int64
    first_held: Int64
    held: Int32
    first_holder: Int64
    holder: Int32


@kept_on_disk
def last_predecessors(
    spans: tuple[Int64, Int64], successors: tuple[Int64, Int32], action: Int32
) -> Int32:
    """Return for every task a predecessor that ends when the task starts; -1 where none does.

    Of several it is the last, and one of the task's own action where there is such a one.
    """
    start_ns, end_ns = spans
    offsets, values = successors
    found = np.full(len(start_ns), -1, np.int32)
    for task in range(len(start_ns)):
        for place in range(offsets[task], offsets[task + 1]):
            after = values[place]
            if start_ns[after] != end_ns[task]:
                continue
            known = found[after]
            mine = action[after]
            if known < 0 or action[known] != mine or action[task] == mine:
                found[after] = task
    return found


@inlined
def _holder_until(replayed: Replayed, resource: int, time_ns: int) -> np.int64:
    """Return the place of the task that holds a resource until a moment; -1 where none does."""
    first = replayed.first_holder[resource]
    low, high = first, replayed.first_holder[resource + 1]
    while low < high:
        middle = (low + high) >> 1
        if replayed.start_ns[replayed.holder[middle]] < time_ns:
            low = middle + 1
        else:
            high = middle
    found = np.int64(-1)
    if low > first and replayed.end_ns[replayed.holder[low - 1]] == time_ns:
        found = low - 1
    return found


@kept_on_disk
def walk_back(replayed: Replayed, predecessor: Int32, last: int) -> Int64:
    """Return the path to task ``last``, its end first: a row (task, reason, resource) a task.

    The walk ends at a task that starts at 0, or at one that nothing accounts for: its reason
    is -1.
    """
    rows = np.empty((_FEW_TASKS, 3), np.int64)
    num_rows, task = 0, np.int64(last)
    while task >= 0:
        if num_rows == len(rows):
            rows = np.concatenate((rows, np.empty_like(rows)))
        time_ns, reason, resource = replayed.start_ns[task], -1, np.int64(-1)
        before = np.int64(-1)
        if time_ns == 0:
            reason = START
        elif predecessor[task] >= 0:
            reason, before = PREDECESSOR, np.int64(predecessor[task])
        else:
            for place in range(replayed.first_held[task], replayed.first_held[task + 1]):
                holder = _holder_until(replayed, replayed.held[place], time_ns)
                if holder >= 0 and before < 0:
                    reason, resource = RESOURCE, np.int64(replayed.held[place])
                    before = np.int64(replayed.holder[holder])
        rows[num_rows, 0], rows[num_rows, 1], rows[num_rows, 2] = task, reason, resource
        num_rows, task = num_rows + 1, before
    return rows[:num_rows].copy()
