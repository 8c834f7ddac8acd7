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


def cheapest_runs(
    time_ns: Sequence[int], tensors: Sequence[Saved], passes: int, limit_bytes: int
) -> list[tuple[int, int]] | None:
    """Return the runs of operators to repeat, first and last of each; None where none fits.

    ``time_ns`` are the operators' forwards. ``passes`` microbatches are kept at a time; with what
    one run makes anew, they must fit into ``limit_bytes``.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    runs = list(combinations_with_replacement(range(len(time_ns)), 2))
    rows = _Rows(len(runs), len(tensors))
    rows.one_run_an_operator(runs, len(time_ns))
    rows.kept(runs, tensors)
    rows.rebuilt(runs, tensors)
    rows.memory(tensors, passes, limit_bytes)
    found = milp(
        np.concatenate([[sum(time_ns[i : j + 1]) for i, j in runs], np.zeros(len(tensors) + 1)]),
        integrality=np.concatenate([np.ones(len(runs)), np.zeros(len(tensors) + 1)]),
        bounds=Bounds(0, np.concatenate([np.ones(len(runs) + len(tensors)), [np.inf]])),
        constraints=LinearConstraint(*rows.matrix()),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return [run for run, value in zip(runs, found.x, strict=False) if value > 0.5]


class _Rows:
    """Constraints ``coefficients · variables <= limit``: runs, kept tensors, bytes made anew."""

    def __init__(self, num_runs: int, num_tensors: int) -> None:
        self.first_tensor = num_runs
        self.num_variables = num_runs + num_tensors + 1
        self.entries: list[tuple[int, int, float]] = []
        self.limits: list[float] = []

    def add(self, terms: Sequence[tuple[int, float]], limit: float) -> None:
        row = len(self.limits)
        self.entries += [(row, column, value) for column, value in terms]
        self.limits.append(limit)

    def one_run_an_operator(self, runs: Sequence[tuple[int, int]], num_operators: int) -> None:
        for each in range(num_operators):
            self.add([(n, 1.0) for n, (i, j) in enumerate(runs) if i <= each <= j], 1.0)

    def kept(self, runs: Sequence[tuple[int, int]], tensors: Sequence[Saved]) -> None:
        """A tensor is kept unless the run of each of its readers makes it anew."""
        for number, tensor in enumerate(tensors):
            kept = (self.first_tensor + number, -1.0)
            for reader in tensor.backward:
                makers = [n for n, run in enumerate(runs) if tensor.is_made_by(run, reader)]
                self.add([kept, *((n, -1.0) for n in makers)], -1.0)
            for n, run in enumerate(runs):
                if tensor.is_kept_by(run):
                    self.add([kept, (n, 1.0)], 0.0)

    def rebuilt(self, runs: Sequence[tuple[int, int]], tensors: Sequence[Saved]) -> None:
        """The last variable is at least what each run makes anew, in units of 1 MiB."""
        for n, run in enumerate(runs):
            made = [t for t in tensors if any(t.is_made_by(run, r) for r in t.backward)]
            total = sum(tensor.num_bytes for tensor in made)
            if total:
                self.add([(n, total / _MIB), (self.num_variables - 1, -1.0)], 0.0)

    def memory(self, tensors: Sequence[Saved], passes: int, limit_bytes: int) -> None:
        sizes = [passes * tensor.num_bytes / _MIB for tensor in tensors]
        kept = [(self.first_tensor + number, size) for number, size in enumerate(sizes)]
        self.add([*kept, (self.num_variables - 1, 1.0)], limit_bytes / _MIB)

    def matrix(self) -> tuple[object, object, object]:
        from scipy.sparse import csr_matrix

        row, column, value = zip(*self.entries, strict=True)
        shape = len(self.limits), self.num_variables
        return csr_matrix((value, (row, column)), shape), -np.inf, np.array(self.limits)


_MIB = float(2**20)
