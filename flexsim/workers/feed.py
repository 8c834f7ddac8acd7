"""Which items go to the workers next: batches of a handy duration, suspects alone at the end.

A sequence is cut into as many *lanes* as there are workers, each a run of neighbours that are
sent in turn, so that workers find again what they kept of an item's neighbours more often; a lane
that is done takes over half of the longest one. An iterable that is no sequence has one lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

TARGET_S = 0.2
"""How long a batch should take: long beside what sending it costs, short for who watches."""
MOST_ITEMS = 256
_SHORT_S = 1.0


@dataclass(frozen=True)
class Portion:
    """Items that are sent together, with their indices; ``is_alone``: nothing else is at work."""

    items: tuple[tuple[int, Any], ...]
    is_alone: bool = False
    lane: int = 0


@dataclass
class Lane:
    """A run of items: what is left of it, and portions at work."""

    left: Iterator[tuple[int, Any]] | None = None
    indices: range = field(default_factory=lambda: range(0))
    num_out: int = 0


class Feed:
    """Takes items from an iterable only as workers need them.

    A portion that workers died of is taken apart, and its items are tried again at the end, each
    while nothing else is at work: so no item pays for what its neighbours did.
    """

    def __init__(self, items: Iterable[Any], num_lanes: int = 1) -> None:
        self._items = items if isinstance(items, Sequence) else ()
        self._lanes = self._cut(num_lanes) if self._items else [Lane(left=enumerate(items))]
        self._suspects: deque[tuple[int, Any]] = deque()
        self._size = 1
        self._is_short = False
        self.num_out = 0
        """Portions at work."""

    def take(self, num_workers: int) -> Portion | None:
        """Return what to send next; None while there is enough at work, or nothing left."""
        portion = self._next(num_workers)
        self.num_out += portion is not None
        return portion

    def done(self, portion: Portion, seconds: float) -> None:
        """Note that a portion is done, and how long it took."""
        self._end(portion)
        number = len(portion.items)
        fitting = int(TARGET_S * number / max(seconds, 1e-9))
        self._size = max(1, min(fitting, 2 * number, MOST_ITEMS))
        self._is_short = seconds < _SHORT_S

    def died(self, portion: Portion) -> list[int]:
        """Note that workers died of a portion; return the indices of items that are given up."""
        self._end(portion)
        if portion.is_alone:
            return [index for index, _ in portion.items]
        self._suspects.extend(portion.items)
        return []

    def _next(self, num_workers: int) -> Portion | None:
        # A worker that takes long over a batch needs no second one that waits behind it.
        most = max(1, num_workers) * (2 if self._is_short else 1)
        if self.num_out >= most:
            return None
        number = min(range(len(self._lanes)), key=lambda lane: self._lanes[lane].num_out)
        items = self._of_lane(self._lanes[number])
        if items:
            self._lanes[number].num_out += 1
            return Portion(items, lane=number)
        if self._suspects and not self.num_out:
            return Portion((self._suspects.popleft(),), is_alone=True)
        return None

    def _cut(self, num_lanes: int) -> list[Lane]:
        """Return runs of the sequence, as equal as may be."""
        most = max(1, min(num_lanes, len(self._items)))
        ends = [len(self._items) * lane // most for lane in range(most + 1)]
        return [Lane(indices=range(*pair)) for pair in pairwise(ends)]

    def _of_lane(self, lane: Lane) -> tuple[tuple[int, Any], ...]:
        """Take the next items of a lane, or of what it takes over from the longest one."""
        if lane.left is not None:
            return tuple(islice(lane.left, self._size))
        if not lane.indices:
            longest = max(self._lanes, key=lambda each: len(each.indices))
            half = len(longest.indices) // 2
            lane.indices, longest.indices = longest.indices[half:], longest.indices[:half]
        taken, lane.indices = lane.indices[: self._size], lane.indices[self._size :]
        return tuple((index, self._items[index]) for index in taken)

    def _end(self, portion: Portion) -> None:
        self.num_out -= 1
        if not portion.is_alone:
            self._lanes[portion.lane].num_out -= 1
