"""The device graph: devices, switches and directed links as columns, and a router over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexsim.errors import DeviceGraphError
from flexsim.ragged import Csr

if TYPE_CHECKING:
    import networkx as nx

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

SHARED = -1
"""Host of a vertex that belongs to no host: a switch between hosts."""


@dataclass(frozen=True, eq=False)
class Links:
    """Directed links, a row a link; a duplex link is two rows.

    ``source`` and ``target`` are vertex ids, ``kind`` is an index into ``link_kinds``.
    """

    source: Int32
    target: Int32
    bandwidth_bytes_per_s: NDArray[np.float64]
    latency_ns: Int64
    kind: Int32
    link_kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


class Router(Protocol):
    """Finds the route between devices: deterministic, and empty from a device to itself."""

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the link ids of every pair's route, in the order of travel."""


@dataclass(frozen=True, eq=False)
class DeviceGraph:
    """Devices are the vertices ``0 .. num_devices - 1``, switches and NICs follow them."""

    name: str
    source: str
    """The file that it was read from, for error messages."""
    title: str
    """One line about the cluster, empty where the file gives none."""
    device_types: tuple[str, ...]
    """A device profile's name for each device."""
    vertex_names: tuple[str, ...]
    host_names: tuple[str, ...]
    host_of_vertex: Int32
    """Host of every vertex; :data:`SHARED` for a switch between hosts."""
    links: Links
    router: Router
    torus: tuple[int, ...] | None = None
    """Sizes of the torus or mesh of a pod, whose devices are numbered row-major (the last size
    fastest); several pods follow one another. None where the devices form none."""
    in_network_reduction: bool = True
    """Whether switches sum what passes them where the device profile gives a rate for it."""

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return len(self.device_types)

    @property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return len(self.host_names)

    @property
    def num_vertices(self) -> int:
        """Number of devices, switches and NICs."""
        return len(self.vertex_names)

    @property
    def link_kinds(self) -> tuple[str, ...]:
        """Names of the kinds of links, in the order of their codes."""
        return self.links.link_kinds

    @cached_property
    def host_of_device(self) -> Int32:
        """Host of every device."""
        return self.host_of_vertex[: self.num_devices]

    def routes(self, sources: ArrayLike, targets: ArrayLike) -> Csr:
        """Return the route of every pair of devices: row ``i`` holds link ids in travel order.

        ``sources`` and ``targets`` are device ids of one shape (or broadcast to one); rows
        follow the flattened order. The route from a device to itself is empty.
        """
        pairs = np.broadcast_arrays(np.asarray(sources, np.int64), np.asarray(targets, np.int64))
        source, target = pairs[0].ravel(), pairs[1].ravel()
        self._check_devices(source)
        self._check_devices(target)
        return self.router.routes(source, target)

    def route(self, source: int, target: int) -> tuple[int, ...]:
        """Return the link ids on the way from one device to another."""
        return tuple(self.routes([source], [target]).values.tolist())

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """Return a view for drawing, teaching and tests; an edge's key is its link id."""
        import networkx as nx

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        for vertex, name in enumerate(self.vertex_names):
            is_device = vertex < self.num_devices
            graph.add_node(vertex, name=name, is_device=is_device, host=self._host_name(vertex))
        for link in range(len(self.links)):
            self._add_edge(graph, link)
        return graph

    def _check_devices(self, devices: Int64) -> None:
        if devices.size and (devices.min() < 0 or devices.max() >= self.num_devices):
            wrong = devices.min() if devices.min() < 0 else devices.max()
            last = self.num_devices - 1
            raise DeviceGraphError(
                f"{self.source}: there is no device {wrong}; choose from 0 to {last}"
            )

    def _host_name(self, vertex: int) -> str:
        host = int(self.host_of_vertex[vertex])
        return "" if host == SHARED else self.host_names[host]

    def _add_edge(self, graph: nx.MultiDiGraph[int], link: int) -> None:
        links = self.links
        graph.add_edge(
            int(links.source[link]),
            int(links.target[link]),
            key=link,
            kind=links.link_kinds[links.kind[link]],
            bandwidth_bytes_per_s=float(links.bandwidth_bytes_per_s[link]),
            latency_ns=int(links.latency_ns[link]),
        )
