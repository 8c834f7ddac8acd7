"""The picture of links: a strip a link, time from left to right, utilization as colour.

Strips stand by kind of link and host. Of many links the busiest have a strip each, and the
others of a kind share one, which shows their mean.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import SHARED
from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR
from flexsim.task_graph.columns import Int32, Int64
from flexsim.timeline.links import LinkFacts, host_of_links
from flexsim.units import NS_PER_S, format_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_STRIPS = 64
"""Links with a strip of their own; with more, the others are drawn as their mean."""
_NUM_BINS = 600
_COLORS = "magma_r"
_IDLE_COLOR = "#F2F2F2"
_IDLE_SHARE = 1e-4
"""Of the highest utilization: what is less has the colour of idle links."""
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True, eq=False)
class Strips:
    """The strips of a picture, from the top; ``row`` has the strip of every link, -1 for none."""

    names: tuple[str, ...]
    group: tuple[str, ...]
    """What each strip stands under: a kind of link and where it is."""
    row: Int32


def strips(facts: LinkFacts, most: int = MOST_STRIPS) -> Strips:
    """Choose the strips for the links that carried anything."""
    graph, own = facts.device_graph, np.sort(_with_own_strip(facts, most))
    host = host_of_links(graph)[own]
    own = own[np.argsort(np.where(host == SHARED, graph.num_hosts, host), kind="stable")]
    row = np.full(len(graph.links), -1, np.int32)
    names: list[str] = []
    groups: list[str] = []
    for code, kind in enumerate(graph.link_kinds):
        mine = own[graph.links.kind[own] == code]
        row[mine] = np.arange(len(names), len(names) + len(mine))
        names += _told_apart(facts, mine)
        groups += [_place(facts, link) for link in mine.tolist()]
        others = facts.is_used & (row < 0) & (graph.links.kind == code)
        if others.any():
            row[others] = len(names)
            names.append(f"mean of {np.count_nonzero(others):,} others")
            groups.append(kind)
    return Strips(tuple(names), tuple(groups), row)


def _told_apart(facts: LinkFacts, links: Int64) -> list[str]:
    """Return the names of links, with their numbers where several have the same ends."""
    names = [facts.name(link) for link in links.tolist()]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} (link {link})"
        for name, link in zip(names, links.tolist(), strict=True)
    ]


def _with_own_strip(facts: LinkFacts, most: int) -> Int64:
    """Return the busiest links of every kind: all of a kind, or as many as of other kinds."""
    used: Int64 = facts.busiest_first[facts.is_used[facts.busiest_first]]
    kind = facts.device_graph.links.kind[used]
    counts = np.bincount(kind)
    own = []
    order = np.argsort(counts, kind="stable")[np.count_nonzero(counts == 0) :].tolist()
    for number, code in enumerate(order):
        share = min(int(counts[code]), most // (len(order) - number))
        own.append(used[kind == code][:share])
        most -= share
    return np.concatenate([np.zeros(0, np.int64), *own])


def _place(facts: LinkFacts, link: int) -> str:
    graph = facts.device_graph
    host = int(host_of_links(graph)[link])
    kind = graph.link_kinds[graph.links.kind[link]]
    return kind if host == SHARED else f"{kind}, {graph.host_names[host]}"


def link_table(
    facts: LinkFacts, num_bins: int = _NUM_BINS, most: int = MOST_STRIPS
) -> pd.DataFrame:
    """Return utilization over time: a row a strip, its ``group`` and ``name`` as the index.

    Columns are the starts of the bins in seconds.
    """
    import pandas as pd

    chosen = strips(facts, most)
    starts = np.arange(num_bins) * facts.makespan_ns / num_bins / NS_PER_S
    index = pd.MultiIndex.from_arrays([chosen.group, chosen.names], names=["group", "link"])
    return pd.DataFrame(facts.over_time(chosen.row, num_bins), index, starts)


def draw_links(table: pd.DataFrame, ax: Axes, end_s: float) -> None:
    """Draw a :func:`link_table` that ends at ``end_s`` on ``ax``, with a scale below."""
    factor, unit = next((pair for pair in _TIME_UNITS if end_s >= pair[0]), _TIME_UNITS[-1])
    ax.set_xlim(0, end_s / factor)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_yticks(range(len(table)), list(table.index.get_level_values("link")), fontsize=7)
    ax.set_xlabel(f"time ({unit})", color=TEXT_COLOR)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    _draw_shares(100 * table.to_numpy(), ax)
    _draw_groups(list(table.index.get_level_values("group")), ax)


def _draw_shares(shares: NDArray[np.float64], ax: Axes) -> None:
    """Fill the axes with shares in per cent as colours, and put their scale below."""
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    from flexsim.plotting.pixels import Pixels

    most = max(float(shares.max()), 1e-6)
    colors = mpl.colormaps[_COLORS].with_extremes(under=_IDLE_COLOR)
    scale = ScalarMappable(Normalize(_IDLE_SHARE * most, most), colors)
    picture = Pixels(ax, extent=(*ax.get_xlim(), *ax.get_ylim()))
    picture.set_data(scale.to_rgba(shares, bytes=True))
    picture.set_clip_path(ax.patch)
    ax.add_image(picture)
    bar = ax.figure.colorbar(scale, ax=ax, orientation="horizontal", fraction=0.05, pad=0.01,
                             shrink=0.5, aspect=50)  # fmt: skip
    bar.set_label("utilization: share of the link's bandwidth (%)", color=TEXT_COLOR)
    bar.outline.set_visible(False)


def _draw_groups(groups: list[str], ax: Axes) -> None:
    """Part strips of different groups by a white line, and name each group at the right."""
    for number in range(1, len(groups)):
        is_new = groups[number] != groups[number - 1]
        ax.axhline(number - 0.5, color="white", linewidth=2.5 if is_new else 0.5)
    starts = [n for n, name in enumerate(groups) if n == 0 or name != groups[n - 1]]
    for first, last in zip(starts, [*starts[1:], len(groups)], strict=True):
        ax.annotate(groups[first], (1, (first + last - 1) / 2), xytext=(6, 0),
                    xycoords=ax.get_yaxis_transform(), textcoords="offset points", va="center",
                    fontsize=8, color=TEXT_COLOR, annotation_clip=False)  # fmt: skip


def link_figure(facts: LinkFacts, title: str) -> Figure:
    """Return a figure as high as it needs to be for its strips."""
    from matplotlib.figure import Figure

    table = link_table(facts)
    figure = Figure(figsize=(12.0, 2.6 + 0.16 * len(table)), layout="constrained")
    ax = figure.subplots()
    if len(table):
        draw_links(table, ax, facts.makespan_ns / NS_PER_S)
    else:
        ax.set_axis_off()
    wrapped = textwrap.fill(title, 90, max_lines=2, placeholder=" …")
    ax.set_title(f"{wrapped}\n", loc="left", fontsize=13, fontweight="bold", color=TEXT_COLOR,
                 parse_math=False)  # fmt: skip
    ax.annotate(_counts_text(facts), (0, 1), xytext=(0, 7), xycoords="axes fraction",
                textcoords="offset points", fontsize=10, color=TEXT_COLOR)  # fmt: skip
    return figure


def _counts_text(facts: LinkFacts) -> str:
    used, count = int(facts.is_used.sum()), len(facts.is_used)
    carried = format_bytes(int(facts.num_bytes.sum()))
    return f"{used:,} of {count:,} directed links carried {carried}"


def save_link_picture(facts: LinkFacts, title: str, path: Path) -> Path:
    """Write the picture of the links and return its path."""
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):
        return save_figure(link_figure(facts, title), path)
