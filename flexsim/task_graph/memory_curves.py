"""How much more a device holds while a pass of a stage runs: a curve over the pass's kernels.

A curve is made once a stage and pass and serves every microbatch, so that memory through time
costs as much as there are actions, not tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import DYNAMIC_PARTS, Int32, Int64

SLOTS = 3
"""Moments of a kernel: what it writes comes; what it read last goes, and what communication
makes of its result comes; what communication read last goes."""
NUM_PARTS = len(DYNAMIC_PARTS)


def changes_at(events: Sequence[tuple[int, int, int]], length: int) -> Int64:
    """Return a row a moment, a column a part, from (moment, part, bytes); -1 is the last moment."""
    moment, part, num_bytes = np.array(events, np.int64).T
    changes = np.zeros((length, NUM_PARTS), np.int64)
    np.add.at(changes, (np.where(moment < 0, length - 1, moment), part), num_bytes)
    return changes


class Peak(NamedTuple):
    """The moment of a pass when most is held."""

    parts: Int64
    """Bytes then, by :data:`DYNAMIC_PARTS`, beyond what was held when the pass began."""
    left: Int64
    """Bytes that are left when it ends, by part, which may be negative."""
    kernel: int
    """The kernel that runs then: its position; -1 where no more is held than at the beginning."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Changes of what a device holds, a row a moment (:data:`SLOTS` a kernel), a column a part.

    Kernels ``begin`` to ``end`` are a layer that stands there ``1 + extra`` times.
    """

    changes: Int64
    begin: int = 0
    end: int = 0
    extra: int = 0

    @property
    def num_kernels(self) -> int:
        """Kernels of the pass, those of repeated layers counted as often as they run."""
        return len(self.changes) // SLOTS + self.extra * (self.end - self.begin)

    def times(self, times: int) -> Curve:
        """Return the curve of ``times`` as many samples."""
        return replace(self, changes=self.changes * times)

    def levels(self) -> Int64:
        """Return what is held at every moment, by part."""
        return np.cumsum(self._stretched(), axis=0)

    def _stretched(self) -> Int64:
        if not self.extra:
            return self.changes
        begin, end = SLOTS * self.begin, SLOTS * self.end
        if self.extra < 0:
            return np.concatenate([self.changes[:begin], self.changes[end:]])
        middle = np.tile(self.changes[begin:end], (self.extra, 1))
        return np.concatenate([self.changes[:end], middle, self.changes[end:]])

    def peak(self) -> Peak:
        """Return the first moment when most is held."""
        nothing = np.zeros(NUM_PARTS, np.int64)
        changes = self._stretched()
        held = np.cumsum(changes.sum(axis=1))
        at = int(held.argmax()) if len(held) else -1
        left: Int64 = changes.sum(axis=0)
        if at < 0 or held[at] <= 0:
            return Peak(nothing, left, -1)
        return Peak(changes[: at + 1].sum(axis=0), left, at // SLOTS)


@dataclass(frozen=True, eq=False)
class StageCurves:
    """The curves of one pass of one stage, one for each set of devices that are alike."""

    curves: tuple[Curve, ...]
    curve_of_device: Int32
    """Index into ``curves`` for every device of the stage memory; -1 for none."""
    operator: Int32
    """The operator of every kernel."""
    end_share: NDArray[np.float64]
    """The share of the pass's kernel time that is over when a kernel ends."""


def end_shares(duration_ns: Int64) -> NDArray[np.float64]:
    """Return the share of all durations that is over at the end of each."""
    over = np.cumsum(duration_ns.astype(np.float64))
    total: float = over[-1] if len(over) else 1.0
    shares: NDArray[np.float64] = over / max(total, 1.0)
    return shares
