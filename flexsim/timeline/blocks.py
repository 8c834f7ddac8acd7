"""Spans merged into blocks: all tasks of one kind that one action runs in one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_KINDS
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


def merge_blocks(timeline: Timeline, place: NDArray[np.integer], task: Int64) -> Blocks:
    """Merge the spans of ``task`` (ids), which happen at ``place``, into blocks."""
    graph = timeline.task_graph
    action, kind = graph.action[task].astype(np.int64), graph.kind[task].astype(np.int64)
    num_actions, num_kinds = len(graph.actions.kind) + 1, len(TASK_KINDS)
    key = (place.astype(np.int64) * num_actions + action + 1) * num_kinds + kind
    order = np.argsort(key, kind="stable")
    key, task = key[order], task[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    place_and_action, kind = np.divmod(key[first], num_kinds)
    return Blocks(
        place=place_and_action // num_actions,
        action=place_and_action % num_actions - 1,
        kind=kind,
        start_ns=_reduced(np.minimum, timeline.start_ns[task], first),
        end_ns=_reduced(np.maximum, timeline.end_ns[task], first),
        busy_ns=_reduced(np.add, graph.duration_ns[task], first),
        num_tasks=np.diff(first, append=len(key)),
        num_bytes=_reduced(np.add, graph.num_bytes[task], first),
    )


def device_blocks(timeline: Timeline) -> Blocks:
    """Return the blocks of every device; a task counts once, on its first resource's device."""
    graph = timeline.task_graph
    return merge_blocks(timeline, graph.device, np.arange(graph.num_tasks))


def _reduced(reduce: np.ufunc, values: Int64, first: Int64) -> Int64:
    """Reduce every group of ``values``; groups begin at ``first``."""
    return reduce.reduceat(values, first) if len(first) else values
