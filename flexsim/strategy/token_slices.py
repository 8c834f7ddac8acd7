"""The best slices of a sequence, by the dynamic program of TeraPipe (arXiv 2102.07988, §3.3).

A pipeline of K ranks takes the time of all slices after each other and K - 1 times that of the
slowest (equation 5): for every bound on the slowest the program finds the slices of the least sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
NEVER_NS = 2**60


def best_cuts(slice_ns: Int64, num_ranks: int, num_microbatches: int = 1) -> tuple[int, ...]:
    """Return where to cut a sequence: the ends of its slices, in units, the last one the whole.

    ``slice_ns[a, b]`` is what the slowest rank takes, forward and backward, for the slice from unit
    a to unit b. Of equally fast ones the slices are returned whose slowest is the fastest.
    """
    best: tuple[int, tuple[int, ...]] = NEVER_NS, ()
    for most_ns in np.unique(slice_ns[np.triu_indices(len(slice_ns), 1)]).tolist():
        if best[1] and (num_ranks - 1) * most_ns >= best[0]:
            break
        cuts = _least_sum(np.where(slice_ns <= most_ns, slice_ns, NEVER_NS))
        if cuts and total_ns(slice_ns, cuts, num_ranks, num_microbatches) < best[0]:
            best = total_ns(slice_ns, cuts, num_ranks, num_microbatches), cuts
    return best[1]


def total_ns(
    slice_ns: Int64, cuts: Sequence[int], num_ranks: int, num_microbatches: int = 1
) -> int:
    """Return how long a pipeline takes that passes the slices with these ends."""
    each = [int(slice_ns[begin, end]) for begin, end in pairwise((0, *cuts))]
    return num_microbatches * sum(each) + (num_ranks - 1) * max(each)


def _least_sum(slice_ns: Int64) -> tuple[int, ...]:
    """Return the ends of the slices that take least after each other; none if there are none."""
    size = len(slice_ns)
    least = np.full(size, NEVER_NS)
    least[0] = 0
    before = np.zeros(size, np.int64)
    for end in range(1, size):
        sums = np.minimum(least[:end] + slice_ns[:end, end], NEVER_NS)
        before[end] = sums.argmin()
        least[end] = sums[before[end]]
    if least[-1] == NEVER_NS:
        return ()
    cuts = [size - 1]
    while before[cuts[0]]:
        cuts.insert(0, int(before[cuts[0]]))
    return tuple(cuts)
