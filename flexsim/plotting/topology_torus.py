"""Tori as pictures: a grid with wrap-around arcs; three dimensions as layers in oblique view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.device_graph import DeviceGraph
from flexsim.device_graph.torus import Torus
from flexsim.plotting.topology_legend import Bounds, link_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[int, ...]
Spot = tuple[float, float]

_MOST = {1: 16, 2: 8, 3: 4}
_MOST_PODS = 2
_GAP = 0.6
_STEPS: dict[int, tuple[Spot, ...]] = {
    1: ((1.5, 0.0),),
    2: ((0.0, -1.5), (1.5, 0.0)),
    3: ((0.0, -1.0), (0.85, 0.8), (1.7, 0.0)),
}
"""Where the next device of each dimension stands; layers are moved apart as they need."""
_ARCS: dict[int, tuple[Spot, ...]] = {
    1: ((0.0, 0.75),),
    2: ((0.45, 0.0), (0.0, 0.45)),
    3: ((0.5, 0.0), (0.42, 0.0), (0.0, 0.3)),
}
"""How far beside its row the way back around each dimension is drawn."""
_TINTS = ("#fff3c4", "#dcebd3", "#d6e4f5", "#f6dcd6", "#e7ddf1", "#d8efee", "#f3e3cb", "#e4e4e4")


@dataclass(frozen=True)
class TorusLayout:
    """Which devices of a pod are drawn and where; a long dimension is cut in its middle."""

    torus: Torus

    @property
    def num_dimensions(self) -> int:
        """Dimensions that are drawn: at most three."""
        return min(3, len(self.torus.shape))

    @cached_property
    def shown(self) -> tuple[tuple[int, ...], ...]:
        """The coordinates that are drawn, a row a dimension; further dimensions at 0."""
        most = _MOST[self.num_dimensions]
        shape = self.torus.shape
        return tuple(
            shown_of(size, most if d < self.num_dimensions else 1) for d, size in enumerate(shape)
        )

    @cached_property
    def spots(self) -> dict[Point, Spot]:
        """The place of every device that is drawn."""
        return {point: self._spot(point) for point in product(*self.shown)}

    @property
    def bounds(self) -> Bounds:
        """Left, right, bottom and top of one pod with the ways around."""
        xs, ys = zip(*self.spots.values(), strict=True)
        return min(xs) - 1.0, max(xs) + 1.3, min(ys) - 0.8, max(ys) + 0.9

    @property
    def is_cut(self) -> bool:
        """Whether some devices are left out."""
        return len(self.spots) < self.torus.size

    def lines(self) -> list[tuple[Point, Point, bool]]:
        """Return neighbours on the page, and whether devices between them are left out."""
        found = []
        for point in self.spots:
            for dimension, row in enumerate(self.shown[: self.num_dimensions]):
                after = row.index(point[dimension]) + 1
                if after < len(row):
                    other = _moved(point, dimension, row[after])
                    found.append((point, other, row[after] != point[dimension] + 1))
        return found

    def rings(self) -> list[tuple[Point, Point, int]]:
        """Return first and last device of every ring that is drawn, and its dimension.

        Of the rings through the layers of three dimensions only those at the right edge are.
        """
        found = []
        for dimension, row in enumerate(self.shown[: self.num_dimensions]):
            starts = (
                [p for p in self.spots if p[dimension] == 0] if self._is_ring(dimension) else []
            )
            for point in starts:
                is_edge = point[-1] == self.shown[-1][-1]
                if self.num_dimensions < 3 or dimension > 0 or is_edge:
                    found.append((point, _moved(point, dimension, row[-1]), dimension))
        return found

    def _is_ring(self, dimension: int) -> bool:
        return self.torus.rings[dimension] and self.torus.shape[dimension] > 1

    def _spot(self, point: Point) -> Spot:
        x = y = 0.0
        for dimension, (right, up) in enumerate(self._steps):
            along = _along(self.shown[dimension], point[dimension])
            x, y = x + along * right, y + along * up
        return x, y

    @cached_property
    def _steps(self) -> tuple[Spot, ...]:
        steps = _STEPS[self.num_dimensions]
        if self.num_dimensions < 3:
            return steps
        depth = _along(self.shown[1], self.shown[1][-1]) * steps[1][1]
        return ((0.0, -(depth + 1.1)), *steps[1:])


def shown_of(size: int, most: int) -> tuple[int, ...]:
    """Return the coordinates of a dimension that are drawn: all, or the first ones and the last."""
    return tuple(range(size)) if size <= most else (*range(most - 1), size - 1)


def draw_tori(ax: Axes, graph: DeviceGraph, torus: Torus) -> tuple[Bounds, str]:
    """Draw up to two pods and what joins them; return the bounds and what is left out."""
    layout = TorusLayout(torus)
    colours = link_colours(graph)
    num_pods = graph.num_devices // torus.size
    num_drawn = min(num_pods, _MOST_PODS)
    left, right, bottom, top = layout.bounds
    step = right - left + 1.0
    for pod in range(num_drawn):
        _draw_pod(ax, graph, layout, pod, (pod * step, colours[graph.link_kinds[0]]))
    if num_pods > 1:
        middles = [pod * step + (left + right) / 2 for pod in range(num_drawn)]
        _draw_network(ax, graph, middles, bottom - 0.4)
        bottom -= 1.9
    return (left, right + (num_drawn - 1) * step, bottom, top), _note(layout, num_pods)


def _draw_pod(
    ax: Axes, graph: DeviceGraph, layout: TorusLayout, pod: int, place: tuple[float, str]
) -> None:
    left, colour = place
    first = pod * layout.torus.size
    for point, other, is_cut in layout.lines():
        (x0, y0), (x1, y1) = layout.spots[point], layout.spots[other]
        is_between_layers = layout.num_dimensions == 3 and point[0] != other[0]
        look: dict[str, Any] = {"linestyle": (0, (1, 2.5)) if is_cut else "-", "color": colour}
        look |= {"linewidth": 0.8, "alpha": 0.5} if is_between_layers else {"linewidth": 1.3}
        ax.plot([left + x0, left + x1], [y0, y1], zorder=1, **look)
    for point, last, dimension in layout.rings():
        offset = _ARCS[layout.num_dimensions][dimension]
        dashed = dimension in layout.torus.seams
        _draw_way_back(
            ax, (layout.spots[point], layout.spots[last]), offset, (left, colour, dashed)
        )
    for point, (x, y) in layout.spots.items():
        device = first + int(np.ravel_multi_index(point, layout.torus.shape))
        host = int(graph.host_of_device[device])
        box = {"boxstyle": "round,pad=0.25", "facecolor": _TINTS[host % len(_TINTS)]}
        box |= {"edgecolor": "#555555"}
        ax.text(left + x, y, str(device), ha="center", va="center", fontsize=7, bbox=box, zorder=3)


def _draw_way_back(
    ax: Axes, ends: tuple[Spot, Spot], offset: Spot, look: tuple[float, str, bool]
) -> None:
    """Draw the link from the last device of a row back to its first, beside the row."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    left, colour, dashed = look
    first, last = np.array(ends[0]), np.array(ends[1])
    along = (last - first) / max(1e-9, float(np.hypot(*(last - first)))) * 0.55
    side = np.array(offset)
    corners = [last, last + along, last + along + side, last + side]
    corners += [first + side, first - along + side, first - along, first]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    path = Path([(x + left, y) for x, y in corners], codes)
    style = (0, (4, 2)) if dashed else "-"
    ax.add_patch(
        PathPatch(path, fill=False, edgecolor=colour, lw=0.9, ls=style, alpha=0.6, zorder=0)
    )


def _draw_network(ax: Axes, graph: DeviceGraph, middles: list[float], y: float) -> None:
    colour = link_colours(graph)[graph.link_kinds[-1]]
    centre = sum(middles) / len(middles)
    style = {"boxstyle": "square,pad=0.4", "facecolor": "#e3e8ef", "edgecolor": "#555555"}
    for x in middles:
        ax.plot([x, x, centre], [y, y - 0.9, y - 0.9], color=colour, lw=3, zorder=0)
    label = f"{graph.vertex_names[-1]}: {graph.num_hosts:,} hosts"
    ax.text(centre, y - 0.9, label, ha="center", va="center", fontsize=8, bbox=style, zorder=3)


def _note(layout: TorusLayout, num_pods: int) -> str:
    torus = layout.torus
    parts = [_shape_text(torus)]
    if torus.twisted:
        shift = min(torus.shape)
        parts.append(f"twisted: the dashed ways around shift the long dimensions by {shift}")
    if num_pods > _MOST_PODS:
        parts.append(f"the first {_MOST_PODS} of {num_pods} pods are drawn")
    if layout.is_cut:
        parts.append("dotted lines leave devices out")
    if layout.num_dimensions == 3 and layout.torus.rings[0]:
        parts.append("of the ways around dimension 1 those at the right edge are drawn")
    return "; ".join(parts)


def _shape_text(torus: Torus) -> str:
    sizes = " × ".join(map(str, torus.shape))
    if len(torus.shape) == 1:
        return f"a {'ring' if torus.rings[0] else 'row'} of {sizes}"
    if not any(torus.rings):
        return f"{sizes} mesh"
    sized = [d for d, size in enumerate(torus.shape) if size > 2]
    ends = ", ".join(str(d + 1) for d in sized if not torus.rings[d])
    return f"{sizes} torus" + (f", open in dimension {ends}" if ends else "")


def _along(row: tuple[int, ...], coordinate: int) -> float:
    """Return how many steps along its dimension a coordinate is drawn; a cut takes more room."""
    position = row.index(coordinate)
    return position + (_GAP if coordinate != position else 0.0)


def _moved(point: Point, dimension: int, coordinate: int) -> Point:
    return (*point[:dimension], coordinate, *point[dimension + 1 :])
