"""Simulated against measured times: a point a run, both axes logarithmic, a band of ±10 %."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 0.1
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^v<>PXh*"
_MOST_PROMINENT = 100
"""More points of a family than these are drawn small and thin."""
_BAND_COLOR, _LINE_COLOR = "#DDDDDD", "#777777"
_LABEL_WIDTH = 44


def draw_validation(table: pd.DataFrame, ax: Axes) -> None:
    """Draw what was compared: columns ``family``, ``measured``, ``simulated`` (seconds), ``error``.

    Families have a colour and a marker each; the legend tells how many values and their mean
    absolute error. Relative times, which have no unit, are left out.
    """
    compared = drawn(table)
    line = np.array(_limits(compared))
    ax.fill_between(line, line * (1 - BAND), line * (1 + BAND), color=_BAND_COLOR, lw=0, zorder=0)
    ax.plot(line, line, color=_LINE_COLOR, lw=1, zorder=1)
    for family, some, look in _families(compared):
        ax.scatter(some.measured, some.simulated, label=_label(family, some), **look)
    ax.set(xscale="log", yscale="log", xlim=line, ylim=line)
    ax.set_ylabel("simulated time (s)")
    _grid(ax)


def draw_errors(table: pd.DataFrame, ax: Axes) -> None:
    """Draw the errors of :func:`draw_validation` against the measured time, in per cent."""
    compared = drawn(table)
    low, high = _limits(compared)
    ax.axhspan(-100 * BAND, 100 * BAND, color=_BAND_COLOR, lw=0, zorder=0)
    ax.axhline(0, color=_LINE_COLOR, lw=1, zorder=1)
    for _, some, look in _families(compared):
        ax.scatter(some.measured, 100 * some.error, **look)
    furthest = 115 * max(BAND, float(compared.error.abs().max()))
    ax.set(xscale="log", xlim=(low, high), ylim=(-furthest, furthest))
    ax.set_xlabel("measured time (s)")
    ax.set_ylabel("error (%)")
    _grid(ax)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with an error and a time in seconds."""
    relative = table.metric.astype(str).str.contains("speedup")
    return table[table.error.notna() & ~relative]


def _families(compared: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    looks = zip(cycle(_COLORS), cycle(_MARKERS), strict=False)
    groups = compared.groupby("family", sort=False)
    for (family, some), (color, marker) in zip(groups, looks, strict=False):
        many = len(some) > _MOST_PROMINENT
        look = {"c": color, "marker": marker, "edgecolors": "white", "linewidths": 0.4}
        look |= {"s": 14 if many else 38, "alpha": 0.45 if many else 0.85, "zorder": 2}
        yield str(family), some, look


def _label(family: str, some: pd.DataFrame) -> str:
    count = "1 value" if len(some) == 1 else f"{len(some)} values"
    name = textwrap.fill(family, _LABEL_WIDTH)
    return f"{name}\n{count}, mean error {some.error.abs().mean():.1%}"


def _grid(ax: Axes) -> None:
    ax.grid(True, which="major", color="#EEEEEE")
    ax.set_axisbelow(True)


def _limits(compared: pd.DataFrame) -> tuple[float, float]:
    values = np.concatenate([compared.measured, compared.simulated]).astype(float)
    return float(values.min()) / 1.5, float(values.max()) * 1.5


def validation_figure(table: pd.DataFrame, title: str) -> Figure:
    """Return a figure of :func:`draw_validation` over :func:`draw_errors`, the legend beside."""
    from matplotlib.figure import Figure

    height_in = max(8.0, 1.2 + 0.52 * drawn(table).family.nunique())
    figure = Figure(figsize=(10.5, height_in), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    draw_validation(table, above)
    draw_errors(table, below)
    above.set_title(textwrap.fill(title, 70), loc="left", fontsize=12, fontweight="bold",
                    color=TEXT_COLOR, parse_math=False)  # fmt: skip
    above.fill_between([], [], color=_BAND_COLOR, label=f"within ±{BAND:.0%}")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5, labelspacing=0.8)
    return figure


def save_validation(table: pd.DataFrame, title: str, path: Path) -> Path:
    """Write the figure as PNG, whole or not at all, and return its path."""
    return save_figure(validation_figure(table, title), path)
