"""Which items go to the workers next: batches of a handy duration, suspects alone at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
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


class Feed:
    """Takes items from an iterable only as workers need them.

    A portion that workers died of is taken apart, and its items are tried again at the end, each
    while nothing else is at work: so no item pays for what its neighbours did.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._left: Iterator[tuple[int, Any]] = enumerate(items)
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
        self.num_out -= 1
        number = len(portion.items)
        fitting = int(TARGET_S * number / max(seconds, 1e-9))
        self._size = max(1, min(fitting, 2 * number, MOST_ITEMS))
        self._is_short = seconds < _SHORT_S

    def died(self, portion: Portion) -> list[int]:
        """Note that workers died of a portion; return the indices of items that are given up."""
        self.num_out -= 1
        if portion.is_alone:
            return [index for index, _ in portion.items]
        self._suspects.extend(portion.items)
        return []

    def _next(self, num_workers: int) -> Portion | None:
        # A worker that takes long over a batch needs no second one that waits behind it.
        most = max(1, num_workers) * (2 if self._is_short else 1)
        if self.num_out >= most:
            return None
        items = tuple(islice(self._left, self._size))
        if items:
            return Portion(items)
        if self._suspects and not self.num_out:
            return Portion((self._suspects.popleft(),), is_alone=True)
        return None
