"""Spans merged into blocks: all tasks of one kind that one action runs in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_KINDS

if TYPE_CHECKING:
    from flexsim.timeline.spans import Timeline


@dataclass(frozen=True, eq=False)
class Blocks:
    """Merged spans, a row a (place, action, task kind), in order of these three."""

    place: Int64
    """The device or the resource, whichever the spans were grouped by."""
    action: Int64
    """Row of the action table; -1 for tasks outside any action."""
    kind: Int64
    """Position in :data:`TASK_KINDS`."""
    start_ns: Int64
    end_ns: Int64
    busy_ns: Int64
    """Sum of the durations; less than end − start where the block is interrupted."""
    num_tasks: Int64
    num_bytes: Int64

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> Blocks:
        return Blocks(*(getattr(self, field.name)[rows] for field in fields(self)))


def fine_blocks(timeline: Timeline) -> Blocks:
    """Return what happens on every resource: rows of which :func:`merged` makes blocks.

    A place is twice a resource, and one more for tasks of which it is not the first resource.
    """
    from flexsim.timeline.kernels import Tasks, sum_blocks

    graph = timeline.task_graph
    tasks = Tasks(
        graph.action,
        graph.kind,
        timeline.start_ns,
        timeline.end_ns,
        graph.num_bytes,
        graph.resources.offsets,
        graph.resources.values,
    )
    num_slots = 2 * graph.num_resources * len(TASK_KINDS)
    sums = sum_blocks(tasks, np.full(num_slots, -1, np.int32), len(TASK_KINDS))
    return Blocks(*sums.T)


def resource_blocks(timeline: Timeline) -> Blocks:
    """Return the blocks of every resource; a task counts on each that it holds."""
    return merged(timeline.fine_blocks, timeline.fine_blocks.place // 2)


def device_blocks(timeline: Timeline) -> Blocks:
    """Return the blocks of every device; a task counts once, on its first resource's device."""
    fine = timeline.fine_blocks
    first = fine[fine.place % 2 == 0]
    return merged(first, timeline.task_graph.resource_table.device[first.place // 2])


def merged(blocks: Blocks, place: NDArray[np.integer]) -> Blocks:
    """Return one row a (place, action, kind), in order of these, with new places."""
    num_actions, num_kinds = int(blocks.action.max(initial=0)) + 2, len(TASK_KINDS)
    key = (place.astype(np.int64) * num_actions + blocks.action + 1) * num_kinds + blocks.kind
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    rows = order[first]
    return Blocks(
        place=place[rows].astype(np.int64),
        action=blocks.action[rows],
        kind=blocks.kind[rows],
        start_ns=_reduced(np.minimum, blocks.start_ns[order], first),
        end_ns=_reduced(np.maximum, blocks.end_ns[order], first),
        busy_ns=_reduced(np.add, blocks.busy_ns[order], first),
        num_tasks=_reduced(np.add, blocks.num_tasks[order], first),
        num_bytes=_reduced(np.add, blocks.num_bytes[order], first),
    )


def _reduced(reduce: np.ufunc, values: Int64, first: Int64) -> Int64:
    """Reduce every group of ``values``; groups begin at ``first``."""
    return reduce.reduceat(values, first) if len(first) else values
