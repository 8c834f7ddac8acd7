"""The picture of a collective at many sizes: bus bandwidth above, time below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexsim.plotting.style import TEXT_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#333333")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def collective_figure(table: pd.DataFrame, title: str) -> Figure:
    """Return the picture of a collective's table.

    Columns: ``num_bytes, time_ns, algorithm, bus_bandwidth_bytes_per_s``, sizes ascending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    draw_against_size(table, above, "bus_bandwidth_bytes_per_s", 1e9)
    above.set_ylabel("bus bandwidth (GB/s)", color=TEXT_COLOR)
    above.set_ylim(0, None)
    above.legend(frameon=False, loc="upper left", title="algorithm")
    draw_against_size(table, below, "time_ns", 1e3)
    below.set_ylabel("time (µs)", color=TEXT_COLOR)
    _draw_times(below)
    below.set_xlabel("message", color=TEXT_COLOR)
    above.set_title(title, loc="left", color=TEXT_COLOR, parse_math=False)
    return figure


def draw_against_size(table: pd.DataFrame, ax: Axes, column: str, unit: float) -> None:
    """Draw one column over message size, a colour and a mark an algorithm."""
    ax.plot(table["num_bytes"], table[column] / unit, color="#BBBBBB", linewidth=1.0, zorder=1)
    for number, (name, rows) in enumerate(table.groupby("algorithm", sort=False)):
        ax.plot(rows["num_bytes"], rows[column] / unit, linestyle="none", label=str(name),
                color=_COLORS[number % len(_COLORS)], marker=_MARKERS[number % len(_MARKERS)],
                markersize=5.5)  # fmt: skip
    _draw_sizes(list(table["num_bytes"]), ax)
    ax.grid(axis="y", color="#E5E5E5", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_times(ax: Axes) -> None:
    """Mark a logarithmic axis of times at 1, 2 and 5 of every power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0), numticks=12))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _draw_sizes(sizes: list[int], ax: Axes) -> None:
    """Mark the size axis at some of ``sizes``, so that their names do not meet."""
    every = max(1, -(-len(sizes) // 11))
    marked = sizes[::every]
    ax.set_xscale("log", base=2)
    ax.set_xticks(marked, [_size_text(size) for size in marked])
    ax.xaxis.set_tick_params(which="minor", size=0)


def _size_text(num_bytes: int) -> str:
    power = min(max(int(num_bytes).bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    return f"{num_bytes / 1024**power:.3g} {_UNITS[power]}"
