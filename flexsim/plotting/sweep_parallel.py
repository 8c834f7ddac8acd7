"""Parallel coordinates: an axis a key, a line a configuration, of the best ones."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import fits_of, value_text, values_of
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import TEXT_COLOR
from flexsim.plotting.sweep_axes import MUTED, nothing_to_draw, number_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

NUM_BEST = 20
"""So many configurations are drawn unless told otherwise."""
RANK = "rank"
_MOST_TICKS = 16
_MOST_LETTERS = 16
_SPREAD = 0.035
"""How far lines that share a value of a key are drawn apart, of the height."""


def parallel_table(
    results: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str], best: int = NUM_BEST
) -> pd.DataFrame:
    """Return the ``best`` rows that fit in memory by the first metric, the best one first.

    Columns: ``rank`` (1 is the best), the keys, the metrics. A key is categorical, so that its
    axis has all values of ``results``, also those of no good configuration.
    """
    import pandas as pd

    known = results[results[list(metrics)].notna().all(axis=1) & fits_of(results)]
    is_larger_better = quantity_of(metrics[0]).is_larger_better
    ranked = known.sort_values(metrics[0], ascending=not is_larger_better, kind="stable")
    ranked = ranked.head(best)[[*keys, *metrics]].reset_index(drop=True)
    for key in keys:
        ranked[key] = pd.Categorical(ranked[key], values_of(results[key]))
    ranked.insert(0, RANK, range(1, len(ranked) + 1))
    return ranked


def draw_parallel(
    table: pd.DataFrame, ax: Axes, *, keys: Sequence[str], metrics: Sequence[str]
) -> None:
    """Draw a :func:`parallel_table` on ``ax``: an axis a key, then an axis a metric.

    Values of a key stand at equal distances, numbers in order; metrics are to scale. The best
    line is the darkest; lines that share a value pass it side by side.
    """
    columns = [*keys, *metrics]
    ax.set_xlim(-0.15, max(len(columns) - 1, 1) + 0.15)
    ax.set_ylim(-0.06, 1.06)
    ax.axis("off")
    if table.empty:
        nothing_to_draw(ax)
        return
    heights = [
        _key_axis(ax, place, table[name]) if name in keys else _metric_axis(ax, place, table[name])
        for place, name in enumerate(columns)
    ]
    _draw_lines(ax, np.column_stack(heights))


def line_colors(number: int) -> NDArray[np.float64]:
    """Return the colours of so many lines, the best one first and darkest."""
    import matplotlib as mpl

    return np.asarray(mpl.colormaps["cividis"](np.linspace(0.0, 0.92, max(number, 1))))


def _draw_lines(ax: Axes, heights: NDArray[np.float64]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    colors = line_colors(len(heights))
    for number in reversed(range(len(heights))):
        corners, codes = _curve(heights[number])
        width_pt = 2.4 if number == 0 else 1.3
        ax.add_patch(PathPatch(Path(corners, codes), fill=False, ec=colors[number], lw=width_pt,
                               capstyle="round", zorder=3 - number / len(heights)))  # fmt: skip


def _curve(heights: NDArray[np.float64]) -> tuple[list[tuple[float, float]], list[Any]]:
    """Return a smooth path through the axes, level where it crosses each."""
    from matplotlib.path import Path

    corners = [(0.0, float(heights[0]))]
    for place, (before, after) in enumerate(pairwise(heights)):
        corners += [(place + 0.4, before), (place + 0.6, after), (place + 1.0, after)]
    return corners, [Path.MOVETO, *[Path.CURVE4] * (len(corners) - 1)]


def _key_axis(ax: Axes, place: int, column: pd.Series[Any]) -> NDArray[np.float64]:
    """Draw the axis of a key; return the height at which each row crosses it."""
    values = values_of(column)
    steps = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
    height = dict(zip(values, steps, strict=True))
    every = max(1, -(-len(values) // _MOST_TICKS))
    ticks = [(height[value], value_text(value)) for value in values[::every]]
    _draw_axis(ax, place, quantity_of(str(column.name)).axis_label, ticks)
    plain = column.astype(object)
    at = plain.map(height).fillna(-0.04).to_numpy(float)
    room = min(_SPREAD, 0.35 / max(len(values), 1))
    groups = plain.groupby(plain.map(value_text))
    ordinal, of_all = groups.cumcount().to_numpy(), groups.transform("size").to_numpy(float)
    share = np.where(of_all > 1, ordinal / np.maximum(of_all - 1, 1) - 0.5, 0.0)
    return at - room * share


def _metric_axis(ax: Axes, place: int, column: pd.Series[float]) -> NDArray[np.float64]:
    """Draw the axis of a metric, to scale; return the height of each row on it."""
    quantity = quantity_of(str(column.name))
    numbers = column.to_numpy(float) * quantity.scale
    least, most = float(numbers.min()), float(numbers.max())
    span = most - least or abs(most) or 1.0
    shown = np.linspace(least, most, 5 if most > least else 1).tolist()
    ticks = [((each - least) / span, number_text(each)) for each in shown]
    _draw_axis(ax, place, quantity.axis_label, ticks)
    return np.asarray((numbers - least) / span, np.float64)


def _draw_axis(ax: Axes, place: int, label: str, ticks: Sequence[tuple[float, str]]) -> None:
    from matplotlib.patheffects import withStroke

    ax.plot([place, place], [-0.03, 1.03], color=MUTED, lw=0.9, zorder=3.5)
    ax.annotate(textwrap.fill(label, 14), (place, 1.03), xytext=(0, 6), ha="center", va="bottom",
                textcoords="offset points", fontsize=9, color=TEXT_COLOR,
                annotation_clip=False)  # fmt: skip
    halo = [withStroke(linewidth=3, foreground="white")]
    for height, text in ticks:
        short = text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
        ax.annotate(short, (place, height), xytext=(4, 0), textcoords="offset points",
                    va="center_baseline", fontsize=8, color=TEXT_COLOR, zorder=4,
                    path_effects=halo)  # fmt: skip
