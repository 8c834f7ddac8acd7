"""Heat maps: a metric over two keys, its value in every cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.points import FITS, best_points, values_of
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import TEXT_COLOR, text_color_on
from flexsim.plotting.sweep_axes import MUTED, category_axis, nothing_to_draw, number_text
from flexsim.plotting.sweep_lines import turn_long_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

RAMP = ("#F2F7FB", "#0072B2")
"""The colours of the lowest and the highest value."""
_LEAST_CELL_IN = 0.62
_MOST_IN = 15.0
_TEXT_PT, _LEAST_TEXT_PT = 8.5, 4.5


def heat_map_table(results: pd.DataFrame, x: str, y: str, value: str) -> pd.DataFrame:
    """Return the cells of a heat map: columns ``x``, ``y``, ``value``, ``fits_memory``.

    Where several configurations share a cell, the best of those that fit in memory stands for
    them, or the best of all where none fits.
    """
    best = best_points(results, [x, y], value)
    return best[[*dict.fromkeys([x, y, value, FITS])]].reset_index(drop=True)


def draw_heat_map(table: pd.DataFrame, ax: Axes, *, x: str, y: str, value: str) -> None:
    """Draw a :func:`heat_map_table` on ``ax``: columns ``x``, rows ``y`` from below.

    Cells that do not fit in memory are hollow, cells without a configuration empty.
    """
    across, up = values_of(table[x]), values_of(table[y])
    numbers, fits = _grids(table, (x, across), (y, up), value)
    category_axis(ax.xaxis, x, across)
    category_axis(ax.yaxis, y, up)
    turn_long_names(ax)
    ax.set_xlim(-0.5, max(len(across), 1) - 0.5)
    ax.set_ylim(-0.5, max(len(up), 1) - 0.5)
    ax.tick_params(length=0, labelsize=9, colors=TEXT_COLOR)
    ax.spines[:].set_visible(False)
    if table.empty:
        nothing_to_draw(ax)
        return
    _draw_cells(ax, numbers, fits, quantity_of(value).axis_label)


def _grids(
    table: pd.DataFrame, across: tuple[str, Sequence[Any]], up: tuple[str, Sequence[Any]],
    value: str,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Return the numbers in their unit, NaN where there is none, and whether they fit."""
    columns = {each: place for place, each in enumerate(across[1])}
    rows = {each: place for place, each in enumerate(up[1])}
    numbers = np.full((len(rows), len(columns)), np.nan)
    fits = np.zeros(numbers.shape, bool)
    row, column = (
        table[name].astype(object).map(place).to_numpy(int)
        for name, place in ((up[0], rows), (across[0], columns))
    )
    numbers[row, column] = table[value].to_numpy(float) * quantity_of(value).scale
    fits[row, column] = table[FITS].to_numpy(bool)
    return numbers, fits


def _draw_cells(
    ax: Axes, numbers: NDArray[np.float64], fits: NDArray[np.bool_], label: str
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("flexsim", RAMP)
    shown = np.where(fits, numbers, np.nan)
    least, most = _range(shown)
    edges = [np.arange(size + 1) - 0.5 for size in numbers.shape[::-1]]
    mesh = ax.pcolormesh(*edges, np.ma.masked_invalid(shown), cmap=ramp, vmin=least, vmax=most,
                         edgecolors="white", linewidth=2)  # fmt: skip
    if fits.any():
        slender = 6.0 * float(ax.get_figure(root=True).get_size_inches()[1])  # type: ignore[union-attr]
        bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=slender, shrink=0.9)
        bar.set_label(label, color=TEXT_COLOR)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=9, colors=TEXT_COLOR)
    told = _texts(numbers)
    size_pt = _text_pt(ax, told)
    for row, column in np.argwhere(np.isfinite(numbers)).tolist():
        rgb = np.array(ramp((numbers[row, column] - least) / (most - least))[:3])
        color = text_color_on(rgb) if fits[row, column] else MUTED
        _draw_number(ax, (column, row), (told[row][column], size_pt), color, fits[row, column])


def _range(shown: NDArray[np.float64]) -> tuple[float, float]:
    """Return the least and the most, never equal; of one value only, that it is the most."""
    if not np.isfinite(shown).any():
        return 0.0, 1.0
    least, most = float(np.nanmin(shown)), float(np.nanmax(shown))
    return (least, most) if most > least else (least - (abs(least) or 1.0), most)


def _draw_number(
    ax: Axes, at: tuple[int, int], shown: tuple[str, float], color: str, fits: bool
) -> None:
    from matplotlib.patches import Rectangle

    text, size_pt = shown
    if not fits:
        corner = (at[0] - 0.47, at[1] - 0.46)
        ax.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, ec="#C8C8C8", lw=0.8))
    if size_pt >= _LEAST_TEXT_PT:
        ax.text(*at, text, ha="center", va="center_baseline", fontsize=size_pt,
                color=color)  # fmt: skip


def _texts(numbers: NDArray[np.float64]) -> list[list[str]]:
    """Return the texts of the cells, with as many decimals everywhere as the numbers need."""
    largest = float(np.nanmax(np.abs(numbers)))
    if largest >= 1e4:
        return [[number_text(each) for each in row] for row in numbers.tolist()]
    is_whole = bool((numbers[np.isfinite(numbers)] % 1 == 0).all())
    decimals = 0 if is_whole or largest >= 1000 else 1 if largest >= 10 else 2
    return [[f"{each:.{decimals}f}" for each in row] for row in numbers.tolist()]


def _text_pt(ax: Axes, told: Sequence[Sequence[str]]) -> float:
    """Return the size at which the longest text fits its cell, in points."""
    letters = max(len(each) for row in told for each in row)
    figure = ax.get_figure(root=True)
    width_in = float(figure.get_size_inches()[0]) * 0.78 if figure else 1.0
    cell_pt = 72 * width_in / max(len(told[0]), 1)
    return min(_TEXT_PT, 0.85 * cell_pt / (0.62 * letters))


def size_of_heat_map(num_columns: int, num_rows: int) -> tuple[float, float]:
    """Return the width and the height of a figure, in inches, in which the numbers fit."""
    width_in = min(max(6.4, 2.4 + _LEAST_CELL_IN * num_columns), _MOST_IN)
    height_in = min(max(3.2, 1.7 + 0.42 * num_rows), _MOST_IN)
    return width_in, height_in
