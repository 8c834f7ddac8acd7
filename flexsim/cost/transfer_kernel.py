"""The compiled pricing of transfers that run at one time, from a table of all routes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_on_disk

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float = NDArray[np.float64]


class RouteTable(NamedTuple):
    """Routes between all devices, and what their links offer.

    The links from device s to t are ``links[first[k]:first[k + 1]]`` with k = s · devices + t.
    """

    first: Int64
    links: Int32
    num_devices: int
    bandwidth_bytes_per_s: Float
    latency_ns: Float
    """Of all routes, from end to end, with what the software adds."""
    most_bytes_per_s: float
    """The most that one transfer gets."""


@kept_on_disk
def price_transfers(
    table: RouteTable, sources: Int32, targets: Int32, num_bytes: Int64, least_ns: float
) -> Int64:
    """Return the time of every transfer; they share the links that they have in common."""
    users = np.zeros(len(table.bandwidth_bytes_per_s), np.int64)
    for i in range(len(sources)):
        route = np.int64(sources[i]) * table.num_devices + targets[i]
        for at in range(table.first[route], table.first[route + 1]):
            users[table.links[at]] += 1
    found = np.zeros(len(sources), np.int64)
    for i in range(len(sources)):
        route = np.int64(sources[i]) * table.num_devices + targets[i]
        first, last = table.first[route], table.first[route + 1]
        if first == last or num_bytes[i] == 0:
            continue
        bandwidth = table.most_bytes_per_s
        for at in range(first, last):
            link = table.links[at]
            bandwidth = min(bandwidth, table.bandwidth_bytes_per_s[link] / users[link])
        seconds = num_bytes[i] / bandwidth + table.latency_ns[route] / 1e9
        found[i] = np.int64(np.rint(max(seconds * 1e9, least_ns)))
    return found
