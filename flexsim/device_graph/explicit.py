"""A cluster given link by link: names become ids, and every device must reach every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.device_graph.graph import SHARED, DeviceGraph, Links
from flexsim.device_graph.schema import DeviceTable, LinkTable, SwitchTable, directions
from flexsim.device_graph.shortest import ShortestRouter
from flexsim.errors import DeviceGraphError

if TYPE_CHECKING:
    from flexsim.device_graph.schema import ExplicitFile


def build_explicit(file: ExplicitFile, name: str, source: str, num_hosts: int) -> DeviceGraph:
    """Return the device graph of the first ``num_hosts`` hosts of an explicit file.

    Raise :class:`DeviceGraphError` where one device cannot reach another.
    """
    hosts = file.hosts[:num_hosts]
    devices = [device for device in file.devices if device.host in hosts]
    switches = [switch for switch in file.switches if switch.host in (None, *hosts)]
    vertices: list[DeviceTable | SwitchTable] = [*devices, *switches]
    links = _links(file.links, {vertex.name: id_ for id_, vertex in enumerate(vertices)})
    graph = DeviceGraph(
        name=name,
        source=source,
        title=file.title,
        device_types=tuple(device.type for device in devices),
        vertex_names=tuple(vertex.name for vertex in vertices),
        host_names=tuple(hosts),
        host_of_vertex=np.array([_host_id(vertex, hosts) for vertex in vertices], np.int32),
        links=links,
        router=ShortestRouter(links, len(vertices), file.spreading == "hash"),
    )
    _check_hosts_have_devices(graph)
    _check_reachable(graph)
    return graph


def _host_id(vertex: DeviceTable | SwitchTable, hosts: list[str]) -> int:
    return SHARED if vertex.host is None else hosts.index(vertex.host)


def _links(tables: list[LinkTable], ids: dict[str, int]) -> Links:
    """Return the links whose two ends are kept."""
    ends = [(ids.get(s, -1), ids.get(t, -1), x) for x in tables for s, t in directions(x)]
    kept = [(source, target, table) for source, target, table in ends if min(source, target) >= 0]
    kinds = tuple(dict.fromkeys(table.kind for _, _, table in kept))
    return Links(
        source=np.array([source for source, _, _ in kept], np.int32),
        target=np.array([target for _, target, _ in kept], np.int32),
        bandwidth_bytes_per_s=np.array([table.bandwidth for *_, table in kept], np.float64),
        latency_ns=np.array([table.latency for *_, table in kept], np.int64),
        kind=np.array([kinds.index(table.kind) for *_, table in kept], np.int32),
        link_kinds=kinds,
    )


def _check_hosts_have_devices(graph: DeviceGraph) -> None:
    populated = np.bincount(graph.host_of_device, minlength=graph.num_hosts) > 0
    if not populated.all():
        empty = graph.host_names[int(np.argmin(populated))]
        raise DeviceGraphError(
            f"{graph.source}: the host {empty!r} has no devices; add one or remove the host"
        )


def _check_reachable(graph: DeviceGraph) -> None:
    """Every device reaches the first and is reached by it, so all reach one another."""
    links = graph.links
    reverse = Links(
        links.target,
        links.source,
        links.bandwidth_bytes_per_s,
        links.latency_ns,
        links.kind,
        links.link_kinds,
    )
    _check_reached(graph, links, "cannot be reached from", "into")
    _check_reached(graph, reverse, "cannot reach", "out of")


def _check_reached(graph: DeviceGraph, links: Links, what: str, way: str) -> None:
    reached = ShortestRouter(links, graph.num_vertices).reached(0)[: graph.num_devices]
    if not reached.all():
        names = graph.vertex_names
        lost = names[int(np.argmin(reached))]
        raise DeviceGraphError(
            f"{graph.source}: the device {lost!r} {what} {names[0]!r}; add a link {way} it"
        )
