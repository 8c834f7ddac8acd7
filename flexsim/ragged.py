"""Ragged rows as two arrays: offsets and values (compressed sparse rows)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Csr:
    """Ragged rows: row ``i`` holds ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    values: NDArray[np.int32]

    def row(self, index: int) -> NDArray[np.int32]:
        """Return the values of one row."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """The length of every row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of every value."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    @classmethod
    def from_pairs(cls, num_rows: int, rows: NDArray[np.integer], values: NDArray[np.int32]) -> Csr:
        """Group ``values`` by ``rows`` with a stable counting sort."""
        counts = np.bincount(rows, minlength=num_rows)
        return cls(offsets_of(counts), values[np.argsort(rows, kind="stable")])


def offsets_of(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where rows of these lengths begin, and where the last one ends."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def rows_of(table: Csr, rows: NDArray[np.integer]) -> Csr:
    """Return some rows of a table, in the order given."""
    offsets = offsets_of(table.counts[rows])
    shifts = np.repeat(table.offsets[rows] - offsets[:-1], np.diff(offsets))
    return Csr(offsets, table.values[shifts + np.arange(offsets[-1])])


def row_hashes(rows: Csr) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every row's values, in which their order counts."""
    position = np.arange(len(rows.values)) - rows.offsets[:-1][rows.rows]
    mixed = mix(rows.values.astype(np.uint64) * np.uint64(1 << 20) + position.astype(np.uint64))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    hashes: NDArray[np.uint64] = sums[rows.offsets[1:]] - sums[rows.offsets[:-1]]
    return hashes


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the finalizer of SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
