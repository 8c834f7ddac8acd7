"""The store of a contracted replay: contents of templates and their simulated schedules."""

from __future__ import annotations

import numpy as np

from flexsim.engine.contraction_kernel import NUM_BUCKETS, Classes, Entries
from flexsim.task_graph.columns import Int64

_LEAST_VALUES = 1 << 16
_LEAST_ROWS = 1 << 10
Content = tuple[Int64, Int64, Int64]
"""Columns of the members (duration, how many resources it holds, how many tasks follow, how
many come before, group of heads), what they hold, and what follows them."""


class Store:
    """Kinds of templates and entries; it only grows, so what was handed out stays valid."""

    def __init__(self) -> None:
        self._kind_of: dict[bytes, int] = {}
        self._tables: list[list[Int64]] = [[], [], [], []]
        self._sizes = [0, 0, 0]
        self._classes: Classes | None = None
        self.entries = Entries(
            rows=np.zeros((_LEAST_ROWS, 5), np.int64),
            values=np.zeros(_LEAST_VALUES, np.int64),
            buckets=np.full(NUM_BUCKETS, -1, np.int32),
            sizes=np.zeros(2, np.int64),
        )

    @property
    def num_values(self) -> int:
        """Numbers kept, of entries and kinds."""
        return int(self.entries.sizes[1]) + sum(self._sizes)

    @property
    def classes(self) -> Classes:
        """The contents of all kinds."""
        if self._classes is None:
            for table in self._tables:
                table[:] = [np.concatenate(table)]
            self._classes = Classes(*(table[0] for table in self._tables))
        return self._classes

    def kind(self, content: Content, counts: tuple[int, int]) -> int:
        """Return the number of templates with this content, how many resources and groups."""
        key = b"".join(part.tobytes() for part in content) + repr(counts).encode()
        number = self._kind_of.setdefault(key, len(self._kind_of))
        if number == len(self._kind_of) - 1 and self._is_new(number):
            self._write(content, counts)
        return number

    def _is_new(self, number: int) -> bool:
        return number == sum(len(table) for table in self._tables[0])

    def _write(self, content: Content, counts: tuple[int, int]) -> None:
        columns, held, following = content
        num_members = len(columns)
        first_member, first_held, first_next = self._sizes
        last_held = first_held + np.cumsum(columns[:, 1])
        last_next = first_next + np.cumsum(columns[:, 2])
        rows = [columns[:, 0], last_held - columns[:, 1], last_held]
        rows += [last_next - columns[:, 2], last_next, columns[:, 3], columns[:, 4]]
        kinds = np.array([[first_member, num_members, *counts]], np.int64)
        added = (kinds, np.stack(rows, 1), held.astype(np.int64), following.astype(np.int64))
        for table, part in zip(self._tables, added, strict=True):
            table.append(part)
        self._sizes = [
            first_member + num_members,
            first_held + len(held),
            first_next + len(following),
        ]
        self._classes = None

    def grow(self) -> None:
        """Make room for more entries."""
        rows, values, buckets, sizes = self.entries
        self.entries = Entries(
            np.concatenate([rows, np.zeros_like(rows)]),
            np.concatenate([values, np.zeros_like(values)]),
            buckets,
            sizes,
        )
