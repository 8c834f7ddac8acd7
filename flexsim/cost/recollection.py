"""What was found about communication, kept for all clusters on which it is the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TypeVar

from flexsim.kept import Kept

Found = TypeVar("Found")

_MOST_THINGS = 4_096
_MOST_GROUPS = 1_024
_MOST_CLUSTERS = 32


class Recollection:
    """Things found before, at most so many; the oldest are forgotten."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._groups, self._things = Kept(_MOST_GROUPS), Kept(_MOST_THINGS)

    def of_groups(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """Return what was found about groups of devices, which may be large, now or before."""
        return self._groups.once(key, find)

    def once(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """Return what was found for ``key``, now or before."""
        return self._things.once(key, find)


@lru_cache(maxsize=_MOST_CLUSTERS)
def recollection_of(likeness: Hashable) -> Recollection:
    """Return the one recollection of all clusters that are alike in this."""
    return Recollection()
