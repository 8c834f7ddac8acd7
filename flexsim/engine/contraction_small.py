"""Small groups of tasks replayed from a moment in the midst: compiled, in (ready, id) order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64

Columns: TypeAlias = tuple[Int64, Int64, Int32, Int64, Int32, Int64]
"""Durations, what tasks hold and what follows them (offsets and values each), and how many come
before each."""
STUCK, TOO_EARLY = -1, -2


@inlined
def _push(heap: Int64, num_queued: int, ready_ns: Int64, task: int) -> None:
    """Add a task to the heap."""
    place = num_queued
    while place > 0:
        parent = (place - 1) >> 1
        other = heap[parent]
        if (ready_ns[other], other) <= (ready_ns[task], task):
            break
        heap[place] = other
        place = parent
    heap[place] = task


@inlined
def _pop(heap: Int64, num_queued: int, ready_ns: Int64) -> int:
    """Remove and return the first of ``num_queued`` tasks."""
    first, task, place = heap[0], heap[num_queued - 1], 0
    while 2 * place + 1 < num_queued - 1:
        child = 2 * place + 1
        if child + 1 < num_queued - 1:
            one, other = heap[child], heap[child + 1]
            if (ready_ns[other], other) < (ready_ns[one], one):
                child += 1
        lowest = heap[child]
        if (ready_ns[task], task) <= (ready_ns[lowest], lowest):
            break
        heap[place] = lowest
        place = child
    heap[place] = task
    return int(first)


@inlined
def _replay(tasks: Columns, ready_ns: Int64, start_ns: Int64, free_ns: Int64) -> int:
    """Replay tasks; return how many could run."""
    duration_ns, first_held, held, first_next, following, num_before = tasks
    heap, left = np.empty(len(duration_ns) + 1, np.int64), num_before.copy()
    num_queued, num_done = 0, 0
    for task in range(len(duration_ns)):
        if left[task] == 0:
            _push(heap, num_queued, ready_ns, task)
            num_queued += 1
    while num_queued > 0:
        task = _pop(heap, num_queued, ready_ns)
        num_queued, num_done, begin_ns = num_queued - 1, num_done + 1, ready_ns[task]
        for place in range(first_held[task], first_held[task + 1]):
            begin_ns = max(begin_ns, free_ns[held[place]])
        start_ns[task], end_ns = begin_ns, begin_ns + duration_ns[task]
        for place in range(first_held[task], first_held[task + 1]):
            free_ns[held[place]] = end_ns
        for place in range(first_next[task], first_next[task + 1]):
            after = following[place]
            ready_ns[after] = max(ready_ns[after], end_ns)
            left[after] -= 1
            if left[after] == 0:
                _push(heap, num_queued, ready_ns, int(after))
                num_queued += 1
    return num_done


@kept_on_disk
def replay_tasks(tasks: Columns, ready_ns: Int64, start_ns: Int64, free_ns: Int64) -> int:
    """Replay tasks; return how many could run.

    ``ready_ns`` says how long they wait for others; it and ``free_ns``, when resources are free,
    are carried on.
    """
    return _replay(tasks, ready_ns, start_ns, free_ns)


@kept_on_disk
def end_after(
    tasks: Columns,
    waits: tuple[Int64, Int64, Int64, Int64, Int64],
    moments: tuple[Int64, Int64, Int64, Int64, Int64],
) -> int:
    """Replay tasks behind ranks that have run; return when the last of them ends.

    ``waits`` are the rank of each task, those that wait for their rank's tails, the anchors and
    the tasks that wait for them, and those that wait for what their rank sends. ``moments`` are
    when tails and anchors end, resources are free, the last that took each became ready, and
    what ranks send has arrived. Return :data:`STUCK` where some cannot run, :data:`TOO_EARLY`
    where one becomes ready before what took its resources.
    """
    rank, heads, anchor, waiting, entries = waits
    tails_ns, anchors_ns, free_ns, last_ready_ns, sends_ns = moments
    duration_ns, first_held, held = tasks[:3]
    ready_ns, start_ns = np.zeros_like(duration_ns), np.zeros_like(duration_ns)
    for task in heads:
        ready_ns[task] = tails_ns[rank[task]]
    for place in range(len(waiting)):
        ready_ns[waiting[place]] = max(ready_ns[waiting[place]], anchors_ns[anchor[place]])
    if len(sends_ns) > 0:
        for task in entries:
            ready_ns[task] = max(ready_ns[task], sends_ns[rank[task]])
    if _replay(tasks, ready_ns, start_ns, free_ns.copy()) < len(duration_ns):
        return STUCK
    end_ns = 0
    for task in range(len(duration_ns)):
        for place in range(first_held[task], first_held[task + 1]):
            if ready_ns[task] <= last_ready_ns[held[place]]:
                return TOO_EARLY
        end_ns = max(end_ns, start_ns[task] + duration_ns[task])
    return end_ns


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks in order of their ids, and the edges between them."""

    duration_ns: Int64
    held: Csr
    num_resources: int
    following: Csr
    num_before: Int64

    @classmethod
    def of(
        cls, duration_ns: Int64, held: Csr, num_resources: int, edges: tuple[Int64, Int64]
    ) -> Tasks:
        """Take edges as pairs of a source and a target."""
        sources, targets = edges
        following = Csr.from_pairs(len(duration_ns), sources, targets.astype(np.int32))
        num_before = np.bincount(targets, minlength=len(duration_ns))
        return cls(duration_ns, held, num_resources, following, num_before)

    @cached_property
    def columns(self) -> Columns:
        """The tasks as compiled functions take them."""
        return (
            np.ascontiguousarray(self.duration_ns),
            self.held.offsets,
            self.held.values,
            self.following.offsets,
            self.following.values,
            self.num_before,
        )

    def replay(self, ready_ns: Int64, free_ns: Int64) -> tuple[Int64, Int64] | None:
        """Return when each task becomes ready and starts; None where one never does.

        Tasks wait until ``ready_ns`` for what is not among them; resources are taken until
        ``free_ns``.
        """
        last_ns, start_ns = ready_ns.copy(), np.zeros_like(ready_ns)
        if replay_tasks(self.columns, last_ns, start_ns, free_ns.copy()) < len(ready_ns):
            return None
        return last_ns, start_ns
