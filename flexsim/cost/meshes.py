"""Hosts whose devices are linked to one another without a switch: how rings go through them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import DeviceGraph

Float = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMALLEST_RING = 3
_LARGEST_SEARCHED = 16
_MOST_RINGS = 500
"""Rings among which disjoint ones are sought."""


@lru_cache(maxsize=16)
def ring_places(graph: DeviceGraph) -> Ints:
    """Return for every device its place in a ring of its host, the places host by host.

    The ring takes direct links only, the fastest there is of these and the first of equals;
    where a host has none, it goes by the numbers of the devices.
    """
    place = np.arange(graph.num_devices, dtype=np.int64)
    if not _direct(graph).any():
        return place
    for host in range(graph.num_hosts):
        devices = np.flatnonzero(graph.host_of_device == host)
        order = _ring(_bandwidth(graph, devices))
        place[devices[order]] = devices
    return place


@lru_cache(maxsize=256)
def disjoint_rings(graph: DeviceGraph, members: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return as many rings over all ``members`` as direct links allow, each with its own share.

    A link n times as fast as the slowest one serves n rings. Empty where there is no ring, or
    where members are on several hosts.
    """
    devices = np.array(members)
    small = _SMALLEST_RING <= len(members) <= _LARGEST_SEARCHED
    if not small or len(set(graph.host_of_device[devices].tolist())) > 1:
        return ()
    bandwidth = _bandwidth(graph, devices)
    if not bandwidth.any():
        return ()
    lanes = (bandwidth / bandwidth[bandwidth > 0].min()).astype(np.int64)
    rings = list(islice(_rings([0], lanes > 0), _MOST_RINGS))
    most = int(lanes.sum(axis=1).min()) // 2
    found = next(filter(None, (_packed(rings, lanes, n) for n in range(most, 0, -1))), [])
    return tuple(tuple(devices[ring].tolist()) for ring in found)


def _direct(graph: DeviceGraph) -> NDArray[np.bool_]:
    """Return which links join two devices."""
    ends = np.maximum(graph.links.source, graph.links.target)
    return np.asarray(ends < graph.num_devices, np.bool_)


def _bandwidth(graph: DeviceGraph, devices: Ints) -> Float:
    """Return the bandwidth of the direct links between some devices; 0 where there is none."""
    place = np.full(graph.num_vertices, -1)
    place[devices] = np.arange(len(devices))
    source, target = place[graph.links.source], place[graph.links.target]
    inside = np.minimum(source, target) >= 0
    bandwidth = np.zeros((len(devices), len(devices)))
    rates = graph.links.bandwidth_bytes_per_s[inside]
    np.maximum.at(bandwidth, (source[inside], target[inside]), rates)
    return bandwidth


def _ring(bandwidth: Float) -> list[int]:
    """Return the devices of a host in ring order."""
    count = len(bandwidth)
    if _SMALLEST_RING <= count <= _LARGEST_SEARCHED:
        for least in np.unique(bandwidth[bandwidth > 0])[::-1]:
            for order in _rings([0], bandwidth >= least):
                return order
    return list(range(count))


def _rings(path: list[int], linked: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Yield the rings over all that begin with ``path``, in lexicographic order."""
    if len(path) == len(linked):
        if linked[path[-1], path[0]]:
            yield path
        return
    for following in np.flatnonzero(linked[path[-1]]).tolist():
        if following not in path:
            yield from _rings([*path, following], linked)


def _packed(rings: list[list[int]], lanes: Ints, count: int) -> list[list[int]]:
    """Return ``count`` of ``rings`` that have a lane each on every link; empty if there are none.

    A ring may be taken several times.
    """
    if count == 0:
        return []
    for first, ring in enumerate(rings):
        left = lanes.copy()
        ends = ring, np.roll(ring, -1)
        left[ends] -= 1
        left[ends[::-1]] -= 1
        if (left < 0).any():
            continue
        rest = _packed(rings[first:], left, count - 1)
        if len(rest) == count - 1:
            return [ring, *rest]
    return []
