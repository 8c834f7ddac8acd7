"""Lines: a metric against a key, a line a value of another key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import FITS, best_points, fits_of, is_numeric, values_of
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.sweep_axes import (
    Look,
    category_axis,
    hollow_handle,
    key_axis,
    legend_beside,
    metric_axis,
    nothing_to_draw,
    plain_frame,
    positions,
    scaled,
    series_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_LETTERS_AN_INCH = 9
_LEFT, _RIGHT = 0.4, 0.6
"""Room beside the first and the last category, in categories."""


def lines_table(results: pd.DataFrame, x: str, y: str, by: str | None = None) -> pd.DataFrame:
    """Return the points of a line picture: columns ``x``, ``by`` if any, ``y``, ``fits_memory``.

    Where several configurations share a place, the best of those that fit in memory stands for
    them, or the best of all where none fits. Rows are in the order of the lines.
    """
    places = list(dict.fromkeys([x, *([by] if by else [])]))
    best = best_points(results, places, y)
    best = best.sort_values([*places[1:], x], kind="stable")
    return best[[*dict.fromkeys([*places, y, FITS])]].reset_index(drop=True)


def draw_lines(table: pd.DataFrame, ax: Axes, *, x: str, y: str, by: str | None = None) -> None:
    """Draw a :func:`lines_table` on ``ax``; what does not fit in memory has a hollow marker.

    An axis of numbers that differ by more than a factor of eight is logarithmic; texts and truth
    values of ``x`` stand side by side in the order in which they come.
    """
    plain_frame(ax, "both" if is_numeric(table[x]) else "y")
    values = values_of(table[x])
    for name, look, rows in series_of(table, by):
        _draw_series(ax, (positions(rows, x, values), scaled(rows, y)), rows, (name, look))
    if is_numeric(table[x]):
        key_axis(ax.xaxis, x, positions(table, x, values))
    else:
        category_axis(ax.xaxis, x, values)
        ax.set_xlim(-_LEFT, len(values) - _RIGHT + 0.2)
        turn_long_names(ax)
    metric_axis(ax.yaxis, y, scaled(table, y))
    if table.empty:
        nothing_to_draw(ax)
    further = [] if fits_of(table).all() else [hollow_handle()]
    legend_beside(ax, quantity_of(by).axis_label if by else "", further)


def _draw_series(
    ax: Axes,
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    rows: pd.DataFrame,
    shown: tuple[str, Look],
) -> None:
    name, look = shown
    label = name or None
    ax.plot(*points, color=look.color, ls=look.dashes, lw=1.6, zorder=2, marker=look.marker,
            ms=5.5, mec="white", mew=0.6, label=label)  # fmt: skip
    hollow = ~fits_of(rows).to_numpy()
    ax.plot(points[0][hollow], points[1][hollow], ls="", marker=look.marker, ms=5.5,
            mfc="white", mec=look.color, mew=1.3, zorder=3)  # fmt: skip


def turn_long_names(ax: Axes) -> None:
    """Turn the names below an axis where they would run into one another."""
    names = [label.get_text() for label in ax.get_xticklabels()]
    letters = max(map(len, names), default=0)
    figure = ax.get_figure(root=True)
    width_in = float(figure.get_size_inches()[0]) if figure else 1.0
    if (letters + 1) * len(names) > _LETTERS_AN_INCH * width_in:
        turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(ax.get_xticks(), names, **turned)
