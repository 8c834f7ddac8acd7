"""What every picture of a device graph has: colours of links, a legend and a title."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from flexsim.device_graph import DeviceGraph
from flexsim.device_graph.describe import link_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    "nvlink": "#4c9a2a",
    "infiniband": "#1f6fb4",
    "pcie": "#d9822b",
    "socket": "#a23b72",
    "ethernet": "#17807e",
    "roce": "#17807e",
    "ici": "#6a4c93",
    "dcn": "#1f6fb4",
}
_OTHER_COLOURS = ("#b8860b", "#8c564b", "#c0392b", "#7f7f7f")
_LONGEST_LINE = 90

Bounds = tuple[float, float, float, float]
"""Left, right, bottom and top of everything that is drawn."""


def link_colours(graph: DeviceGraph) -> dict[str, str]:
    """Return a colour for each kind of link; the common kinds always have the same."""
    others = [kind for kind in graph.link_kinds if kind not in _COLOURS]
    spare = {kind: _OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i, kind in enumerate(others)}
    return {kind: _COLOURS.get(kind) or spare[kind] for kind in graph.link_kinds}


def line_width(graph: DeviceGraph, kind: str, bandwidth_bytes_per_s: float) -> float:
    """Return a width for a link: wider ones of a kind carry more than its narrowest."""
    links = graph.links
    same = links.bandwidth_bytes_per_s[links.kind == links.link_kinds.index(kind)]
    return min(3.2, 1.3 * math.pow(bandwidth_bytes_per_s / float(same.min()), 0.75))


def draw_legend(ax: Axes, graph: DeviceGraph) -> None:
    """Give every kind of link with its bandwidth per direction and its latency."""
    from matplotlib.lines import Line2D

    colours = link_colours(graph)
    lines = [
        Line2D(
            *([], []),
            color=colours[each.kind],
            linewidth=1.3 * line_width(graph, each.kind, each.bandwidth_bytes_per_s),
            label=f"{each.kind}: {each.text}",
        )
        for each in link_classes(graph)
    ]
    if lines:
        ax.legend(
            handles=lines,
            title="links (per direction)",
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=min(3, len(lines)),
            fontsize=9,
            title_fontsize=9,
            frameon=False,
        )


def frame(ax: Axes, graph: DeviceGraph, bounds: Bounds, note: str) -> None:
    """Set the limits of the page and its title, with a note on what is left out."""
    left, right, bottom, top = bounds
    ax.set_xlim(left - 0.3, right + 0.3)
    ax.set_ylim(bottom - 0.9, top + 0.9)
    ax.set_aspect("equal")
    ax.set_axis_off()
    hosts = "1 host" if graph.num_hosts == 1 else f"{graph.num_hosts:,} hosts"
    below = "\n" + textwrap.fill(note, _LONGEST_LINE) if note else ""
    ax.set_title(f"{graph.name}: {hosts}, {graph.num_devices:,} devices{below}", fontsize=11)
