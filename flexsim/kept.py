"""What was made before, by what it follows from; the oldest is forgotten where it is too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")
_NOTHING = object()


class Kept:
    """Things made once for every key, at most so many at a time."""

    def __init__(self, most: int) -> None:
        """Keep at most so many things: those that were asked for last."""
        self._most = most
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what was made for ``key``, now or before."""
        found = self._found.get(key, _NOTHING)
        if found is _NOTHING:
            found = self._found[key] = make()
            if len(self._found) > self._most:
                self._found.popitem(last=False)
        else:
            self._found.move_to_end(key)
        return cast(Value, found)

    def __len__(self) -> int:
        """Return how many things are kept."""
        return len(self._found)
