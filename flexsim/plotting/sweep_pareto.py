"""Pareto fronts: iteration time against memory, or any metric against another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import FITS, fits_of, in_order, short_name, value_text
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import SERIES_COLORS, TEXT_COLOR
from flexsim.plotting.sweep_axes import (
    Look,
    is_wide,
    legend_beside,
    log_axis,
    look_of,
    nothing_to_draw,
    plain_frame,
    scaled,
    series_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

FRONT = "on_front"
"""Column of a :func:`pareto_table`: whether no other row beats this one in both metrics."""
MOST_NAMED = 8
"""So many configurations have room in the legend."""
_TIED = "\N{NO-BREAK SPACE}"
_WIDE = 4.0
"""What differs by more than this stands on a logarithmic axis: fronts lie at the small end."""
_GREY = "#A8A8A8"


def pareto_table(results: pd.DataFrame, x: str, y: str, by: str | None = None) -> pd.DataFrame:
    """Return the rows that have both metrics, with ``fits_memory`` and ``on_front``, by ``x``.

    On the front are those rows that fit in memory and are beaten by none that fits: none is as
    good in one metric and better in the other. Of equal ones the first is on it. Larger is
    better where the metric is such that it is. Every value of ``by`` has its own front, such as
    every global batch: iterations of less work would beat all others. Texts in ``by`` are
    categories, in the order in which they first come.
    """
    known = results[results[[x, y, *([by] if by else [])]].notna().all(axis=1)]
    known = known.assign(**{FITS: fits_of(known)})
    signs = [-1 if quantity_of(name).is_larger_better else 1 for name in (x, y)]
    aims = known[[x, y]].to_numpy(float) * signs
    order = np.lexsort([aims[:, 1], aims[:, 0]])
    fitting = order[known[FITS].to_numpy(bool)[order]]
    on_front = np.zeros(len(known), bool)
    for own in _groups(known, fitting, by):
        least = np.minimum.accumulate(aims[own, 1])
        on_front[own[np.diff(least, prepend=np.inf) < 0]] = True
    named = in_order(known, results, [by]) if by else known
    return named.assign(**{FRONT: on_front}).iloc[order].reset_index(drop=True)


def _groups(known: pd.DataFrame, rows: NDArray[np.intp], by: str | None) -> list[NDArray[np.intp]]:
    """Return the places ``rows`` by the value that the rows there have in ``by``."""
    if by is None:
        return [rows]
    own = known[by].to_numpy()[rows]
    return [rows[own == value] for value in known[by].unique()]


def draw_pareto(
    table: pd.DataFrame,
    ax: Axes,
    *,
    x: str,
    y: str,
    keys: Sequence[str] = (),
    by: str | None = None,
) -> None:
    """Draw a :func:`pareto_table` on ``ax``: all rows, and each front as a line of steps.

    Rows that do not fit in memory are hollow; the axes are those of the rows that fit, and the
    legend tells how many hollow ones lie outside. Points of one front that stand apart have
    numbers, and the legend tells the ``keys`` in which they differ; of several fronts, one a
    value of ``by``, it tells the keys of the first point of each.
    """
    plain_frame(ax)
    fits = table[FITS].to_numpy(bool)
    is_front = table[FRONT].to_numpy(bool)
    inside = _frame(ax, table, (x, y))
    hollow = table[~fits]
    small = 22 if len(table) < 500 else 9
    if by:
        _draw_fronts(ax, table[is_front], (x, y), keys, by)
    _scatter(ax, (table[fits & ~is_front], x, y), small, "fits in memory")
    _scatter(ax, (hollow, x, y), small, _hollow_label(hollow, inside[~fits]), is_hollow=True)
    if not by:
        _draw_front(ax, table[is_front], (x, y), look_of(0), "Pareto front")
    if table.empty:
        nothing_to_draw(ax)
    handles = [] if by else _named(ax, table[is_front], (x, y), keys)
    legend_beside(ax, quantity_of(by).axis_label if by else "", handles)


def _draw_fronts(
    ax: Axes, front: pd.DataFrame, axes: tuple[str, str], keys: Sequence[str], by: str
) -> None:
    """Draw a front a value of ``by``; where they are few the legend tells where each begins."""
    others = told_keys(front, keys, by)
    for name, look, own in series_of(front, by):
        told = f"{name}\n{_told(own.iloc[0], others)}" if others and len(own) else name
        _draw_front(ax, own, axes, look, told)


def told_keys(front: pd.DataFrame, keys: Sequence[str], by: str) -> list[str]:
    """Return the keys that the legend tells of each front's first point; none of many fronts."""
    has_room = front[by].nunique() <= MOST_NAMED
    return _differing(front, [key for key in keys if key != by]) if has_room else []


def size_of_pareto(table: pd.DataFrame, by: str | None) -> tuple[float, float]:
    """Return the width and the height of a figure, in inches, that has room for the legend."""
    num_fronts = table[by].nunique() if by else 0
    return 8.6, max(4.8, 1.2 + (0.6 if num_fronts <= MOST_NAMED else 0.24) * num_fronts)


def _draw_front(
    ax: Axes, front: pd.DataFrame, axes: tuple[str, str], look: Look, label: str
) -> None:
    if len(front):
        x, y = (scaled(front, name) for name in axes)
        ax.plot(x, y, drawstyle="steps-post", lw=1.6, marker=look.marker, color=look.color, ms=5.5,
                ls=look.dashes, mec="white", mew=0.6, label=label)  # fmt: skip


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
        if _is_wide(numbers[is_known]):
            log_axis(axis, numbers[is_known])
        set_limit = ax.set_xlim if name == axes[0] else ax.set_ylim
        set_limit(low, high)
        inside &= (low <= numbers) & (numbers <= high)
    return inside


def _is_wide(numbers: NDArray[np.float64]) -> bool:
    return is_wide(numbers, _WIDE)


def _limits(numbers: NDArray[np.float64]) -> tuple[float, float]:
    least, most = float(numbers.min()), float(numbers.max())
    if _is_wide(numbers):
        room = (most / least) ** 0.08
        return least / room, most * room * 1.3
    room = 0.12 * (most - least) or 0.5 * abs(most) or 1.0
    return least - room, most + 2 * room


def _named(ax: Axes, front: pd.DataFrame, axes: tuple[str, str], keys: Sequence[str]) -> list[Any]:
    """Number points of the front; return what the legend says of each."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    keys = _differing(front, keys)
    if not keys:
        return []
    x, y = (scaled(front, name) for name in axes)
    handles = []
    for number, row in enumerate(_standing_apart(ax, x, y), 1):
        ax.annotate(str(number), (x[row], y[row]), xytext=(5, 5), textcoords="offset points",
                    fontsize=8.5, fontweight="bold", color=SERIES_COLORS[0], zorder=5,
                    path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
        handle = Line2D([], [], ls="", marker=_digits(number), ms=6, mew=0.3,
                        color=SERIES_COLORS[0])  # fmt: skip
        handle.set_label(_told(front.iloc[row], keys))
        handles.append(handle)
    return handles


def _differing(front: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Return the keys of which the rows have several values; all keys of a single row."""
    return [key for key in keys if front[key].nunique(dropna=False) > 1 or len(front) == 1]


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
    kept = np.linspace(0, len(found) - 1, min(MOST_NAMED, len(found))).round().astype(int)
    return [found[each] for each in np.unique(kept).tolist()]


def _digits(number: int) -> Any:
    """Return a number as the shape of a marker; "$1$" would take ten times as long."""
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    shape = TextPath((0, 0), str(number))
    box = shape.get_extents()
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    return Path(np.asarray(shape.vertices) - middle, shape.codes)


def _told(row: pd.Series[Any], keys: Sequence[str]) -> str:
    """Return the keys of a row in lines of a legend."""
    words = [f"{short_name(key)} {value_text(_whole(row[key]))}" for key in keys]
    joined = ", ".join(word.replace(" ", _TIED) for word in words)
    told = textwrap.wrap(joined, 36, max_lines=4, placeholder=" …", break_on_hyphens=False)
    return "\n".join(told).replace(_TIED, " ")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
