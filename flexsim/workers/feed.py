"""Which items go to the workers next: batches of a handy duration, suspects alone at the end.

A sequence is cut into *lanes*, runs of neighbours that one worker is sent in turn, so that it
finds again what it kept of an item's neighbours. A worker whose lane is done takes over half of
the longest one; the lane of a worker that is gone falls to the next that has none.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

TARGET_S = 0.2
"""How long a batch should take: long beside what sending it costs, short for who watches."""
MOST_ITEMS = 256
ANYWHERE = ""
_SHORT_S = 1.0


@dataclass(frozen=True)
class Portion:
    """Items that are sent together, with their indices, and the place they should go to.

    ``place`` is a worker, or :data:`ANYWHERE`; ``is_alone``: nothing else is at work.
    """

    items: tuple[tuple[int, Any], ...]
    is_alone: bool = False
    place: str = ANYWHERE


class Feed:
    """Takes items from an iterable only as workers need them.

    A portion that workers died of is taken apart, and its items are tried again at the end, each
    while nothing else is at work: so no item pays for what its neighbours did.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items: Sequence[Any] = items if isinstance(items, Sequence) else ()
        self._iterator = enumerate(() if isinstance(items, Sequence) else items)
        self._lanes: dict[str, range] = {}
        self._ownerless = [range(len(self._items))]
        self._places: Sequence[str] = ()
        self._out: Counter[str] = Counter()
        self._suspects: deque[tuple[int, Any]] = deque()
        self._size = 1
        self._is_short = False

    @property
    def num_out(self) -> int:
        """Portions at work."""
        return self._out.total()

    def take(self, places: Sequence[str]) -> Portion | None:
        """Return what to send next to one of the workers that there are.

        Without a worker it is for whoever comes. None while there is enough at work, or nothing
        left.
        """
        portion = self._next(places or (ANYWHERE,))
        if portion is not None:
            self._out[portion.place] += 1
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

    def _next(self, places: Sequence[str]) -> Portion | None:
        if places != self._places:
            self._settle(places)
        # A worker that takes long over a batch needs no second one that waits behind it.
        most = 2 if self._is_short else 1
        place = min(places, key=self._out.__getitem__)
        if self._out[place] >= most or self.num_out >= most * len(places):
            return None
        items = self._of_lane(place)
        if items:
            return Portion(items, place=place)
        if self._suspects and not self.num_out:
            return Portion((self._suspects.popleft(),), is_alone=True)
        return None

    def _settle(self, places: Sequence[str]) -> None:
        """Give lanes to the workers that there are now."""
        is_first = not self._places
        self._places = tuple(places)
        gone = sorted(self._lanes.keys() - set(places))
        self._ownerless += [lane for place in gone if (lane := self._lanes.pop(place))]
        if is_first:
            self._lanes = dict(zip(places, _cut(self._ownerless.pop(), len(places)), strict=True))

    def _of_lane(self, place: str) -> tuple[tuple[int, Any], ...]:
        """Take the next items of a worker's lane, or of what it takes over from others."""
        lane = self._lanes[place] = self._lanes.get(place) or self._taken_over()
        if not lane:
            return tuple(islice(self._iterator, self._size))
        number = self._fitting()
        self._lanes[place] = lane[number:]
        return tuple((index, self._items[index]) for index in lane[:number])

    def _taken_over(self) -> range:
        """Return a lane that nobody has, or the farther half of the longest."""
        if self._ownerless:
            return self._ownerless.pop()
        longest = max(self._lanes, key=lambda place: len(self._lanes[place]), default=None)
        if longest is None:
            return range(0)
        lane = self._lanes[longest]
        self._lanes[longest] = lane[: len(lane) // 2]
        return lane[len(lane) // 2 :]

    def _fitting(self) -> int:
        """Return how many items to send: less towards the end, so that all finish together."""
        left = sum(map(len, self._lanes.values())) + sum(map(len, self._ownerless))
        return max(1, min(self._size, left // (2 * len(self._places))))

    def _end(self, portion: Portion) -> None:
        self._out[portion.place] -= 1
        if not self._out[portion.place]:
            del self._out[portion.place]


def _cut(whole: range, number: int) -> list[range]:
    """Return runs of a range, as equal as may be."""
    ends = [len(whole) * run // number for run in range(number + 1)]
    return [whole[begin:end] for begin, end in pairwise(ends)]
