"""Clusters whose hosts are alike: what holds for some of them holds for others in their place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import DeviceGraph
from flexsim.ragged import Csr

Int64 = NDArray[np.int64]


def devices_per_host(graph: DeviceGraph) -> int:
    """Return the devices of every host if hosts can change places, as a whole; 0 if not.

    They can if the devices of a host are neighbours in number, all hosts have as many of the
    same types, and any two neighbouring hosts can be exchanged such that every route becomes
    the route of the exchanged devices, over links of the same bandwidth, latency and kind. Any
    order of hosts is reached by such exchanges.
    """
    size = graph.num_devices // max(1, graph.num_hosts)
    blocks = np.repeat(np.arange(graph.num_hosts), size)
    if graph.torus is not None or not np.array_equal(graph.host_of_device, blocks):
        return 0
    types = np.array(graph.device_types).reshape(graph.num_hosts, size)
    if (types != types[0]).any():
        return 0
    routes = _all_routes(graph)
    alike = all(_is_symmetric(graph, routes, order) for order in _exchanges(graph, size))
    return size if alike else 0


def _exchanges(graph: DeviceGraph, size: int) -> Iterator[Int64]:
    """Yield the devices with those of two neighbouring hosts exchanged."""
    for host in range(graph.num_hosts - 1):
        hosts = np.arange(graph.num_hosts)
        hosts[[host, host + 1]] = host + 1, host
        yield (size * hosts[:, None] + np.arange(size)).reshape(-1)


def _all_routes(graph: DeviceGraph) -> Csr:
    devices = np.arange(graph.num_devices)
    return graph.routes(np.repeat(devices, len(devices)), np.tile(devices, len(devices)))


def _is_symmetric(graph: DeviceGraph, routes: Csr, order: Int64) -> bool:
    """Whether all routes stay what they are when device d becomes ``order[d]``."""
    exchanged = (order[:, None] * len(order) + order[None, :]).reshape(-1)
    lengths = np.diff(routes.offsets)
    if not np.array_equal(lengths, lengths[exchanged]):
        return False
    starts = np.repeat(routes.offsets[exchanged] - routes.offsets[:-1], lengths)
    old = routes.values
    new = old[np.arange(len(old)) + starts]
    image = np.full(len(graph.links), -1, np.int64)
    image[old] = new
    used = np.unique(old)
    is_map = np.array_equal(image[old], new) and len(np.unique(image[used])) == len(used)
    return bool(is_map) and _are_equal(graph, used, image[used])


def _are_equal(graph: DeviceGraph, some: NDArray[np.integer], others: NDArray[np.integer]) -> bool:
    """Whether links are equal pair by pair."""
    links = graph.links
    between_devices = np.maximum(links.source, links.target) < graph.num_devices
    columns = (links.bandwidth_bytes_per_s, links.latency_ns, links.kind, between_devices)
    return all(np.array_equal(column[some], column[others]) for column in columns)


def in_first_hosts(groups: NDArray[np.integer], size: int) -> Int64:
    """Return groups of devices on the first hosts instead, the hosts' order kept.

    ``size`` is the number of devices of every host.
    """
    hosts, places = np.divmod(np.asarray(groups, np.int64), size)
    ranks = np.zeros(int(hosts.max(initial=0)) + 1, np.int64)
    ranks[hosts] = 1
    moved: Int64 = (np.cumsum(ranks) - 1)[hosts] * size + places
    return moved
