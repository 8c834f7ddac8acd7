"""The store of a contracted replay: contents of parts and the steps that were simulated."""

from __future__ import annotations

import numpy as np

from flexsim.engine.contraction_layout import (
    BUCKETS,
    MEMBER_SIZE,
    MEMBERS,
    NUM_BUCKETS,
    NUM_ENTRIES,
    NUM_VALUES,
)
from flexsim.ragged import offsets_of
from flexsim.task_graph.columns import Int64

_LEAST_VALUES = 1 << 16
Content = tuple[Int64, Int64, Int64]
"""Columns of the members (duration, how many resources it holds, how many tasks follow, how
many come before, group of heads), what they hold, and what follows them."""


class Store:
    """Kinds of parts and entries; they only grow, so an address stays what it is."""

    def __init__(self) -> None:
        self._kind_of: dict[bytes, int] = {}
        self._num_values = 0
        self.kinds = np.zeros(_LEAST_VALUES, np.int64)
        self.entries = np.full(_LEAST_VALUES, -1, np.int64)
        self.entries[NUM_VALUES], self.entries[NUM_ENTRIES] = BUCKETS + NUM_BUCKETS, 0

    @property
    def num_values(self) -> int:
        """Numbers kept."""
        return int(self.entries[NUM_VALUES]) + self._num_values

    def kind(self, content: Content, num_held: int, num_groups: int) -> int:
        """Return the address of the kind with this content, resources and groups of heads."""
        counts = np.array([len(content[0]), num_held, num_groups], np.int64)
        key = b"".join(part.tobytes() for part in (counts, *content))
        if key not in self._kind_of:
            self._kind_of[key] = self._write(counts, content)
        return self._kind_of[key]

    def _write(self, counts: Int64, content: Content) -> int:
        columns, held, following = content
        first_held = MEMBERS + MEMBER_SIZE * len(columns)
        held_at = first_held + offsets_of(columns[:, 1])
        following_at = held_at[-1] + offsets_of(columns[:, 2])
        spans = [held_at[:-1], held_at[1:], following_at[:-1], following_at[1:]]
        rows = np.stack([columns[:, 0], *spans, columns[:, 3], columns[:, 4]], 1)
        values = np.concatenate([counts, rows.reshape(-1), held, following])
        begin = self._num_values
        self._num_values += len(values)
        while self._num_values > len(self.kinds):
            self.kinds = np.concatenate([self.kinds, np.zeros_like(self.kinds)])
        self.kinds[begin : self._num_values] = values
        return begin

    def grow(self) -> None:
        """Make room for another entry, however large."""
        self.entries = np.concatenate([self.entries, np.full_like(self.entries, -1)])
