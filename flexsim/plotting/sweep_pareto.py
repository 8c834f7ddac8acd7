"""The Pareto front: iteration time against memory, or any metric against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import FITS, fits_of, value_text
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import SERIES_COLORS, TEXT_COLOR
from flexsim.plotting.sweep_axes import (
    is_wide,
    legend_beside,
    log_axis,
    nothing_to_draw,
    plain_frame,
    scaled,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FRONT = "on_front"
"""Column of a :func:`pareto_table`: whether no other row beats this one in both metrics."""
_MOST_NAMED = 8
_GREY = "#A8A8A8"


def pareto_table(results: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Return the rows that have both metrics, with ``fits_memory`` and ``on_front``, by ``x``.

    On the front are those rows that fit in memory and are beaten by none that fits: none is as
    good in one metric and better in the other. Of equal ones the first is on it. Larger is
    better where the metric is such that it is.
    """
    known = results[results[[x, y]].notna().all(axis=1)]
    known = known.assign(**{FITS: fits_of(known)})
    signs = [-1 if quantity_of(name).is_larger_better else 1 for name in (x, y)]
    aims = known[[x, y]].to_numpy(float) * signs
    order = np.lexsort([aims[:, 1], aims[:, 0]])
    fitting = order[known[FITS].to_numpy(bool)[order]]
    least = np.minimum.accumulate(aims[fitting, 1])
    on_front = np.zeros(len(known), bool)
    on_front[fitting[np.diff(least, prepend=np.inf) < 0]] = True
    return known.assign(**{FRONT: on_front}).iloc[order].reset_index(drop=True)


def draw_pareto(table: pd.DataFrame, ax: Axes, *, x: str, y: str, keys: Sequence[str] = ()) -> None:
    """Draw a :func:`pareto_table` on ``ax``: all rows, and the front as a line of steps.

    Rows that do not fit in memory are hollow. Points of the front have numbers, and the legend
    tells the ``keys`` of each; of many, of some evenly along the front.
    """
    plain_frame(ax)
    fits, front = table[FITS].to_numpy(bool), table[table[FRONT].to_numpy(bool)]
    rest, hollow = table[fits & ~table[FRONT].to_numpy(bool)], table[~fits]
    small = 22 if len(table) < 500 else 9
    ax.scatter(scaled(hollow, x), scaled(hollow, y), s=small, facecolors="none", edgecolors=_GREY,
               linewidths=0.8, label="does not fit in memory" if len(hollow) else None)  # fmt: skip
    ax.scatter(scaled(rest, x), scaled(rest, y), s=small, color=_GREY, linewidths=0,
               label="fits in memory" if len(rest) else None)  # fmt: skip
    ax.plot(scaled(front, x), scaled(front, y), drawstyle="steps-post", color=SERIES_COLORS[0],
            lw=1.6, marker="o", ms=5.5, mec="white", mew=0.6,
            label="Pareto front" if len(front) else None)  # fmt: skip
    for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
        _metric_axis(axis, name, table)
    if table.empty:
        nothing_to_draw(ax)
    legend_beside(ax, handles=_named(ax, front, (x, y), keys))


def _metric_axis(axis: Any, name: str, table: pd.DataFrame) -> None:
    axis.set_label_text(quantity_of(name).axis_label, color=TEXT_COLOR)
    if is_wide(numbers := scaled(table, name)):
        log_axis(axis, numbers)


def _named(ax: Axes, front: pd.DataFrame, axes: tuple[str, str], keys: Sequence[str]) -> list[Any]:
    """Number points of the front; return what the legend says of each."""
    from matplotlib.lines import Line2D

    if not keys:
        return []
    every = np.unique(np.linspace(0, len(front) - 1, min(_MOST_NAMED, len(front))).round())
    x, y = (scaled(front, name) for name in axes)
    handles = []
    for number, row in enumerate(every.astype(int).tolist(), 1):
        ax.annotate(str(number), (x[row], y[row]), xytext=(5, 5), textcoords="offset points",
                    fontsize=8.5, fontweight="bold", color=SERIES_COLORS[0], zorder=5)  # fmt: skip
        told = _told(front.iloc[row], keys)
        handles.append(Line2D([], [], ls="", marker=f"${number}$", ms=6 if number < 10 else 8,
                              color=SERIES_COLORS[0], label=told))  # fmt: skip
    return handles


def _told(row: pd.Series[Any], keys: Sequence[str]) -> str:
    """Return the keys of a row, two a line."""
    words = [f"{quantity_of(key).label} {value_text(_whole(row[key]))}" for key in keys]
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 34:
            lines, line = [*lines, line + ","], ""
        line = f"{line}, {word}" if line else word
    return "\n".join([*lines, line])


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
