"""Fat trees as pictures: hosts, leaves, spines and cores, a row each; large ones abbreviated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph import SHARED, DeviceGraph
from flexsim.device_graph.blocks import BlockRouter
from flexsim.device_graph.fat_tree import FatTree
from flexsim.plotting.topology_legend import Bounds, line_width, link_colours
from flexsim.units import format_bandwidth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

_HEIGHTS = {"host": 0.0, "leaf": 3.0, "spine": 6.0, "core": 9.0}
_MOST_PODS = 2
_MOST_IN_ONE_POD = 8
_MOST_IN_A_POD = 4
_STEP = 2.2
_POD_GAP = 1.5


@dataclass(frozen=True)
class Item:
    """A host or a switch on the page; ``left_out`` counts what an ellipsis stands for."""

    level: str
    name: str
    x: float
    left_out: int = 0

    @property
    def y(self) -> float:
        """Height of its row."""
        return _HEIGHTS[self.level]


@dataclass(frozen=True)
class Line:
    """Links between two items."""

    low: Item
    high: Item
    kind: str
    bandwidth_bytes_per_s: float
    count: int


@dataclass(frozen=True, eq=False)
class TreeLayout:
    """What of a fat tree is drawn, by the name of the host or the switch."""

    graph: DeviceGraph
    tree: FatTree

    @cached_property
    def items(self) -> dict[str, Item]:
        """Everything that is drawn, ellipses included."""
        found: dict[str, Item] = {}
        left = 0.0
        pods = _shown(self.tree.num_pods, _MOST_PODS)
        for pod in pods:
            if pod is None:
                found["pods"] = Item("leaf", "pods", left, self.tree.num_pods - _MOST_PODS)
                left += _STEP
                continue
            rows = self._rows(pod)
            width = min(self._most + 1, max(len(row) for row in rows.values())) * _STEP
            for level, row in rows.items():
                found |= _spread(level, row, (left, width), self._most)
            left += width + _POD_GAP
        cores = [name for name in self._switch_names if name.startswith("core")]
        if cores:
            found |= _spread("core", cores, (0.0, left - _POD_GAP), _MOST_IN_ONE_POD)
        return found

    def lines(self) -> list[Line]:
        """Return what joins items on the page, links between the same two together."""
        links, names, items = self.graph.links, self._names, self.items
        is_shown = np.array([name in items for name in names])
        found: dict[tuple[str, str], Line] = {}
        for link in np.flatnonzero(is_shown[links.source] & is_shown[links.target]).tolist():
            low, high = items[names[links.source[link]]], items[names[links.target[link]]]
            if low.y < high.y:
                kind = links.link_kinds[links.kind[link]]
                line = Line(low, high, kind, float(links.bandwidth_bytes_per_s[link]), 0)
                before = found.get((low.name, high.name), line)
                found[low.name, high.name] = replace(before, count=before.count + 1)
        return list(found.values())

    @cached_property
    def _names(self) -> list[str]:
        """For every vertex the name of the item that it belongs to: a host, or itself."""
        graph = self.graph
        hosts = graph.host_of_vertex.tolist()
        named = zip(hosts, graph.vertex_names, strict=True)
        return [name if host == SHARED else graph.host_names[host] for host, name in named]

    @property
    def _most(self) -> int:
        return _MOST_IN_ONE_POD if self.tree.num_pods == 1 else _MOST_IN_A_POD

    @property
    def _switch_names(self) -> tuple[str, ...]:
        return self.graph.vertex_names[-self.tree.num_vertices :]

    def _rows(self, pod: int) -> dict[str, list[str]]:
        """Return the names of a pod's hosts, leaves and spines."""
        tree, graph = self.tree, self.graph
        first = pod * tree.leaves_per_pod
        leaves = range(first, min(first + tree.leaves_per_pod, tree.num_leaves))
        is_here = (tree.leaf_of_port >= leaves.start) & (tree.leaf_of_port < leaves.stop)
        router = graph.router
        assert isinstance(router, BlockRouter)
        hosts = np.searchsorted(router.blocks.first_port, np.flatnonzero(is_here), side="right") - 1
        spines = tree.num_leaves + pod * tree.spines
        return {
            "host": [graph.host_names[host] for host in np.unique(hosts).tolist()],
            "leaf": list(self._switch_names[leaves.start : leaves.stop]),
            "spine": list(self._switch_names[spines : spines + tree.spines]),
        }


def tree_of(graph: DeviceGraph) -> FatTree | None:
    """Return the fat tree between the hosts of a graph, None where there is none."""
    fabric = graph.router.fabric if isinstance(graph.router, BlockRouter) else None
    return fabric if isinstance(fabric, FatTree) and graph.torus is None else None


def draw_tree(ax: Axes, graph: DeviceGraph, tree: FatTree) -> tuple[Bounds, str]:
    """Draw hosts and switches level by level; return the bounds and what is left out."""
    layout = TreeLayout(graph, tree)
    items = list(layout.items.values())
    for line in layout.lines():
        _draw_line(ax, graph, line)
    for item in items:
        _draw_item(ax, graph, item)
    xs, ys = [item.x for item in items], [item.y for item in items]
    _draw_counts(ax, graph, tree, max(xs) + 1.5)
    is_cut = any(item.left_out for item in items)
    note = "large levels are abbreviated" if is_cut else ""
    return (min(xs) - 1.2, max(xs) + 6.5, min(ys) - 0.8, max(ys) + 0.4), note


def _shown(size: int, most: int) -> list[int | None]:
    """Return all positions, or the first ones and the last with None for those between."""
    return list(range(size)) if size <= most else [*range(most - 1), None, size - 1]


def _spread(level: str, names: list[str], room: tuple[float, float], most: int) -> dict[str, Item]:
    """Return the items of one row, evenly over the room that there is from left to right."""
    left, width = room
    shown = _shown(len(names), most)
    found = {}
    for position, place in enumerate(shown):
        x = left + (position + 0.5) * width / len(shown)
        if place is None:
            found[f"{names[0]} ..."] = Item(level, "", x, len(names) - most)
        else:
            found[names[place]] = Item(level, names[place], x)
    return found


def _draw_line(ax: Axes, graph: DeviceGraph, line: Line) -> None:
    width = line_width(graph, line.kind, line.bandwidth_bytes_per_s)
    colour = link_colours(graph)[line.kind]
    low, high = line.low, line.high
    ax.plot([low.x, high.x], [low.y, high.y], color=colour, lw=width, alpha=0.6, zorder=0)
    if line.count > 1:
        x, y = low.x + 0.4 * (high.x - low.x), low.y + 0.4 * (high.y - low.y)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        text = f"{line.count} ×"
        ax.text(x, y, text, ha="center", va="center", fontsize=7, color=colour, bbox=box)


def _draw_item(ax: Axes, graph: DeviceGraph, item: Item) -> None:
    if item.left_out:
        text = f"⋯\n{item.left_out:,} more {item.name}"
        ax.text(item.x, item.y, text, ha="center", va="center", fontsize=7, color="#444444")
        return
    is_host = item.level == "host"
    style = {
        "boxstyle": "round,pad=0.4" if is_host else "square,pad=0.4",
        "facecolor": "#fff3c4" if is_host else "#e3e8ef",
        "edgecolor": "#555555",
        "linewidth": 0.8,
    }
    text = f"{item.name}\n{_devices_of(graph, item.name)}" if is_host else _short(item.name)
    ax.text(item.x, item.y, text, ha="center", va="center", fontsize=7, bbox=style, zorder=3)


def _devices_of(graph: DeviceGraph, host_name: str) -> str:
    devices = np.flatnonzero(graph.host_of_device == graph.host_names.index(host_name)).tolist()
    types = dict.fromkeys(graph.device_types[device] for device in devices)
    return f"{len(devices)} × {', '.join(types)}"


def _short(name: str) -> str:
    """Put a switch's pod on a line of its own."""
    return name.replace(".", "\n")


def _draw_counts(ax: Axes, graph: DeviceGraph, tree: FatTree, x: float) -> None:
    """Write beside each row how many there are, and what leads up from them."""
    ports, leaf_links, spine_links = tree.sizes
    up = graph.links.bandwidth_bytes_per_s[-2 * (leaf_links + spine_links) - 2 * ports :]
    pods = f" in {tree.num_pods} pods" if tree.num_pods > 1 else ""
    rows = [
        ("host", f"{graph.num_hosts:,} hosts{pods}", ports, up[:ports]),
        ("leaf", f"{tree.num_leaves:,} leaves", leaf_links, up[2 * ports :][:leaf_links]),
        *_upper_rows(tree, up[2 * (ports + leaf_links) :][:spine_links]),
    ]
    for level, label, count, bandwidth in rows:
        above = f"\n{count:,} links up, {format_bandwidth(float(bandwidth.sum()))}" if count else ""
        ax.text(x, _HEIGHTS[level], label + above, ha="left", va="center", fontsize=8)


def _upper_rows(tree: FatTree, up: Float) -> list[tuple[str, str, int, Float]]:
    rows = []
    if tree.spines:
        rows.append(("spine", f"{tree.num_pods * tree.spines:,} spines", len(up), up))
    if tree.cores:
        rows.append(("core", f"{tree.spines * tree.cores:,} cores", 0, up))
    return rows
