"""Hosts of one or several kinds, joined by a fat tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.blocks import BlockRouter, Blocks
from flexsim.device_graph.columns import concatenated
from flexsim.device_graph.fabric import fabric_links, plan_fat_tree
from flexsim.device_graph.graph import SHARED, DeviceGraph, Links, Router
from flexsim.device_graph.host import Host, build_host
from flexsim.ragged import offsets_of

if TYPE_CHECKING:
    from flexsim.device_graph.fat_tree import FatTree
    from flexsim.device_graph.schema_fat_tree import FatTreeFile, HostType, MixedFile

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fleet:
    """All hosts of a cluster: the kinds there are, and the kind of every host."""

    tables: Sequence[HostType]
    kinds: Sequence[Host]
    kind_of_host: Int64

    def counted(self, counts: Sequence[int]) -> Int64:
        """Return where each host's share begins, of a count a kind; and their total."""
        return offsets_of(np.array(counts, np.int64)[self.kind_of_host])

    @cached_property
    def first_device(self) -> Int64:
        """First device of every host, and the number of devices."""
        return self.counted([kind.num_devices for kind in self.kinds])

    @cached_property
    def first_inner(self) -> Int64:
        """First switch or NIC of every host, counted after the devices."""
        return self.counted([len(kind.inner_names) for kind in self.kinds])

    @cached_property
    def first_port(self) -> Int64:
        """First port of every host, and the number of ports."""
        return self.counted([len(kind.ports) for kind in self.kinds])

    @cached_property
    def first_link(self) -> Int64:
        """First link inside every host, and the number of such links."""
        return self.counted([len(kind.links) for kind in self.kinds])

    @property
    def num_vertices(self) -> int:
        """Devices, switches and NICs of all hosts."""
        return int(self.first_device[-1] + self.first_inner[-1])

    def vertices(self, kind: int, local: Int64) -> Int64:
        """Return vertices of all hosts of one kind, a row a host, from those within a host."""
        hosts = np.flatnonzero(self.kind_of_host == kind)[:, None]
        devices = self.kinds[kind].num_devices
        inner = self.first_device[-1] + self.first_inner[hosts] + local - devices
        return np.where(local < devices, self.first_device[hosts] + local, inner)

    def ports(self) -> Int64:
        """Return the vertices of all ports, host by host."""
        each = [self.vertices(kind, host.ports).ravel() for kind, host in enumerate(self.kinds)]
        return np.concatenate(each)


def build_cluster(
    file: FatTreeFile | MixedFile, counts: Sequence[int], name: str, source: str
) -> DeviceGraph:
    """Return the device graph of so many hosts of each kind of a file, in this order."""
    kinds = [build_host(table, source) for table in file.host_types]
    fleet = Fleet(file.host_types, kinds, np.repeat(np.arange(len(counts)), counts))
    tree = plan_fat_tree(fleet, file.fat_tree, source) if sum(counts) > 1 else None
    links = [_host_links(fleet, kind) for kind in range(len(kinds))]
    router: Router = kinds[0] if tree is None else _router(fleet, tree)
    return DeviceGraph(
        name=name,
        source=source,
        title=file.title,
        device_types=_device_types(fleet),
        vertex_names=(*_names(fleet), *(tree.names() if tree else [])),
        host_names=tuple(f"host{host}" for host in range(sum(counts))),
        host_of_vertex=_hosts(fleet, tree.num_vertices if tree else 0),
        links=concatenated([*links, *([fabric_links(fleet, file.fat_tree, tree)] if tree else [])]),
        router=router,
        in_network_reduction=all(kind.in_network_reduction for kind in kinds),
    )


def _router(fleet: Fleet, tree: FatTree) -> BlockRouter:
    starts = (fleet.first_device[:-1], fleet.first_port[:-1], fleet.first_link[:-1])
    blocks = Blocks(fleet.kind_of_host, *starts)
    return BlockRouter(blocks, fleet.kinds, tree, int(fleet.first_link[-1]))


def _host_links(fleet: Fleet, kind: int) -> Links:
    """Return the links inside all hosts of one kind, host by host."""
    links = fleet.kinds[kind].links
    num_hosts = int((fleet.kind_of_host == kind).sum())
    return Links(
        source=fleet.vertices(kind, links.source.astype(np.int64)).ravel().astype(np.int32),
        target=fleet.vertices(kind, links.target.astype(np.int64)).ravel().astype(np.int32),
        bandwidth_bytes_per_s=np.tile(links.bandwidth_bytes_per_s, num_hosts),
        latency_ns=np.tile(links.latency_ns, num_hosts),
        kind=np.tile(links.kind, num_hosts),
        link_kinds=links.link_kinds,
    )


def _device_types(fleet: Fleet) -> tuple[str, ...]:
    hosts = zip(fleet.kind_of_host.tolist(), np.diff(fleet.first_device).tolist(), strict=True)
    return tuple(name for kind, count in hosts for name in [fleet.tables[kind].device_type] * count)


def _names(fleet: Fleet) -> list[str]:
    """Return the names of all devices, then of all switches and NICs of hosts."""
    kinds = [fleet.kinds[kind] for kind in fleet.kind_of_host]
    devices = [f"host{h}.{n}" for h, kind in enumerate(kinds) for n in kind.device_names]
    return devices + [f"host{h}.{n}" for h, kind in enumerate(kinds) for n in kind.inner_names]


def _hosts(fleet: Fleet, num_shared: int) -> NDArray[np.int32]:
    hosts = np.arange(len(fleet.kind_of_host))
    own = [np.repeat(hosts, np.diff(first)) for first in (fleet.first_device, fleet.first_inner)]
    return np.concatenate([*own, np.full(num_shared, SHARED)]).astype(np.int32)
