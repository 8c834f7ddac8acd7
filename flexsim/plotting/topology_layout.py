"""Where the vertices of a device graph go on a page.

Devices of a host stand in a row. Switches of the host that lead out of it stand between the
devices and the network, the others on the far side. A few hosts stand in one row under the
network; more stand in two rows, above and below it. Where the network has several switches,
those that hosts hang on are bars across the page, and those behind them trunks at its right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.device_graph import SHARED, DeviceGraph

MOST_HOSTS = 8
MOST_DEVICES_PER_HOST = 16
_MOST_IN_A_ROW = 4
_WIDEST_ROW = 40.0
_ROW_STEP = 1.7
_GAP = 2.0
_BAR_STEP = 0.55
_TRUNK_STEP = 0.9


@dataclass(frozen=True)
class Place:
    """A vertex on the page; a bar runs across all hosts, a trunk across all bars."""

    vertex: int
    x: float
    y: float
    role: str
    """"device", "switch", "bar" or "trunk"."""
    label: str


@dataclass(frozen=True)
class HostBox:
    """The frame around the vertices of one host."""

    left: float
    right: float
    bottom: float
    top: float
    label: str
    is_above: bool


def _meeting(place: Place, other: Place) -> tuple[float, float]:
    """Return where a link from ``other`` meets ``place``."""
    if place.role == "bar":
        return other.x, place.y
    if place.role == "trunk":
        return place.x, other.y
    return place.x, place.y


@dataclass(frozen=True)
class Layout:
    """Places of all vertices that are drawn, frames of hosts, and what was left out."""

    places: dict[int, Place]
    boxes: list[HostBox]
    note: str

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of everything."""
        xs = [x for box in self.boxes for x in (box.left, box.right)]
        ys = [y for box in self.boxes for y in (box.bottom, box.top)]
        xs += [place.x + 0.4 for place in self.places.values()]
        xs += [place.x - 0.6 for place in self.places.values()]
        ys += [place.y for place in self.places.values()]
        return min(xs), max(xs), min(ys), max(ys)

    @cached_property
    def bars(self) -> list[Place]:
        """The switches that are drawn across the page, from top to bottom."""
        return [place for place in self.places.values() if place.role == "bar"]

    def ends(self, source: int, target: int) -> list[tuple[float, float]]:
        """Return both ends of a link; bars are met straight up or down, trunks from the side."""
        first, second = self.places[source], self.places[target]
        return [_meeting(first, second), _meeting(second, first)]


def lay_out(graph: DeviceGraph) -> Layout:
    """Return the places of the first hosts and devices, and a note where some are left out."""
    shown = _shown(graph)
    neighbours = neighbours_of(graph, shown)
    hosts = [_members(graph, shown, host) for host in range(min(graph.num_hosts, MOST_HOSTS))]
    heights = [_heights(graph, members, neighbours) for members in hosts]
    width = max(_width(each) for each in heights) + 1.0
    num_columns = _num_columns(len(hosts), width)
    network = _network_rows(_members(graph, shown, SHARED), neighbours)
    gap = _GAP + _half_height(network)
    places: dict[int, Place] = {}
    boxes: list[HostBox] = []
    for host, rows in enumerate(heights):
        is_above = host < num_columns < len(hosts)
        corner = (host % num_columns * width, gap if is_above else -gap)
        found = _place_host(graph, rows, neighbours, corner, is_above)
        places |= found
        boxes.append(_box(graph, host, list(found.values()), width, is_above))
    places |= _place_network(graph, network, num_columns * width - 1.0)
    return Layout(places, boxes, _note(graph))


def _num_columns(num_hosts: int, width: float) -> int:
    in_one_row = num_hosts <= _MOST_IN_A_ROW and num_hosts * width <= _WIDEST_ROW
    return num_hosts if in_one_row else (num_hosts + 1) // 2


def _half_height(network: list[list[int]]) -> float:
    return (len(network[0]) - 1) * _BAR_STEP / 2 if network else 0.0


def _shown(graph: DeviceGraph) -> set[int]:
    local = np.zeros(graph.num_devices, np.int64)
    for host in range(min(graph.num_hosts, MOST_HOSTS)):
        mine = np.flatnonzero(graph.host_of_device == host)
        local[mine] = np.arange(len(mine))
    is_shown = graph.host_of_vertex < MOST_HOSTS
    is_shown[: graph.num_devices] &= local < MOST_DEVICES_PER_HOST
    return set(np.flatnonzero(is_shown).tolist())


def neighbours_of(graph: DeviceGraph, shown: set[int]) -> dict[int, list[int]]:
    """Return for every vertex shown those that it has a link with, of these."""
    near: dict[int, set[int]] = {vertex: set() for vertex in sorted(shown)}
    ends = np.stack([graph.links.source, graph.links.target], axis=1)
    for source, target in np.unique(ends, axis=0).tolist():
        if source in near and target in near:
            near[source].add(target)
            near[target].add(source)
    return {vertex: sorted(others) for vertex, others in near.items()}


def _members(graph: DeviceGraph, shown: set[int], host: int) -> list[int]:
    return [v for v in np.flatnonzero(graph.host_of_vertex == host).tolist() if v in shown]


def _heights(
    graph: DeviceGraph, members: list[int], neighbours: dict[int, list[int]]
) -> dict[int, list[int]]:
    """Return the vertices of a host by row: 0 devices, above towards the network, below away."""
    devices = [vertex for vertex in members if vertex < graph.num_devices]
    switches = [vertex for vertex in members if vertex >= graph.num_devices]
    rows: dict[int, list[int]] = {0: devices}
    distance = _distances(devices, set(members), neighbours)
    outward = _leading_out(set(switches), neighbours, graph.num_devices)
    for switch in switches:
        height = distance.get(switch, 1)
        rows.setdefault(height if switch in outward else -height, []).append(switch)
    return rows


def _distances(
    roots: list[int], within: set[int], neighbours: dict[int, list[int]]
) -> dict[int, int]:
    distance = dict.fromkeys(roots, 0)
    waiting = list(roots)
    for vertex in waiting:
        for other in neighbours[vertex]:
            if other in within and other not in distance:
                distance[other] = distance[vertex] + 1
                waiting.append(other)
    return distance


def _leading_out(
    switches: set[int], neighbours: dict[int, list[int]], num_devices: int
) -> set[int]:
    """Return the switches from which the network is reached by switches alone."""
    doors = [
        switch
        for switch in sorted(switches)
        if any(other >= num_devices and other not in switches for other in neighbours[switch])
    ]
    return set(_distances(doors, switches, neighbours))


def _width(rows: dict[int, list[int]]) -> float:
    return float(max(2, *(len(row) for row in rows.values())))


def _place_host(
    graph: DeviceGraph,
    rows: dict[int, list[int]],
    neighbours: dict[int, list[int]],
    corner: tuple[float, float],
    is_above: bool,
) -> dict[int, Place]:
    """Place one host so that its topmost row towards the network starts at the corner."""
    places: dict[int, Place] = {}
    width, highest = _width(rows), max(rows)
    for height in sorted(rows, key=abs):
        across = _spread(rows[height], neighbours, places, corner[0], width)
        depth = (highest - height) * _ROW_STEP
        y = corner[1] + depth if is_above else corner[1] - depth
        for vertex, x in across.items():
            role = "switch" if height else "device"
            places[vertex] = Place(vertex, x, y, role, label_of(graph, vertex))
    return places


def _spread(
    row: list[int],
    neighbours: dict[int, list[int]],
    placed: dict[int, Place],
    left: float,
    width: float,
) -> dict[int, float]:
    """Return an x for each vertex of a row: above its neighbours, or evenly over the width."""
    wanted = [[placed[n].x for n in neighbours[v] if n in placed] for v in row]
    centres = [sum(xs) / len(xs) for xs in wanted if xs]
    gaps = np.diff(sorted(centres))
    if len(centres) == len(row) and (gaps >= 0.99).all():
        return dict(zip(row, centres, strict=True))
    return {v: left + (i + 0.5) * width / len(row) for i, v in enumerate(row)}


def _box(
    graph: DeviceGraph, host: int, places: list[Place], width: float, is_above: bool
) -> HostBox:
    types = list(
        dict.fromkeys(graph.device_types[d] for d in np.flatnonzero(graph.host_of_device == host))
    )
    num_devices = int((graph.host_of_device == host).sum())
    label = f"{graph.host_names[host]}: {num_devices} × {', '.join(types)}"
    left = min(place.x for place in places if place.role == "device")
    right = max(place.x for place in places)
    middle, half = (left + right) / 2, (width - 0.3) / 2
    lowest, highest = min(p.y for p in places), max(p.y for p in places)
    return HostBox(middle - half, middle + half, lowest - 0.6, highest + 0.6, label, is_above)


def _network_rows(shared: list[int], neighbours: dict[int, list[int]]) -> list[list[int]]:
    """Return the shared switches: those that touch hosts, then those behind them."""
    inside = set(shared)
    touching = [v for v in shared if any(other not in inside for other in neighbours[v])]
    distance = _distances(touching, inside, neighbours)
    furthest = max(distance.values(), default=-1)
    return [[v for v in shared if distance.get(v) == row] for row in range(furthest + 1)]


def _place_network(graph: DeviceGraph, rows: list[list[int]], width: float) -> dict[int, Place]:
    if not rows:
        return {}
    front, behind = rows[0], [vertex for row in rows[1:] for vertex in row]
    if len(front) == 1 and not behind:
        return {front[0]: Place(front[0], width / 2, 0.0, "switch", label_of(graph, front[0]))}
    top = _half_height(rows)
    bars = [
        Place(vertex, -0.6, top - position * _BAR_STEP, "bar", label_of(graph, vertex))
        for position, vertex in enumerate(front)
    ]
    trunks = [
        Place(vertex, width + (position + 1) * _TRUNK_STEP, 0.0, "trunk", label_of(graph, vertex))
        for position, vertex in enumerate(behind)
    ]
    return {place.vertex: place for place in (*bars, *trunks)}


def label_of(graph: DeviceGraph, vertex: int) -> str:
    """Return a device's id, or a switch's name without that of its host."""
    if vertex < graph.num_devices:
        return str(vertex)
    host, name = int(graph.host_of_vertex[vertex]), graph.vertex_names[vertex]
    return name if host == SHARED else name.removeprefix(graph.host_names[host]).lstrip(".-_")


def _note(graph: DeviceGraph) -> str:
    most = int(np.bincount(graph.host_of_device).max())
    parts = []
    if graph.num_hosts > MOST_HOSTS:
        parts.append(f"the first {MOST_HOSTS} of {graph.num_hosts:,} hosts are drawn")
    if most > MOST_DEVICES_PER_HOST:
        parts.append(f"the first {MOST_DEVICES_PER_HOST} of {most:,} devices a host are drawn")
    return "; ".join(parts)
