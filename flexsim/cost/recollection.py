"""What was found about communication, kept for all clusters on which it is the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

Found = TypeVar("Found")

_MOST_THINGS = 4_096
_MOST_GROUPS = 1_024
_MOST_CLUSTERS = 32


class Recollection:
    """Things found before, at most so many; the oldest are forgotten."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._groups: OrderedDict[Hashable, Any] = OrderedDict()
        self._things: OrderedDict[Hashable, Any] = OrderedDict()

    def of_groups(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """Return what was found about groups of devices, which may be large, now or before."""
        return kept(self._groups, key, find, _MOST_GROUPS)

    def once(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """Return what was found for ``key``, now or before."""
        return kept(self._things, key, find, _MOST_THINGS)


@lru_cache(maxsize=_MOST_CLUSTERS)
def recollection_of(likeness: Hashable) -> Recollection:
    """Return the one recollection of all clusters that are alike in this."""
    return Recollection()


def kept(
    things: OrderedDict[Any, Any], key: Hashable, find: Callable[[], Found], most: int
) -> Found:
    """Return what is kept under ``key``, or find it and keep it instead of the oldest."""
    found = things.get(key)
    if found is None:
        found = things[key] = find()
        if len(things) > most:
            things.popitem(last=False)
    return cast(Found, found)
