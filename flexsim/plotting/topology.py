"""A device graph as a picture: hosts as frames, devices, switches, links coloured by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.device_graph import DeviceGraph
from flexsim.device_graph.cuts import torus_of
from flexsim.device_graph.describe import link_classes
from flexsim.plotting.topology_layout import HostBox, Layout, Place, lay_out
from flexsim.plotting.topology_legend import Bounds, draw_legend, frame, line_width, link_colours
from flexsim.plotting.topology_ring import is_ring, lay_out_ring
from flexsim.plotting.topology_torus import draw_tori
from flexsim.plotting.topology_tree import draw_tree, tree_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONG = ("bar", "trunk")
_INCHES_PER_UNIT = 0.4


def topology_figure(graph: DeviceGraph) -> Figure:
    """Return a figure of the size that the device graph needs, drawn and ready to be saved."""
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    left, right, bottom, top = draw_topology(graph, figure.subplots())
    width = max(8.0, (right - left) * _INCHES_PER_UNIT + 1.0)
    height = (top - bottom) * _INCHES_PER_UNIT + 1.8 + 0.2 * len(link_classes(graph))
    figure.set_size_inches(width, height)
    return figure


def draw_topology(graph: DeviceGraph, ax: Axes) -> Bounds:
    """Draw a torus as a grid, a fat tree by its levels, anything else host by host.

    Return the bounds of the picture. What is left out is said under the title. The legend gives
    every kind of link with its bandwidth per direction and its latency.
    """
    torus, tree = torus_of(graph), tree_of(graph)
    if torus:
        bounds, note = draw_tori(ax, graph, torus)
    elif tree:
        bounds, note = draw_tree(ax, graph, tree)
    else:
        bounds, note = draw_hosts(ax, graph)
    draw_legend(ax, graph)
    frame(ax, graph, bounds, note)
    return bounds


def draw_hosts(ax: Axes, graph: DeviceGraph) -> tuple[Bounds, str]:
    """Draw up to 8 hosts of up to 16 devices, or one host as a ring; return what is left out."""
    layout = layout_of(graph)
    colours = link_colours(graph)
    for box in layout.boxes:
        _draw_box(ax, box)
    for source, target, kind, is_two_way in drawn_links(graph, layout):
        width = line_width(graph, kind, _bandwidth(graph, source, target))
        _draw_link(ax, layout, (source, target), (colours[kind], width, is_two_way))
        _draw_joints(ax, layout, (source, target), colours[kind])
    for place in layout.places.values():
        _draw_vertex(ax, place, layout)
    return layout.bounds, layout.note


def layout_of(graph: DeviceGraph) -> Layout:
    """Return one host as a ring where it is one, anything else host by host."""
    return lay_out_ring(graph) if is_ring(graph) else lay_out(graph)


def drawn_links(graph: DeviceGraph, layout: Layout) -> list[tuple[int, int, str, bool]]:
    """Return each line of the picture once: source, target, kind, and whether it is two-way."""
    links = graph.links
    ends = zip(links.source.tolist(), links.target.tolist(), links.kind.tolist(), strict=True)
    directed = {
        (source, target, kind): None
        for source, target, kind in ends
        if source in layout.places and target in layout.places
    }
    return [
        (source, target, links.link_kinds[kind], (target, source, kind) in directed)
        for source, target, kind in directed
        if source < target or (target, source, kind) not in directed
    ]


def _draw_box(ax: Axes, box: HostBox) -> None:
    from matplotlib.patches import FancyBboxPatch

    width, height = box.right - box.left, box.top - box.bottom
    frame = FancyBboxPatch(
        (box.left, box.bottom),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.25",
        facecolor="#f8f8f6",
        edgecolor="#b5b5b0",
        zorder=0,
    )
    ax.add_patch(frame)
    y, anchor = (box.top + 0.15, "bottom") if box.is_above else (box.bottom - 0.15, "top")
    middle = (box.left + box.right) / 2
    ax.text(middle, y, box.label, ha="center", va=anchor, fontsize=9, color="#444444")


def _bandwidth(graph: DeviceGraph, source: int, target: int) -> float:
    links = graph.links
    found = np.flatnonzero((links.source == source) & (links.target == target))
    return float(links.bandwidth_bytes_per_s[found].max())


def _draw_link(
    ax: Axes, layout: Layout, ends: tuple[int, int], look: tuple[str, float, bool]
) -> None:
    colour, width, is_two_way = look
    (x0, y0), (x1, y1) = layout.ends(*ends)
    style = "-" if is_two_way else "->"
    arrow = {
        "arrowstyle": style,
        "color": colour,
        "linewidth": width,
        "alpha": 0.75,
        "connectionstyle": f"arc3,rad={_bend(x1 - x0) if y0 == y1 else 0}",
        "shrinkA": 0,
        "shrinkB": 0 if is_two_way else 9,
    }
    ax.annotate("", (x1, y1), (x0, y0), arrowprops=arrow, zorder=1)


def _bend(distance: float) -> float:
    """Return how far a link along a row bends around what stands between, within its frame."""
    return -min(0.35, 0.8 / abs(distance)) if abs(distance) > 1.01 else 0.0


def _draw_joints(ax: Axes, layout: Layout, ends: tuple[int, int], colour: str) -> None:
    """Dot the places where a link meets a bar or a trunk, apart from those it only crosses."""
    for vertex, (x, y) in zip(ends, layout.ends(*ends), strict=True):
        if layout.places[vertex].role in _LONG:
            ax.plot([x], [y], marker="o", markersize=4.5, color=colour, zorder=4)


def _draw_vertex(ax: Axes, place: Place, layout: Layout) -> None:
    if place.role in _LONG:
        _draw_long(ax, place, layout)
    style = {
        "boxstyle": "round,pad=0.3" if place.role == "device" else "square,pad=0.3",
        "facecolor": "#fff3c4" if place.role == "device" else "#e3e8ef",
        "edgecolor": "#555555",
        "linewidth": 0.8,
    }
    y = place.y if place.role != "trunk" else max(bar.y for bar in layout.bars) + 0.6
    size = 8 if place.role == "device" else 7
    ax.text(place.x, y, place.label, ha="center", va="center", fontsize=size, bbox=style, zorder=5)


def _draw_long(ax: Axes, place: Place, layout: Layout) -> None:
    """Draw a switch as a line: a bar across all hosts, a trunk across all bars."""
    if place.role == "bar":
        last = max(box.right for box in layout.boxes)
        trunks = [each.x for each in layout.places.values() if each.role == "trunk"]
        xs, ys = [place.x, max([last, *trunks])], [place.y] * 2
    else:
        heights = [bar.y for bar in layout.bars]
        xs, ys = [place.x] * 2, [min(heights) - 0.2, max(heights) + 0.6]
    ax.plot(xs, ys, color="#b3bcc7", linewidth=3, zorder=0.5, solid_capstyle="butt")
