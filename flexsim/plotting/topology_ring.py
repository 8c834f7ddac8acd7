"""One host as a ring: devices on a circle, what joins many of them inside, the rest outside."""

from __future__ import annotations

import math

from flexsim.device_graph import DeviceGraph
from flexsim.plotting.topology_layout import HostBox, Layout, Place, label_of, neighbours_of

_APART = 1.25
_STEP = 1.3
_INNER_SHARE = 0.5
_WIDTH = 1.5
_ROUNDS = 50
_MOST_DEVICES = 72


def is_ring(graph: DeviceGraph) -> bool:
    """Return whether a graph is one host whose devices meet directly or on one switch."""
    if graph.num_hosts > 1 or not 2 < graph.num_devices <= _MOST_DEVICES:
        return False
    near = neighbours_of(graph, set(range(graph.num_vertices)))
    devices = set(range(graph.num_devices))
    return any(
        len(devices.intersection(others)) > (0 if vertex in devices else len(devices) / 2)
        for vertex, others in near.items()
    )


def lay_out_ring(graph: DeviceGraph) -> Layout:
    """Return the places of all vertices of one host."""
    num_devices = graph.num_devices
    near = neighbours_of(graph, set(range(graph.num_vertices)))
    radius = max(1.6, _APART * num_devices / (2 * math.pi))
    angles = {d: math.pi / 2 - 2 * math.pi * (d + 0.5) / num_devices for d in range(num_devices)}
    places = {device: _at(graph, device, angle, radius) for device, angle in angles.items()}
    outer = []
    for vertex in range(num_devices, graph.num_vertices):
        devices = [other for other in near[vertex] if other < num_devices]
        if len(devices) > _INNER_SHARE * num_devices:
            places[vertex] = _at(graph, vertex, math.pi / 2, len(places) - num_devices)
        else:
            outer.append(vertex)
    for circle, row in enumerate(_circles(outer, set(angles), near), start=1):
        distance = radius + circle * _STEP
        for vertex, angle in _spread(row, angles, near, distance).items():
            angles[vertex] = angle
            places[vertex] = _at(graph, vertex, angle, distance)
    return Layout(places, [_frame(graph, places)], "")


def _circles(vertices: list[int], inner: set[int], near: dict[int, list[int]]) -> list[list[int]]:
    """Return the vertices by how far they are from what is inside, the nearest first."""
    circles, placed, waiting = [], set(inner), list(vertices)
    while waiting:
        row = [vertex for vertex in waiting if placed.intersection(near[vertex])] or waiting
        circles.append(row)
        placed.update(row)
        waiting = [vertex for vertex in waiting if vertex not in placed]
    return circles


def _spread(
    row: list[int], angles: dict[int, float], near: dict[int, list[int]], distance: float
) -> dict[int, float]:
    """Return an angle for each vertex of a circle: beside its neighbours inside, yet apart."""
    wanted = {v: _mean_angle([angles[n] for n in near[v] if n in angles]) for v in row}
    ordered = sorted(row, key=lambda vertex: (-wanted[vertex], vertex))
    least = _WIDTH / distance
    found = [wanted[vertex] for vertex in ordered]
    for _ in range(_ROUNDS):
        for first in range(len(found)):
            second = (first + 1) % len(found)
            gap = (found[first] - found[second]) % (2 * math.pi)
            if len(found) > 1 and gap < least:
                found[first] += (least - gap) / 2
                found[second] -= (least - gap) / 2
    return dict(zip(ordered, found, strict=True))


def _at(graph: DeviceGraph, vertex: int, angle: float, distance: float) -> Place:
    role = "device" if vertex < graph.num_devices else "switch"
    x, y = distance * math.cos(angle), distance * math.sin(angle)
    return Place(vertex, x, y, role, label_of(graph, vertex))


def _mean_angle(angles: list[float]) -> float:
    return math.atan2(sum(map(math.sin, angles)), sum(map(math.cos, angles)))


def _frame(graph: DeviceGraph, places: dict[int, Place]) -> HostBox:
    xs, ys = [place.x for place in places.values()], [place.y for place in places.values()]
    types = ", ".join(dict.fromkeys(graph.device_types))
    label = f"{graph.host_names[0]}: {graph.num_devices} × {types}"
    return HostBox(min(xs) - 0.8, max(xs) + 0.8, min(ys) - 0.7, max(ys) + 0.7, label, True)
