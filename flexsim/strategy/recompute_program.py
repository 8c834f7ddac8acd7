"""The best runs of operators to recompute on a small graph, as an integer program.

Jain et al. 2020 (Checkmate, arXiv 1910.02653) choose what is kept and what is computed again. Here
a run of neighbouring operators is repeated as one, just before the backward of its last operator,
so the program chooses runs that do not overlap: x[i, j] = 1 repeats operators i to j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

MOST_OPERATORS = 40
"""Runs grow with the square; HiGHS solves this many in seconds."""


@dataclass(frozen=True)
class Saved:
    """A tensor that the backward may read: who writes it, by number, and who reads it.

    ``writer`` is -1 for one that comes from elsewhere.
    """

    num_bytes: int
    writer: int
    backward: tuple[int, ...]
    """Operators whose backward reads it."""
    forward: tuple[int, ...]
    """Operators whose forward reads it."""

    def is_kept_by(self, run: tuple[int, int]) -> bool:
        """Whether repeating ``run`` needs the tensor from outside of it."""
        first, last = run
        reads = any(first <= reader <= last for reader in self.forward)
        return reads and not first <= self.writer <= last

    def is_made_by(self, run: tuple[int, int], reader: int) -> bool:
        """Whether ``run`` makes anew what the backward of ``reader`` reads."""
        first, last = run
        return first <= self.writer <= last and first <= reader <= last


def memory_of(runs: Sequence[tuple[int, int]], tensors: Sequence[Saved], passes: int) -> int:
    """Return what ``passes`` microbatches keep, with what the largest run makes anew."""
    kept = sum(tensor.num_bytes for tensor in tensors if _is_kept(tensor, runs))
    made = [_made_bytes(run, tensors) for run in runs]
    return passes * kept + max(made, default=0)


def cheapest_runs(
    time_ns: Sequence[int], tensors: Sequence[Saved], passes: int, limit_bytes: int
) -> list[tuple[int, int]] | None:
    """Return the runs of operators to repeat, first and last of each; None where none fits.

    ``time_ns`` are the operators' forwards. ``passes`` microbatches are kept at a time; with what
    one run makes anew, they must fit into ``limit_bytes`` (:func:`memory_of`).
    """
    rows = _rows(len(time_ns), tensors)
    rows.memory(tensors, passes, limit_bytes)
    return rows.solve([sum(time_ns[i : j + 1]) for i, j in rows.runs])


def least_memory(
    time_ns: Sequence[int], tensors: Sequence[Saved], passes: int
) -> list[tuple[int, int]]:
    """Return the runs with which least is held."""
    rows = _rows(len(time_ns), tensors)
    found = rows.solve([0] * len(rows.runs), [passes * tensor.num_bytes for tensor in tensors])
    assert found is not None, "no run at all is a choice"
    return found


def _rows(num_operators: int, tensors: Sequence[Saved]) -> _Rows:
    rows = _Rows(list(combinations_with_replacement(range(num_operators), 2)), len(tensors))
    rows.one_run_an_operator(num_operators)
    rows.kept(tensors)
    rows.rebuilt(tensors)
    return rows


def _is_kept(tensor: Saved, runs: Sequence[tuple[int, int]]) -> bool:
    made = (any(tensor.is_made_by(run, reader) for run in runs) for reader in tensor.backward)
    return not all(made) or any(tensor.is_kept_by(run) for run in runs)


def _made_bytes(run: tuple[int, int], tensors: Sequence[Saved]) -> int:
    made = (t for t in tensors if any(t.is_made_by(run, reader) for reader in t.backward))
    return sum(tensor.num_bytes for tensor in made)


class _Rows:
    """Constraints ``coefficients · variables <= limit``: runs, kept tensors, bytes made anew."""

    def __init__(self, runs: list[tuple[int, int]], num_tensors: int) -> None:
        self.runs = runs
        self.num_tensors = num_tensors
        self.entries: list[tuple[int, int, float]] = []
        self.limits: list[float] = []

    @property
    def made(self) -> int:
        """The last variable: what the largest run makes anew, in MiB."""
        return len(self.runs) + self.num_tensors

    def add(self, terms: Sequence[tuple[int, float]], limit: float) -> None:
        """Add one constraint, as pairs of a variable and its coefficient."""
        row = len(self.limits)
        self.entries += [(row, column, value) for column, value in terms]
        self.limits.append(limit)

    def one_run_an_operator(self, num_operators: int) -> None:
        """Runs do not overlap."""
        for each in range(num_operators):
            self.add([(n, 1.0) for n, (i, j) in enumerate(self.runs) if i <= each <= j], 1.0)

    def kept(self, tensors: Sequence[Saved]) -> None:
        """A tensor is kept unless the run of each of its readers makes it anew."""
        for number, tensor in enumerate(tensors):
            kept = (len(self.runs) + number, -1.0)
            for reader in tensor.backward:
                makers = [n for n, run in enumerate(self.runs) if tensor.is_made_by(run, reader)]
                self.add([kept, *((n, -1.0) for n in makers)], -1.0)
            for n, run in enumerate(self.runs):
                if tensor.is_kept_by(run):
                    self.add([kept, (n, 1.0)], 0.0)

    def rebuilt(self, tensors: Sequence[Saved]) -> None:
        """What is made anew at a time is at least what each run makes."""
        for n, run in enumerate(self.runs):
            total = _made_bytes(run, tensors)
            if total:
                self.add([(n, total / _MIB), (self.made, -1.0)], 0.0)

    def memory(self, tensors: Sequence[Saved], passes: int, limit_bytes: int) -> None:
        """All that is kept, and made anew, fits."""
        sizes = [passes * tensor.num_bytes / _MIB for tensor in tensors]
        kept = [(len(self.runs) + number, size) for number, size in enumerate(sizes)]
        self.add([*kept, (self.made, 1.0)], limit_bytes / _MIB)

    def solve(
        self, run_costs: Sequence[int], kept_bytes: Sequence[int] = ()
    ) -> list[tuple[int, int]] | None:
        """Return the runs that cost least; with ``kept_bytes``, that hold least."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_matrix

        row, column, value = zip(*self.entries, strict=True)
        table = csr_matrix((value, (row, column)), (len(self.limits), self.made + 1))
        kept = [size / _MIB for size in kept_bytes] or [0.0] * self.num_tensors
        found = milp(
            np.array([*run_costs, *kept, float(bool(kept_bytes))]),
            integrality=np.array([1] * len(self.runs) + [0] * (self.num_tensors + 1)),
            bounds=Bounds(0, np.array([1.0] * self.made + [np.inf])),
            constraints=LinearConstraint(table, -np.inf, np.array(self.limits)),
            options={"mip_rel_gap": 0.0},
        )
        if found.x is None:
            return None
        return [run for run, chosen in zip(self.runs, found.x, strict=False) if chosen > 0.5]


_MIB = float(2**20)
