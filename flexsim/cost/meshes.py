"""Hosts whose devices are linked to one another without a switch: in which order a ring goes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import DeviceGraph

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMALLEST_RING = 3
_LARGEST_SEARCHED = 16


@lru_cache(maxsize=16)
def ring_places(graph: DeviceGraph) -> Ints:
    """Return for every device its place in a ring of its host, the places host by host.

    The ring takes direct links only, the fastest there is of these and the first of equals;
    where a host has none, it goes by the numbers of the devices.
    """
    place = np.arange(graph.num_devices, dtype=np.int64)
    direct = np.maximum(graph.links.source, graph.links.target) < graph.num_devices
    if not direct.any():
        return place
    bandwidth = np.zeros((graph.num_devices, graph.num_devices))
    ends = graph.links.source[direct], graph.links.target[direct]
    np.maximum.at(bandwidth, ends, graph.links.bandwidth_bytes_per_s[direct])
    for host in range(graph.num_hosts):
        devices = np.flatnonzero(graph.host_of_device == host)
        order = _ring(bandwidth[np.ix_(devices, devices)])
        place[devices[order]] = devices
    return place


def _ring(bandwidth: Float) -> list[int]:
    """Return the devices of a host in ring order."""
    count = len(bandwidth)
    if _SMALLEST_RING <= count <= _LARGEST_SEARCHED:
        for least in np.unique(bandwidth[bandwidth > 0])[::-1]:
            order = _extended([0], bandwidth >= least)
            if order:
                return order
    return list(range(count))


def _extended(path: list[int], linked: NDArray[np.bool_]) -> list[int]:
    """Return the first ring over all that begins with ``path``; empty if there is none."""
    if len(path) == len(linked):
        return path if linked[path[-1], path[0]] else []
    for following in np.flatnonzero(linked[path[-1]]).tolist():
        if following not in path:
            whole = _extended([*path, following], linked)
            if whole:
                return whole
    return []
