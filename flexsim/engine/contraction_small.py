"""Small groups of tasks replayed by the compiled engine's kernel, from a moment in the midst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.kernel import KEY_BITS, Replay, advance
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64


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

    def replay(self, ready_ns: Int64, free_ns: Int64) -> tuple[Int64, Int64] | None:
        """Return when each task becomes ready and starts; None where one never does or too late.

        Tasks wait until ``ready_ns`` for what is not among them; resources are taken until
        ``free_ns``.
        """
        num_tasks = len(self.duration_ns)
        shift = max(1, (num_tasks - 1).bit_length())
        window_ns = 1 << (KEY_BITS - shift)
        if ready_ns.max(initial=0) >= window_ns:
            return None
        first = np.flatnonzero(self.num_before == 0)
        heap = np.zeros(num_tasks + 1, np.int64)
        heap[: len(first)] = np.sort(ready_ns[first] << shift | first)
        replay = Replay(
            duration_ns=np.ascontiguousarray(self.duration_ns),
            first_held=self.held.offsets,
            held=self.held.values,
            first_next=self.following.offsets,
            following=self.following.values,
            num_missing=self.num_before.astype(np.int32),
            start_ns=ready_ns.copy(),
            free_ns=free_ns.copy(),
            heap=heap,
            later=np.zeros(num_tasks, np.int32),
            state=np.array([len(first), 0, 0], np.int64),
        )
        if advance(replay, num_tasks, shift, window_ns) < num_tasks:
            return None
        start_ns = replay.start_ns
        sources, targets = self.following.rows, self.following.values
        last_ns = ready_ns.copy()
        np.maximum.at(last_ns, targets, start_ns[sources] + self.duration_ns[sources])
        return last_ns, start_ns
