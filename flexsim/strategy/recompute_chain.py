"""The cheapest recomputation of a chain of blocks under a memory limit, by dynamic programming.

Each block is kept as it is, or repeats some of its operators, or all of them. The blocks are taken
one after the other, and of all choices so far only those that no other beats in both memory and
time are kept (a Pareto front), so that the result is the best one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

MOST_ON_FRONT = 20_000
"""Beyond so many, memory is rounded up in steps, which may miss the optimum by these steps."""


def cheapest_choices(num_bytes: Int64, time_ns: Int64, limit_bytes: int) -> list[int] | None:
    """Return for every block the number of the option to take, or None where none fits.

    ``num_bytes`` and ``time_ns`` are ``[blocks, options]``; the sum of the chosen bytes is at
    most ``limit_bytes``, and the sum of times the least there is. Of equal choices the one
    that keeps most in the last blocks is taken.
    """
    fronts = [(np.zeros(1, np.int64), np.zeros(1, np.int64))]
    steps: list[tuple[Int64, Int64]] = []
    for sizes, times in zip(num_bytes, time_ns, strict=True):
        front, step = _extended(fronts[-1], sizes, times, limit_bytes)
        fronts.append(front)
        steps.append(step)
        if not len(front[0]):
            return None
    return _traced(steps, int(fronts[-1][1].argmin()))


def _extended(
    front: tuple[Int64, Int64], sizes: Int64, times: Int64, limit_bytes: int
) -> tuple[tuple[Int64, Int64], tuple[Int64, Int64]]:
    """Return the front with one block more, and of each point its origin and its option."""
    total_bytes = (front[0][:, None] + sizes).reshape(-1)
    total_ns = (front[1][:, None] + times).reshape(-1)
    number = np.arange(len(total_bytes))
    fits = total_bytes <= limit_bytes
    order = number[fits][np.lexsort((number[fits], total_ns[fits], total_bytes[fits]))]
    least_before = np.minimum.accumulate(total_ns[order])
    is_better = np.ones(len(order), bool)
    is_better[1:] = total_ns[order][1:] < least_before[:-1]
    kept = _thinned(order[is_better], total_bytes, limit_bytes)
    origin, option = np.divmod(kept, len(sizes))
    return (total_bytes[kept], total_ns[kept]), (origin, option)


def _thinned(kept: Int64, total_bytes: Int64, limit_bytes: int) -> Int64:
    """Keep the fastest point of every step of memory where there are very many."""
    if len(kept) <= MOST_ON_FRONT:
        return kept
    step = -(-max(limit_bytes, 1) // MOST_ON_FRONT)
    bucket = total_bytes[kept] // step
    is_last = np.append(bucket[1:] != bucket[:-1], True)
    thinned: Int64 = kept[is_last]
    return thinned


def _traced(steps: Sequence[tuple[Int64, Int64]], point: int) -> list[int]:
    options = []
    for origin, option in reversed(steps):
        options.append(int(option[point]))
        point = int(origin[point])
    return options[::-1]
