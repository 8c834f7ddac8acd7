"""The store of a contracted replay: contents of parts and the steps that were simulated."""

from __future__ import annotations

from collections.abc import Sequence

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
_MOST_WORK = 1 << 22
"""Numbers of a replay for which room is kept."""
Content = tuple[Int64, Int64, Int64]
"""Columns of the members (duration, how many resources it holds, how many tasks follow, how
many come before, group of heads), what they hold, and what follows them."""


class Store:
    """Contents of parts, tables of templates, and entries; an address stays what it is."""

    def __init__(self, room: int = 0) -> None:
        """Keep the first ``room`` values for tables, so that entries alone may be forgotten."""
        self._kind_of: dict[bytes, int] = {}
        self._size_of: dict[int, int] = {}
        self._next_table = BUCKETS + NUM_BUCKETS
        self._first_entry = self._next_table + room
        self.values = np.zeros(_LEAST_VALUES + room, np.int64)
        self.values[BUCKETS : BUCKETS + NUM_BUCKETS] = -1
        self.values[NUM_VALUES], self.values[NUM_ENTRIES] = self._first_entry, 0
        self._scratch = np.zeros(2, np.int64)
        self._workroom = np.zeros(0, np.int64)

    @property
    def num_values(self) -> int:
        """Numbers kept."""
        return int(self.values[NUM_VALUES])

    @property
    def room(self) -> int:
        """Values that are left for tables in front of the entries."""
        return self._first_entry - self._next_table

    def forget_entries(self) -> None:
        """Forget all that was simulated or appended; tables in front of the entries stay."""
        self._scratch[:] = 0
        self.values[BUCKETS : BUCKETS + NUM_BUCKETS] = -1
        self.values[NUM_VALUES], self.values[NUM_ENTRIES] = self._first_entry, 0

    def write(self, table: Int64) -> int:
        """Append a table and return its address."""
        if table.size <= self.room:
            begin, self._next_table = self._next_table, self._next_table + table.size
            self.values[begin : begin + table.size] = table.reshape(-1)
            return begin
        return self.append(table)

    def append(self, table: Int64) -> int:
        """Write a table among the entries, to be forgotten with them; return its address."""
        begin = self.num_values
        while begin + table.size > len(self.values):
            self.grow()
        self.values[begin : begin + table.size] = table.reshape(-1)
        self.values[NUM_VALUES] += table.size
        return begin

    def lay_out(self, tables: Sequence[Int64]) -> list[int]:
        """Write tables over those that were laid out before; return their addresses."""
        sizes = [table.size for table in tables]
        begin, room = self._scratch.tolist()
        if sum(sizes) > room:
            begin, room = self.write(np.zeros(2 * sum(sizes), np.int64)), 2 * sum(sizes)
            self._scratch[:] = begin, room
        found = []
        for table, size in zip(tables, sizes, strict=True):
            self.values[begin : begin + size] = table.reshape(-1)
            found.append(begin)
            begin += size
        return found

    def workroom(self, size: int) -> Int64:
        """Return room for one replay at a time, with what the last has left in it."""
        if size > _MOST_WORK:
            return np.empty(size, np.int64)
        if size > len(self._workroom):
            self._workroom = np.empty(min(2 * size, _MOST_WORK), np.int64)
        return self._workroom[:size]

    def grow(self) -> None:
        """Make twice the room, which takes memory only where it is written to."""
        values = np.zeros(2 * len(self.values), np.int64)
        for some in (slice(self._next_table), slice(self._first_entry, len(self.values))):
            values[some] = self.values[some]
        self.values = values

    def kind(self, content: Content, num_held: int, num_groups: int) -> int:
        """Return the address of the kind with this content, resources and groups of heads."""
        counts = np.array([len(content[0]), num_held, num_groups], np.int64)
        key = b"".join(part.tobytes() for part in (counts, *content))
        if key not in self._kind_of:
            table = _kind(counts, content)
            self._kind_of[key] = self.write(table)
            self._size_of[self._kind_of[key]] = table.size
        return self._kind_of[key]

    def kind_at(self, address: int) -> Int64:
        """Return the table of a kind; addresses in it are relative to its own."""
        return self.values[address : address + self._size_of[address]].copy()


def _kind(counts: Int64, content: Content) -> Int64:
    columns, held, following = content
    held_at = MEMBERS + MEMBER_SIZE * len(columns) + offsets_of(columns[:, 1])
    following_at = held_at[-1] + offsets_of(columns[:, 2])
    spans = [held_at[:-1], held_at[1:], following_at[:-1], following_at[1:]]
    rows = np.stack([columns[:, 0], *spans, columns[:, 3], columns[:, 4]], 1)
    return np.concatenate([counts, rows.reshape(-1), held, following])
