"""Compiled loops over what crosses links: bytes, busy time, and bytes by stretch of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64
from flexsim.timeline.crossings import Traffic

Float64 = NDArray[np.float64]


@kept_on_disk
def add_up(traffic: Traffic, order: Int64, num_bytes: Int64, busy_ns: Int64) -> None:
    """Add what every link carries and how long something crosses it.

    ``order`` has the crossings by their start; bytes are rounded crossing by crossing.
    """
    until_ns = np.zeros(len(busy_ns), np.int64)
    for crossing in order:
        start_ns, end_ns = traffic.start_ns[crossing], traffic.end_ns[crossing]
        way = traffic.way[crossing]
        for place in range(traffic.first[way], traffic.first[way + 1]):
            link = traffic.link[place]
            num_bytes[link] += np.int64(np.rint(traffic.amount[crossing] * traffic.load[place]))
            if end_ns > until_ns[link]:
                busy_ns[link] += end_ns - max(start_ns, until_ns[link])
                until_ns[link] = end_ns


@inlined
def _spread(amount: float, start: float, end: float, bins: Float64) -> None:
    """Add an amount to the bins that it falls into; times are counted in bins."""
    pace, first = amount / (end - start), int(start)
    for at in range(first, min(int(np.ceil(end)), len(bins))):
        bins[at] += pace * (min(end, at + 1.0) - max(start, float(at)))


@kept_on_disk
def spread(traffic: Traffic, row: Int32, bin_ns: float, bins: Float64) -> None:
    """Add the bytes of every link to ``bins[row[link]]``, each ``bin_ns`` long; row -1 is none."""
    for crossing in range(len(traffic.way)):
        start, end = traffic.start_ns[crossing] / bin_ns, traffic.end_ns[crossing] / bin_ns
        way = traffic.way[crossing]
        for place in range(traffic.first[way], traffic.first[way + 1]):
            into = row[traffic.link[place]]
            if into >= 0:
                amount = traffic.amount[crossing] * traffic.load[place]
                _spread(amount, start, end, bins[into])
