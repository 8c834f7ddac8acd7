"""One host: its devices, switches and NICs with their links, and all routes inside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.columns import both_ways, joined_links
from flexsim.device_graph.graph import Links
from flexsim.device_graph.shortest import ShortestRouter
from flexsim.errors import DeviceGraphError
from flexsim.ragged import Csr, offsets_of

if TYPE_CHECKING:
    from flexsim.device_graph.schema_fat_tree import HostType

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Host:
    """The vertices of one host, devices first; a device's port is its NIC, or itself."""

    names: tuple[str, ...]
    num_devices: int
    ports: Int64
    """The vertices by which the host reaches the network."""
    links: Links
    in_network_reduction: bool

    @property
    def device_names(self) -> tuple[str, ...]:
        """The names of devices."""
        return self.names[: self.num_devices]

    @property
    def inner_names(self) -> tuple[str, ...]:
        """The names of switches and NICs."""
        return self.names[self.num_devices :]

    @cached_property
    def router(self) -> ShortestRouter:
        """Shortest routes between all vertices of the host."""
        return ShortestRouter(self.links, len(self.names))

    @cached_property
    def port_of_device(self) -> Int64:
        """The nearest port of every device; devices that are as near to several share them.

        Nearest is by hops, then latency. Of the devices that are equally near to the same n
        ports, the first n-th takes the first port, the next n-th the second, and so on.
        """
        costs = np.stack([self._costs(device) for device in range(self.num_devices)])
        nearest = costs == costs.min(axis=1)[:, None]
        _, alike, sizes = np.unique(nearest, axis=0, return_inverse=True, return_counts=True)
        same = alike[:, None] == alike[None, :]
        rank = np.tril(same, -1).sum(axis=1)
        nth = rank * nearest.sum(axis=1) // sizes[alike]
        taken = np.argmax(np.cumsum(nearest, axis=1) > nth[:, None], axis=1)
        return np.asarray(taken, np.int64)

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the routes between devices."""
        return self._among_devices.of(sources * self.num_devices + targets)

    def outward(self, devices: Int64) -> Csr:
        """Return the routes from devices to their ports."""
        return self._to_ports.of(devices)

    def inward(self, devices: Int64) -> Csr:
        """Return the routes from the devices' ports to them."""
        return self._from_ports.of(devices)

    def _costs(self, device: int) -> Int64:
        routes = self.router.routes(np.full(len(self.ports), device), self.ports)
        cost = self.links.latency_ns[routes.values] + 2**40
        return np.bincount(routes.rows, cost, len(self.ports)).astype(np.int64)

    @cached_property
    def _among_devices(self) -> RouteTable:
        pairs = np.divmod(np.arange(self.num_devices**2), self.num_devices)
        return RouteTable(self.router.routes(*pairs))

    @cached_property
    def _to_ports(self) -> RouteTable:
        devices = np.arange(self.num_devices)
        return RouteTable(self.router.routes(devices, self.ports[self.port_of_device]))

    @cached_property
    def _from_ports(self) -> RouteTable:
        devices = np.arange(self.num_devices)
        return RouteTable(self.router.routes(self.ports[self.port_of_device], devices))


@dataclass(frozen=True, eq=False)
class RouteTable:
    """Some routes, to be looked up by row."""

    routes: Csr

    def of(self, rows: Int64) -> Csr:
        """Return the routes of some rows, one after the other."""
        counts = self.routes.counts[rows]
        offsets = offsets_of(counts)
        shift = np.repeat(self.routes.offsets[rows] - offsets[:-1], counts)
        return Csr(offsets, self.routes.values[np.arange(offsets[-1]) + shift])


def build_host(table: HostType, source: str) -> Host:
    """Return the host that a table describes; raise where its devices are not all connected."""
    host = _drawn_host(table) if table.host else _star_host(table)
    for vertex in (*range(host.num_devices), *host.ports.tolist()):
        reached = host.router.reached(vertex)[: host.num_devices]
        if not reached.all():
            lost = host.names[int(np.argmin(reached))]
            raise DeviceGraphError(
                f"{source}: in a host, {lost!r} cannot be reached from {host.names[vertex]!r}; add"
                " a link between them to host.links"
            )
    return host


def _star_host(table: HostType) -> Host:
    """Return a host whose devices hang on one switch, and by pairs, fours, ... on its NICs."""
    devices = table.num_devices
    names = [f"gpu{device}" for device in range(devices)]
    blocks = []
    if table.intra_host:
        low, high = np.arange(devices), np.full(devices, len(names))
        blocks += both_ways(low, high, table.intra_host)
        names.append(f"{table.intra_host.kind}-switch")
    ports = np.arange(devices)
    if table.nic:
        first, share = len(names), devices // table.num_nics
        blocks += both_ways(np.arange(devices), first + np.arange(devices) // share, table.nic)
        names += [f"nic{nic}" for nic in range(table.num_nics)]
        ports = first + np.arange(table.num_nics)
    reduces = table.intra_host is None or table.intra_host.in_network_reduction
    return Host(tuple(names), devices, ports, joined_links(blocks), reduces)


def _drawn_host(table: HostType) -> Host:
    """Return a host whose links are given one by one."""
    host = table.host
    assert host is not None
    names = host.vertex_names
    ids = {name: position for position, name in enumerate(names)}
    blocks = []
    for group in host.links:
        ends = np.array([[ids[name] for name in pair] for pair in group.between], np.int64)
        blocks += both_ways(ends[:, 0], ends[:, 1], group)
    nics = [ids[name] for name in host.nics]
    ports = np.array(nics or range(len(host.devices)), np.int64)
    return Host(tuple(names), len(host.devices), ports, joined_links(blocks), True)
