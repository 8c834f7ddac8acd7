"""The Pareto front: iteration time against memory, or any metric against another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import FITS, fits_of, short_name, value_text
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
    from numpy.typing import NDArray

FRONT = "on_front"
"""Column of a :func:`pareto_table`: whether no other row beats this one in both metrics."""
_MOST_NAMED = 8
_TIED = "\N{NO-BREAK SPACE}"
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

    Rows that do not fit in memory are hollow; the axes are those of the rows that fit, and the
    legend tells how many hollow ones lie outside. Points of the front that stand apart have
    numbers, and the legend tells the ``keys`` in which they differ.
    """
    plain_frame(ax)
    fits = table[FITS].to_numpy(bool)
    is_front = table[FRONT].to_numpy(bool)
    inside = _frame(ax, table, (x, y))
    front, hollow = table[is_front], table[~fits]
    small = 22 if len(table) < 500 else 9
    _scatter(ax, (hollow, x, y), small, _hollow_label(hollow, inside[~fits]), is_hollow=True)
    _scatter(ax, (table[fits & ~is_front], x, y), small, "fits in memory")
    if len(front):
        ax.plot(scaled(front, x), scaled(front, y), drawstyle="steps-post", lw=1.6, marker="o",
                color=SERIES_COLORS[0], ms=5.5, mec="white", mew=0.6,
                label="Pareto front")  # fmt: skip
    if table.empty:
        nothing_to_draw(ax)
    legend_beside(ax, handles=_named(ax, front, (x, y), keys))


def _scatter(
    ax: Axes, rows: tuple[pd.DataFrame, str, str], size: float, label: str, is_hollow: bool = False
) -> None:
    table, x, y = rows
    if len(table):
        face = "none" if is_hollow else _GREY
        ax.scatter(scaled(table, x), scaled(table, y), s=size, facecolors=face,
                   edgecolors=_GREY, linewidths=0.8, label=label)  # fmt: skip


def _hollow_label(hollow: pd.DataFrame, inside: NDArray[np.bool_]) -> str:
    outside = int((~inside).sum())
    told = f"\n({outside:,} of {len(hollow):,} outside the frame)" if outside else ""
    return f"does not fit in memory{told}"


def _frame(ax: Axes, table: pd.DataFrame, axes: tuple[str, str]) -> NDArray[np.bool_]:
    """Set the axes to the rows that fit and some room; return which rows lie inside."""
    inside = np.ones(len(table), bool)
    is_known = table[FITS].to_numpy(bool)
    is_known = is_known if is_known.any() else inside
    for axis, name in zip((ax.xaxis, ax.yaxis), axes, strict=True):
        axis.set_label_text(quantity_of(name).axis_label, color=TEXT_COLOR)
        numbers = scaled(table, name)
        if not len(numbers):
            continue
        low, high = _limits(numbers[is_known])
        if is_wide(numbers[is_known]):
            log_axis(axis, numbers[is_known])
        set_limit = ax.set_xlim if name == axes[0] else ax.set_ylim
        set_limit(low, high)
        inside &= (low <= numbers) & (numbers <= high)
    return inside


def _limits(numbers: NDArray[np.float64]) -> tuple[float, float]:
    least, most = float(numbers.min()), float(numbers.max())
    if is_wide(numbers):
        room = (most / least) ** 0.08
        return least / room, most * room * 1.3
    room = 0.12 * (most - least) or 0.5 * abs(most) or 1.0
    return least - room, most + 2 * room


def _named(ax: Axes, front: pd.DataFrame, axes: tuple[str, str], keys: Sequence[str]) -> list[Any]:
    """Number points of the front; return what the legend says of each."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    keys = [key for key in keys if front[key].nunique(dropna=False) > 1 or len(front) == 1]
    if not keys:
        return []
    x, y = (scaled(front, name) for name in axes)
    handles = []
    for number, row in enumerate(_standing_apart(ax, x, y), 1):
        ax.annotate(str(number), (x[row], y[row]), xytext=(5, 5), textcoords="offset points",
                    fontsize=8.5, fontweight="bold", color=SERIES_COLORS[0], zorder=5,
                    path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
        handle = Line2D([], [], ls="", marker=f"${number}$", ms=6, mew=0.3, color=SERIES_COLORS[0])
        handle.set_label(_told(front.iloc[row], keys))
        handles.append(handle)
    return handles


def _standing_apart(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> list[int]:
    """Return the points whose numbers do not touch, the quickest first, evenly where many."""
    places = ax.transScale.transform(np.column_stack([x, y]))
    corners = ax.transScale.transform(np.column_stack([ax.get_xlim(), ax.get_ylim()]))
    places = (places - corners[0]) / (corners[1] - corners[0])
    found: list[int] = []
    for row in range(len(places)):
        steps = np.abs(places[found] - places[row])
        if not ((steps[:, 0] < 0.035) & (steps[:, 1] < 0.06)).any():
            found.append(row)
    kept = np.linspace(0, len(found) - 1, min(_MOST_NAMED, len(found))).round().astype(int)
    return [found[each] for each in np.unique(kept).tolist()]


def _told(row: pd.Series[Any], keys: Sequence[str]) -> str:
    """Return the keys of a row in lines of a legend."""
    words = [f"{short_name(key)} {value_text(_whole(row[key]))}" for key in keys]
    joined = ", ".join(word.replace(" ", _TIED) for word in words)
    told = textwrap.wrap(joined, 36, max_lines=4, placeholder=" …", break_on_hyphens=False)
    return "\n".join(told).replace(_TIED, " ")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
