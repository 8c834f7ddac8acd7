"""The rings of concurrent groups: which links they use, and what each group gets of them.

A group with ``k`` members on each of ``H`` hosts has a *local* ring inside every host and
``k`` *rails*, rings of the hosts' first members, of their second, and so on. A group with
unequal members a host is one ring of all of them (``k = 1``). A link's bandwidth is divided
by the number of rings that use it; local rings and rails do not run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.link_table import LinkTable
from flexsim.cost.meshes import ring_places
from flexsim.cost.tori import pod_and_place
from flexsim.device_graph.graph import DeviceGraph
from flexsim.ragged import Csr

Float = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rings:
    """One value a group; a bandwidth is infinite and a latency 0 where there is no ring."""

    num_hosts: Ints
    members_per_host: Ints
    local_bandwidth_bytes_per_s: Float
    rail_bandwidth_bytes_per_s: Float
    in_switch_bandwidth_bytes_per_s: Float
    local_latency_ns: Float
    rail_latency_ns: Float
    in_switch_latency_ns: Float
    star_s_per_byte: Float
    star_latency_ns: Float
    """Of an all-reduce on one member; 0 where the software has rings. See :mod:`.stars`."""

    @property
    def num_members(self) -> Ints:
        """Members of each group."""
        return self.num_hosts * self.members_per_host


@dataclass(frozen=True, eq=False)
class Flows:
    """Concurrent streams of bytes between devices, and the group that each belongs to."""

    group: Ints
    source: Ints
    target: Ints


def find_rings(graph: DeviceGraph, table: LinkTable, groups: NDArray[np.integer]) -> Rings:
    """Return the rings of ``groups`` ([K, g] device ids), all of them concurrent."""
    ordered, num_hosts = ordered_by_host(graph, groups)
    per_host = ordered.shape[1] // num_hosts
    local = _flows(ordered, per_host, along_hosts=False)
    rail = _flows(ordered, per_host, along_hosts=True)
    local_routes = graph.routes(local.source, local.target)
    rail_routes = graph.routes(rail.source, rail.target)
    bandwidth = table.collective_bandwidth_bytes_per_s
    in_switch = table.in_switch_bandwidth_bytes_per_s
    in_switch_latency = route_latency(local_routes, table, table.in_switch_latency_ns)
    count = len(ordered)
    return Rings(
        num_hosts,
        per_host,
        _least_by_group(local.group, shared_bandwidth(local_routes, bandwidth), count),
        _least_by_group(rail.group, shared_bandwidth(rail_routes, bandwidth), count),
        _least_by_group(local.group, shared_bandwidth(local_routes, in_switch), count),
        -_least_by_group(local.group, -step_latency(local_routes, table), count, 0.0),
        -_least_by_group(rail.group, -step_latency(rail_routes, table), count, 0.0),
        -_least_by_group(local.group, -in_switch_latency, count, 0.0),
        np.zeros(count),
        np.zeros(count),
    )


def ordered_by_host(graph: DeviceGraph, groups: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Return the members of each group by host, and into how many equal blocks they fall.

    There is a block a host; where hosts hold unequal numbers, one a member. Inside hosts,
    neighbours are next to each other where devices are linked directly. On tori a pod stands
    for a host, and its members are in the order of a path through the torus.
    """
    host: NDArray[np.integer] = graph.host_of_device
    if graph.torus is None:
        place = ring_places(graph)
    else:
        host, place = pod_and_place(graph)
    ordered = _sorted_by_host(host, place, np.asarray(groups, np.int64))
    return ordered, _hosts_of_groups(host, ordered)


def shared_bandwidth(routes: Csr, bandwidth_bytes_per_s: Float, count: Ints | None = None) -> Float:
    """Return what each of the concurrent ``routes`` gets: its least link, over that link's users.

    A route stands for ``count`` flows, one unless given. An empty route has infinite bandwidth.
    """
    weights = None if count is None else count[routes.rows]
    users = np.bincount(routes.values, weights, minlength=len(bandwidth_bytes_per_s))
    share = bandwidth_bytes_per_s[routes.values] / users[routes.values]
    return _by_route(np.minimum, share, routes, np.inf)


def route_latency(routes: Csr, table: LinkTable, extra_ns: Float) -> Float:
    """Return each route's latency: the sum over its links, and the longest ``extra_ns``."""
    total = _by_route(np.add, table.latency_ns[routes.values], routes, 0.0)
    longest = _by_route(np.maximum, extra_ns[routes.values], routes, 0.0)
    return np.asarray(total + longest, np.float64)


def _by_route(combine: np.ufunc, values: Float, routes: Csr, empty: float) -> Float:
    """Return ``combine`` over the values of each route's links; ``empty`` for no links."""
    result = np.full(len(routes.offsets) - 1, empty)
    real = np.flatnonzero(np.diff(routes.offsets))
    if len(real):
        result[real] = combine.reduceat(values, routes.offsets[real])
    return result


def step_latency(routes: Csr, table: LinkTable) -> Float:
    """Return the latency of one step of a collective along each route."""
    return route_latency(routes, table, table.step_latency_ns)


def _sorted_by_host(host: NDArray[np.integer], place: Ints, devices: Ints) -> Ints:
    key = host[devices].astype(np.int64) * len(place) + place[devices]
    order = np.argsort(key, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(devices, order, axis=1), np.int64)


def _hosts_of_groups(host: NDArray[np.integer], ordered: Ints) -> Ints:
    """Return how many equal blocks each row has, one a host; its length where uneven."""
    hosts = host[ordered]
    size = ordered.shape[1]
    num_hosts = 1 + np.asarray(np.count_nonzero(np.diff(hosts, axis=1), axis=1), np.int64)
    for count in np.unique(num_hosts):
        rows = np.flatnonzero(num_hosts == count)
        num_hosts[rows[~_even(hosts[rows], int(count))]] = size
    return num_hosts


def _even(hosts: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    if hosts.shape[1] % count:
        return np.zeros(len(hosts), np.bool_)
    blocks = hosts.reshape(len(hosts), count, -1)
    return np.asarray((blocks == blocks[:, :, :1]).all(axis=(1, 2)), np.bool_)


def _flows(ordered: Ints, per_host: Ints, *, along_hosts: bool) -> Flows:
    groups, sources, targets = [], [], []
    for size in np.unique(per_host):
        rows = np.flatnonzero(per_host == size)
        blocks = ordered[rows].reshape(len(rows), -1, int(size))
        axis = 1 if along_hosts else 2
        if blocks.shape[axis] == 1:
            continue
        groups.append(np.repeat(rows, ordered.shape[1]))
        sources.append(blocks.ravel())
        targets.append(np.roll(blocks, -1, axis=axis).ravel())
    return Flows(_joined(groups), _joined(sources), _joined(targets))


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _least_by_group(group: Ints, values: Float, count: int, empty: float = np.inf) -> Float:
    least = np.full(count, empty)
    np.minimum.at(least, group, values)
    return least
