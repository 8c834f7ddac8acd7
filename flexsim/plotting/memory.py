"""The memory picture: what every stage holds against time, its parts stacked, below its capacity.

A few stages get a panel each. Many are told by a map of ranks against time, the parts of every
rank's peak beside it, and a panel of the fullest.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexsim.plotting.memory_columns import highest_columns
from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR
from flexsim.timeline.memory import PARTS
from flexsim.timeline.memory_series import DeviceSeries, MemorySeries
from flexsim.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PART_COLORS = {
    "optimizer": "#0072B2",
    "weights": "#56B4E9",
    "gradients": "#A6D8F5",
    "overhead": "#BBBBBB",
    "activations": "#E69F00",
    "gathered": "#009E73",
    "recompute": "#CC79A7",
    "temporary": "#F0E442",
    "buffers": "#777777",
}
"""Part to colour, from the bottom of the stack to its top."""

MOST_PANELS = 8
"""Up to so many ranks get a panel each."""

_WIDTH_IN = 13.0
_NUM_COLUMNS = 1500
_GIB = 2**30
_OVER = "#D60000"
_TIME_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


def save_memory(series: MemorySeries, capacity_bytes: int, title: str, path: Path) -> Path:
    """Write ``memory.png`` and return its path."""
    return save_figure(memory_figure(series, capacity_bytes, title), path, compression=1)


def memory_figure(series: MemorySeries, capacity_bytes: int, title: str) -> Figure:
    """Return a figure that suits the number of ranks."""
    many = len(series.devices) > MOST_PANELS
    figure = (_map_figure if many else _panel_figure)(series, capacity_bytes)
    height_in = figure.get_size_inches()[1]
    wrapped = textwrap.shorten(title, 110, placeholder=" …")
    figure.text(0.06, 1 - 0.32 / height_in, wrapped, fontsize=13, fontweight="bold",
                color=TEXT_COLOR, parse_math=False)  # fmt: skip
    subtitle, color = _verdict(series, capacity_bytes)
    figure.text(0.06, 1 - 0.58 / height_in, subtitle, fontsize=10.5, color=color)
    _draw_legend(figure, series, height_in)
    return figure


def _verdict(series: MemorySeries, capacity_bytes: int) -> tuple[str, str]:
    """Return which rank is fullest and whether it fits, and the colour to say it in."""
    fullest = _fullest(series)
    peak = int(fullest.total.max())
    told = (
        f"fullest: rank {fullest.rank} with {format_bytes(peak)} of {format_bytes(capacity_bytes)}"
    )
    if peak <= capacity_bytes:
        return told, TEXT_COLOR
    return f"{told}: does not fit, {format_bytes(peak - capacity_bytes)} too much", _OVER


def _fullest(series: MemorySeries) -> DeviceSeries:
    return max(series.devices, key=lambda one: int(one.total.max()))


def _panel_figure(series: MemorySeries, capacity_bytes: int) -> Figure:
    from matplotlib.figure import Figure

    num = len(series.devices)
    panel_in = 2.6 if num == 1 else max(1.0, min(1.7, 8.0 / num))
    height_in = 1.75 + num * panel_in
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    axes = np.atleast_1d(figure.subplots(num, 1, sharex=True, sharey=True))
    figure.subplots_adjust(0.06, 1.0 / height_in, 0.985, 1 - 0.75 / height_in, hspace=0.3)
    highest = max(int(_fullest(series).total.max()), capacity_bytes)
    for one, ax in zip(series.devices, axes, strict=True):
        draw_memory(one, series.end_ns, ax, capacity_bytes)
        ax.set_ylim(0, 1.08 * highest / _GIB)
    figure.supylabel("memory of a device (GiB)", x=0.008, fontsize=10, color=TEXT_COLOR)
    axes[-1].set_xlabel(f"time ({_unit(series.end_ns)[1]})", color=TEXT_COLOR)
    return figure


def draw_memory(series: DeviceSeries, end_ns: int, ax: Axes, capacity_bytes: int) -> None:
    """Draw the parts of one device against time, stacked, and its capacity as a line."""
    columns = highest_columns(series, end_ns, _NUM_COLUMNS) / _GIB
    factor, _ = _unit(end_ns)
    edges = np.linspace(0, end_ns / factor, _NUM_COLUMNS + 1)
    below = np.zeros(_NUM_COLUMNS + 1)
    for part, color in PART_COLORS.items():
        held = columns[:, PARTS.index(part)]
        above = below + np.append(held, held[-1])
        if held.any():
            ax.fill_between(edges, below, above, step="post", color=color, linewidth=0)
        below = above
    ax.axhline(capacity_bytes / _GIB, color=_OVER, linewidth=1.3, linestyle=(0, (5, 3)))
    ax.set_xlim(0, edges[-1])
    ax.spines[["top", "right"]].set_visible(False)
    _label_panel(series, ax, capacity_bytes)


def _label_panel(series: DeviceSeries, ax: Axes, capacity_bytes: int) -> None:
    peak = int(series.total.max())
    color = _OVER if peak > capacity_bytes else TEXT_COLOR
    ax.text(1.0, 1.01, f"rank {series.rank}: peak {format_bytes(peak)}", fontsize=9, color=color,
            ha="right", va="bottom", transform=ax.transAxes)  # fmt: skip


def _map_figure(series: MemorySeries, capacity_bytes: int) -> Figure:
    from matplotlib.figure import Figure

    num = len(series.devices)
    map_in = min(6.0, 1.6 + 0.09 * num)
    height_in = map_in + 5.0
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    grid = figure.add_gridspec(2, 2, width_ratios=[4.2, 1], height_ratios=[map_in, 2.2])
    grid.update(left=0.06, right=0.985, bottom=1.0 / height_in, top=1 - 1.0 / height_in,
                hspace=0.75 / (map_in / 2 + 1.1), wspace=0.06)  # fmt: skip
    ranks = figure.add_subplot(grid[0, 0])
    _draw_map(series, capacity_bytes, ranks)
    _draw_peaks(series, capacity_bytes, figure.add_subplot(grid[0, 1], sharey=ranks))
    panel = figure.add_subplot(grid[1, :])
    fullest = _fullest(series)
    draw_memory(fullest, series.end_ns, panel, capacity_bytes)
    panel.set_ylim(0, 1.1 * max(int(fullest.total.max()), capacity_bytes) / _GIB)
    panel.set_ylabel("GiB", color=TEXT_COLOR)
    panel.set_xlabel(f"time ({_unit(series.end_ns)[1]})", color=TEXT_COLOR)
    return figure


def _draw_map(series: MemorySeries, capacity_bytes: int, ax: Axes) -> None:
    """Draw how full every rank's device is at every moment."""
    from matplotlib import colormaps

    shares = np.stack(
        [highest_columns(one, series.end_ns, _NUM_COLUMNS).sum(axis=1) for one in series.devices]
    )
    colors = colormaps["YlGnBu"].with_extremes(over=_OVER)
    end = series.end_ns / _unit(series.end_ns)[0]
    num = len(shares)
    image = ax.imshow(100 * shares / capacity_bytes, aspect="auto", interpolation="nearest",
                      cmap=colors, vmin=0, vmax=100, extent=(0, end, num - 0.5, -0.5))  # fmt: skip
    ax.set_yticks(*_rank_ticks(series))
    ax.set_ylabel("pipeline rank", color=TEXT_COLOR)
    ax.set_xlabel(f"time ({_unit(series.end_ns)[1]})", color=TEXT_COLOR)
    figure = ax.figure
    bar = figure.colorbar(image, ax=ax, location="top", fraction=0.035, pad=0.015, aspect=60,
                          extend="max")  # fmt: skip
    bar.set_label(f"share of {format_bytes(capacity_bytes)} (%)", color=TEXT_COLOR, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _rank_ticks(series: MemorySeries) -> tuple[list[int], list[str]]:
    every = max(1, -(-len(series.devices) // 16))
    places = list(range(0, len(series.devices), every))
    return places, [str(series.devices[place].rank) for place in places]


def _draw_peaks(series: MemorySeries, capacity_bytes: int, ax: Axes) -> None:
    """Draw the parts of every rank's peak as a bar."""
    parts = np.stack([one.parts[one.total.argmax()] for one in series.devices]) / _GIB
    left: NDArray[np.float64] = np.zeros(len(parts))
    for part, color in PART_COLORS.items():
        held = parts[:, PARTS.index(part)]
        ax.barh(np.arange(len(parts)), held, 0.9, left, color=color)
        left = left + held
    ax.axvline(capacity_bytes / _GIB, color=_OVER, linewidth=1.3, linestyle=(0, (5, 3)))
    ax.set_xlabel("peak (GiB)", color=TEXT_COLOR)
    ax.tick_params(axis="y", length=0, labelleft=False)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_legend(figure: Figure, series: MemorySeries, height_in: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    used = np.any([one.parts.any(axis=0) for one in series.devices], axis=0)
    handles: list[Any] = [
        Patch(facecolor=color, label=part)
        for part, color in PART_COLORS.items()
        if used[PARTS.index(part)]
    ]
    handles.append(Line2D([], [], color=_OVER, linestyle=(0, (5, 3)), label="capacity"))
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.08 / height_in),
                  ncols=len(handles), frameon=False, fontsize=9)  # fmt: skip


def _unit(end_ns: int) -> tuple[float, str]:
    return next((pair for pair in _TIME_UNITS if end_ns >= pair[0]), _TIME_UNITS[-1])
