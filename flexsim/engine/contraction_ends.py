"""When the last of some members of actions end: compiled, for all ranks at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flexsim.engine.contraction_work import Work
from flexsim.numba_cache import kept_on_disk
from flexsim.ragged import offsets_of
from flexsim.task_graph.columns import Int64

CROSSING = -1
"""A shift of moments of which another may be the last with more windows left out."""


class Line(NamedTuple):
    """Moments, and how much later each is for every window left out."""

    ns: Int64
    shift: Int64

    def after(self, num_windows: int) -> Int64:
        """Return the moments where so many windows are left out of each run."""
        return self.ns + num_windows * self.shift


class Watches(NamedTuple):
    """Members that are watched together, a ragged row each: by part and number inside it."""

    offsets: Int64
    part: Int64
    local: Int64

    @classmethod
    def of(cls, groups: Sequence[tuple[Int64, Int64]]) -> Watches:
        """Return the rows of some groups of members."""
        offsets = offsets_of(np.array([len(part) for part, _ in groups], np.int64))
        part, local = (
            np.concatenate([*each, np.zeros(0, np.int64)]) for each in zip(*groups, strict=True)
        )
        return cls(offsets, part.astype(np.int64), local.astype(np.int64))


@kept_on_disk
def _find(
    replayed: tuple[Int64, Int64, Int64],
    watches: tuple[Int64, Int64, Int64],
    asked: tuple[Int64, Int64],
    found: Int64,
) -> None:
    """Write when the last member of each row asked for ends in its action, and its shift.

    ``replayed`` are the parts of actions (END, BASE_NS, SPAN), the store, and shifts by part
    (LOW, HIGH, SEGMENT), which may be empty.
    """
    parts, store, shifts = replayed
    offsets, part, local = watches
    actions, rows = asked
    for place in range(len(actions)):
        last_ns, shift, most = 0, 0, 0
        for member in range(offsets[rows[place]], offsets[rows[place] + 1]):
            code = 3 * actions[place] + part[member]
            end_ns = parts[code, 1] + store[parts[code, 0] + local[member]]
            its = shifts[code, 1] if len(shifts) > 0 else 0
            most = max(most, its)
            if end_ns > last_ns:
                last_ns, shift = end_ns, its
            elif end_ns == last_ns:
                shift = max(shift, its)
        found[0, place] = last_ns
        found[1, place] = shift if shift == most else -1


def ends_of(work: Work, store: Int64, watches: Watches, asked: tuple[Int64, Int64]) -> Line:
    """Return when the last member of rows ends: ``asked`` are actions, and rows of watches."""
    found = np.zeros((2, len(asked[0])), np.int64)
    _find(
        (work.parts, store, work.shifts),
        (watches.offsets, watches.part, watches.local),
        asked,
        found,
    )
    return Line(*found)
