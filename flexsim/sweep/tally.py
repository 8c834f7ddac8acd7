"""What the rows of a sweep come to: counts, reasons, the best, and the Pareto front."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from flexsim.sweep.columns import COST, OK, REASON, STATUS, is_better_larger

NUM_BEST = 10
_NUMBER = re.compile(r"(?<![\w.-])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


class Tally:
    """Takes rows one by one and keeps only what a summary needs.

    ``best`` ranks rows of status ok by a metric. The front has those rows that no other one
    beats in iteration time, peak memory and, where there is one, cost.
    """

    def __init__(self, best: str, has_price: bool) -> None:
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        """Why rows were skipped, numbers left out."""
        self.errors: Counter[str] = Counter()
        self._metric, self._sign = best, 1 if is_better_larger(best) else -1
        self._aims = ("iteration_time_s", "peak_memory_bytes", *((COST,) if has_price else ()))
        self._best: list[tuple[float, int, Mapping[str, Any]]] = []
        self._front: list[tuple[tuple[float, ...], Mapping[str, Any]]] = []
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

    @property
    def best(self) -> list[Mapping[str, Any]]:
        """The best rows, the first one first; among equal ones the first of the file."""
        return [row for *_, row in sorted(self._best, key=lambda each: (-each[0], -each[1]))]

    @property
    def front(self) -> list[Mapping[str, Any]]:
        """The rows of the Pareto front, the quickest first."""
        return [row for _, row in sorted(self._front, key=lambda each: each[0])]

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
        if any(_is_as_good(other, found) for other, _ in self._front):
            return
        self._front = [each for each in self._front if not _is_as_good(found, each[0])]
        self._front.append((found, row))


def pattern(reason: str) -> str:
    """Return a reason without its numbers and choices, so that alike ones count together."""
    return _NUMBER.sub("…", reason.partition(";")[0])


def _is_as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
