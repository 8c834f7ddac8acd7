"""What the rows of a sweep come to: counts, reasons, the best, and the Pareto fronts."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from flexsim.sweep.columns import COST, OK, OUT_OF_MEMORY, REASON, STATUS, is_better_larger

NUM_BEST = 10
MEMORY = "peak_memory_bytes"
_Point = tuple[tuple[float, ...], Mapping[str, Any]]
"""What a row comes to in every aim, and the row."""
_NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


class Tally:
    """Takes rows one by one and keeps only what a summary needs.

    ``best`` ranks rows of status ok by a metric. A Pareto front has those rows that no other one
    of the same work beats in iteration time, peak memory and, where there is one, cost; rows do
    the same work where they agree in the keys ``work``.
    """

    def __init__(self, best: str, has_price: bool, work: Sequence[str] = ()) -> None:
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        """Why rows were skipped, numbers left out."""
        self.errors: Counter[str] = Counter()
        self._metric, self._sign = best, 1 if is_better_larger(best) else -1
        self._aims = ("iteration_time_s", MEMORY, *((COST,) if has_price else ()))
        self._best: list[tuple[float, int, Mapping[str, Any]]] = []
        self._work = tuple(work)
        self._fronts: dict[tuple[str, ...], list[_Point]] = {}
        self._num_compared = 0
        self._nearest: Mapping[str, Any] | None = None
        self._ties = count()

    def add(self, row: Mapping[str, str]) -> None:
        """Count one row of a results file."""
        status = row[STATUS]
        self.statuses[status.partition(":")[0]] += 1
        if row[REASON]:
            self.reasons[pattern(row[REASON])] += 1
        if status.startswith("error"):
            self.errors[status.partition(": ")[2]] += 1
        if status == OK:
            self._rank(row)
            self._compare(row)
        elif status == OUT_OF_MEMORY and row.get(MEMORY):
            self._nearest = min(self._nearest or row, row, key=lambda each: float(each[MEMORY]))

    @property
    def best(self) -> list[Mapping[str, Any]]:
        """The best rows, the first one first; among equal ones the first of the file."""
        return [row for *_, row in sorted(self._best, key=lambda each: (-each[0], -each[1]))]

    @property
    def front(self) -> list[Mapping[str, Any]]:
        """The rows of the Pareto fronts, front by front, the quickest of each first.

        None where there are several and no two rows of the same work were compared.
        """
        if self._num_compared == len(self._fronts) > 1:
            return []
        fronts = [sorted(each, key=lambda point: point[0]) for each in self._fronts.values()]
        return [row for front in fronts for _, row in front]

    @property
    def nearest(self) -> Mapping[str, Any] | None:
        """Where nothing fits in memory, the row that needs least; else none."""
        return None if self.statuses[OK] else self._nearest

    def _rank(self, row: Mapping[str, str]) -> None:
        text = row.get(self._metric, "")
        if not text:
            return
        entry = (self._sign * float(text), -next(self._ties), row)
        if len(self._best) < NUM_BEST:
            heapq.heappush(self._best, entry)
        else:
            heapq.heappushpop(self._best, entry)

    def _compare(self, row: Mapping[str, str]) -> None:
        if not all(row.get(aim) for aim in self._aims):
            return
        found = tuple(float(row[aim]) for aim in self._aims)
        self._num_compared += 1
        front = self._fronts.setdefault(tuple(row[key] for key in self._work), [])
        if any(_is_as_good(other, found) for other, _ in front):
            return
        front[:] = [each for each in front if not _is_as_good(found, each[0])]
        front.append((found, row))


def pattern(reason: str) -> str:
    """Return a reason without its numbers and choices, so that alike ones count together."""
    return _NUMBER.sub("…", reason.partition(";")[0])


def _is_as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
