"""Clusters whose hosts are alike: what holds for some of them holds for others in their place."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.link_table import LinkTable
from flexsim.device_graph.graph import DeviceGraph
from flexsim.device_graph.levels import LevelsRouter
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
    together = np.asarray(groups, np.int64).reshape(1, -1)
    return each_in_first_hosts(together, size).reshape(groups.shape)


def each_in_first_hosts(rows: NDArray[np.integer], size: int) -> Int64:
    """Return every row of devices on the first hosts instead, the hosts' order kept."""
    hosts, places = np.divmod(np.asarray(rows, np.int64), size)
    row = np.arange(len(rows))[:, None]
    ranks = np.zeros((len(rows), int(hosts.max(initial=0)) + 1), np.int64)
    ranks[row, hosts] = 1
    moved: Int64 = (np.cumsum(ranks, axis=1) - 1)[row, hosts] * size + places
    return moved


def devices_per_equal_host(graph: DeviceGraph) -> int:
    """Return what :func:`devices_per_host` does where the router tells at once; else 0."""
    router, links = graph.router, graph.links
    if not isinstance(router, LevelsRouter) or len(set(graph.device_types)) > 1:
        return 0
    hosts = router.links_of_hosts()
    columns = (links.bandwidth_bytes_per_s, links.latency_ns, links.kind)
    equal = all(bool((column[hosts] == column[hosts[:1]]).all()) for column in columns)
    return router.devices_per_host if equal else 0


def likeness_of_hosts(graph: DeviceGraph, table: LinkTable) -> Hashable | None:
    """Return what is equal for clusters of equal hosts that differ in the number of hosts only.

    None where the router does not tell that hosts are equal. The links' figures count as in
    ``table``; what rings and transfers of the same devices get is then the same.
    """
    router = graph.router
    if not isinstance(router, LevelsRouter) or not devices_per_equal_host(graph):
        return None
    first = router.links_of_hosts()[0]
    figures = tuple(getattr(table, field.name)[first].tobytes() for field in fields(table))
    return router.of_one_host(), figures
