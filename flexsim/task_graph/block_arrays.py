"""An outline and what chains bring, as the arrays that the linking loop takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import offsets_of
from flexsim.task_graph.block_chains import Brought
from flexsim.task_graph.block_kernel import PART_SHIFT, Chains, Linked, Sites
from flexsim.task_graph.block_outline import Outline
from flexsim.task_graph.block_pool import Pool
from flexsim.task_graph.columns import Int32, Int64


def sites_of(outline: Outline) -> Sites:
    """Return an outline as arrays."""
    chain = np.full(outline.num_slots, -1, np.int32)
    part = np.zeros(outline.num_slots, np.int32)
    reads: list[Sequence[int]] = [()] * outline.num_slots
    gates: list[Sequence[int]] = [()] * outline.num_slots
    for each in outline.chains:
        for number, read in enumerate(each.reads):
            chain[read.slot], part[read.slot] = each.number, number
    for number, step in enumerate(outline.steps):
        part[step.slot], reads[step.slot], gates[step.slot] = number, step.reads, step.gate
    slots = [[read.slot for read in each.reads] for each in outline.chains]
    inputs = [each.inputs for each in outline.chains]
    return Sites(
        chain,
        part,
        *_ragged(reads),
        *_ragged(gates),
        *_ragged(slots),
        offsets_of(np.array([len(each) for each in inputs], np.int64)),
        *_ragged([rows for each in inputs for rows in each]),
    )


def _ragged(rows: Sequence[Sequence[int]]) -> tuple[Int64, Int32]:
    counts = np.array([len(row) for row in rows], np.int64)
    return offsets_of(counts), np.array([value for row in rows for value in row], np.int32)


class Column:
    """A growing array."""

    def __init__(self, dtype: type[np.generic], width: int = 0) -> None:
        """Begin empty, with lines of ``width`` values or single ones."""
        shape = (1024, width) if width else (1024,)
        self._values: NDArray[np.generic] = np.zeros(shape, dtype)
        self.length = 0

    @property
    def values(self) -> NDArray[np.generic]:
        """All values so far, and room behind them."""
        return self._values

    def extend(self, more: Sequence[int] | NDArray[np.generic]) -> int:
        """Append values and return the position of the first."""
        first, after = self.length, self.length + len(more)
        while after > len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
        self._values[first:after] = more
        self.length = after
        return first


class ChainTable:
    """What chains bring, numbered."""

    def __init__(self, pool: Pool) -> None:
        """Begin empty; rows' contents go into ``pool``."""
        self._pool = pool
        self._first = Column(np.int64)
        self._reads = Column(np.int64, 4)
        self._rows = Column(np.int64, 3)
        self._codes = Column(np.int32)

    @property
    def arrays(self) -> Chains:
        """All contents so far."""
        columns = (self._first, self._reads, self._rows, self._codes)
        return Chains(*(column.values for column in columns))  # type: ignore[arg-type]

    def add(self, brought: Brought) -> int:
        """Append what a chain brings and return its number."""
        known: list[int] = []
        for number, rows in enumerate(brought.rows):
            known += [(number << PART_SHIFT) + i for i in range(len(rows))]
        codes: list[int] = []
        reads: list[tuple[int, ...]] = []
        lines: list[tuple[int, ...]] = []
        for rows, result in zip(brought.rows, brought.results, strict=True):
            first = self._rows.length + len(lines)
            for row in rows:
                lines.append((self._pool.number(row), *self._append(codes, row.needs, known)))
            reads.append((first, len(rows), *self._append(codes, result, known)))
        self._codes.extend(codes)
        if lines:
            self._rows.extend(np.array(lines))
        first_read = self._reads.extend(np.array(reads)) if reads else self._reads.length
        return self._first.extend([first_read])

    def _append(self, codes: list[int], rows: Sequence[int], known: list[int]) -> tuple[int, int]:
        """Append what rows stand for; return where it will lie and how many codes there are."""
        first = self._codes.length + len(codes)
        codes += [known[row] if row >= 0 else row for row in rows]
        return first, len(rows)


def room_for(sites: Sites, counts: Int64) -> Linked:
    """Return arrays with some room more than for ``counts`` rows, needs and results."""
    num_rows, num_needs, num_results = (2 * int(count) + 1024 for count in counts)
    num_slots = len(sites.chain)
    return Linked(
        np.empty(num_rows, np.int32),
        np.empty(num_rows, np.int32),
        np.zeros(num_rows + 1, np.int64),
        np.empty(num_needs, np.int32),
        np.zeros(num_slots + 1, np.int32),
        np.zeros(num_slots + 1, np.int64),
        np.empty(num_results, np.int32),
        np.zeros(3, np.int64),
    )


def fits(linked: Linked) -> bool:
    """Whether everything was written."""
    room = (len(linked.content), len(linked.needs), len(linked.results))
    return bool((linked.counts <= room).all())
