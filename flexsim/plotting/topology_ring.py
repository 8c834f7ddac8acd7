"""One host as a ring: devices on a circle, what joins many of them inside, the rest outside."""

from __future__ import annotations

import math

from flexsim.device_graph import DeviceGraph
from flexsim.plotting.topology_layout import HostBox, Layout, Place, label_of, neighbours_of

_APART = 1.25
_STEP = 1.3
_INNER_SHARE = 0.5
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
    angles = {
        device: math.pi / 2 - 2 * math.pi * (device + 0.5) / num_devices
        for device in range(num_devices)
    }
    places = {device: _at(graph, device, angles[device], radius) for device in angles}
    waiting = list(range(num_devices, graph.num_vertices))
    while waiting:
        rank = [(min((n for n in near[v] if n in angles), default=math.inf), v) for v in waiting]
        vertex = min(rank)[1]
        waiting.remove(vertex)
        inner = [n for n in near[vertex] if n in angles]
        angles[vertex] = _mean_angle([angles[n] for n in inner])
        reach = max((math.hypot(places[n].x, places[n].y) for n in inner), default=radius)
        is_centre = len(inner) > _INNER_SHARE * num_devices
        distance = 0.0 if is_centre else reach + _STEP
        places[vertex] = _at(graph, vertex, angles[vertex], distance)
    return Layout(places, [_frame(graph, places)], "")


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
