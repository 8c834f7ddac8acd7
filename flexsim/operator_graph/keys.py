"""Keys: small objects that stand for values, so that looking them up costs nothing."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache


class Key:
    """Stands for a value; equal values get the same key, compared and hashed by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Hashable) -> None:
        self.value = value


@lru_cache(maxsize=16384)
def key_of(value: Hashable) -> Key:
    """Return the key of a value.

    A value that was forgotten meanwhile gets a new key: keys may differ where values are
    equal, never the other way round.
    """
    return Key(value)
