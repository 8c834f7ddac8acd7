"""Scaling curves: a metric against the number of devices, beside the ideal line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.points import FITS, best_points, fits_of
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import TEXT_COLOR
from flexsim.plotting.sweep_axes import (
    MUTED,
    Look,
    hollow_handle,
    key_axis,
    legend_beside,
    log_axis,
    nothing_to_draw,
    plain_frame,
    scaled,
    series_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]

IDEAL, EFFICIENCY = "ideal", "efficiency"
_TIME, _WORK = "iteration_time_s", "model_flops"


def scaling_table(results: pd.DataFrame, x: str, y: str, by: str | None = None) -> pd.DataFrame:
    """Return the points of scaling curves, in the order of the curves.

    Columns: ``x`` (numbers of devices), ``by`` if any, ``y``, ``ideal`` and ``efficiency``, and
    ``fits_memory``. Where several configurations share a place, the best stands for them. The
    ideal takes the fewest devices of a curve as they are: more do their work as quickly,
    each as much of it. Work is that of the column ``model_flops``, without it the same everywhere;
    so the ideal is right for a fixed model (time falls), for a batch that grows with the devices
    (time stays) and for a model that grows with them. The efficiency is how much of the ideal
    speed is left, 1 at the fewest devices.
    """
    places = list(dict.fromkeys([x, *([by] if by else [])]))
    best = best_points(results, places, y).sort_values([*places[1:], x], kind="stable")
    groups = best.groupby(by, sort=False, observed=True) if by else [("", best)]
    ideal = best[y].astype(float)
    for _, curve in groups:
        ideal.loc[curve.index] = _ideal(curve, x, y)
    ratio = best[y] / ideal
    efficiency = ratio if quantity_of(y).is_larger_better else 1 / ratio
    table = best.assign(**{IDEAL: ideal, EFFICIENCY: efficiency})
    return table[[*dict.fromkeys([*places, y, IDEAL, EFFICIENCY, FITS])]].reset_index(drop=True)


def _ideal(curve: pd.DataFrame, x: str, y: str) -> NDArray[np.float64]:
    """Return the metric if every device did as much a second as those of the first row do."""
    devices, first = _relative(curve, x), curve[y].to_numpy(float)[:1]
    times = (_relative(curve, _WORK) if _WORK in curve else 1.0) / devices
    if not quantity_of(y).is_larger_better:
        return first * times
    if _TIME not in curve:
        return first * devices
    amounts = _relative(curve, y) * _relative(curve, _TIME)
    return first * amounts / times


def _relative(curve: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column in units of its first row."""
    numbers = curve[column].to_numpy(float)
    return np.asarray(numbers / numbers[:1], np.float64)


def draw_scaling(table: pd.DataFrame, ax: Axes, *, x: str, y: str, by: str | None = None) -> None:
    """Draw a :func:`scaling_table` on ``ax``, both axes logarithmic, ideal lines dashed.

    What does not fit in memory has a hollow marker. The legend tells the efficiency at the end
    of every curve.
    """
    plain_frame(ax)
    for name, look, rows in series_of(table, by):
        across, up = scaled(rows, x), scaled(rows, y)
        ideal = rows[IDEAL].to_numpy(float) * quantity_of(y).scale
        ax.plot(across, ideal, color=look.color, lw=1.1, ls=(0, (4, 3)), alpha=0.75, zorder=1.5)
        _draw_curve(ax, (across, up), ~fits_of(rows).to_numpy(), look, _label(name, rows))
    _axes(table, ax, x, y)
    legend_beside(ax, quantity_of(by).axis_label if by else "", _handles(table))


def draw_efficiency(table: pd.DataFrame, ax: Axes, *, x: str, by: str | None = None) -> None:
    """Draw how much of the ideal each point of a :func:`scaling_table` reaches, in per cent.

    The axis begins at zero; what does not fit in memory has a hollow marker.
    """
    plain_frame(ax)
    ax.axhline(100, color=MUTED, lw=1.1, ls=(0, (4, 3)), zorder=1.5)
    for _, look, rows in series_of(table, by):
        points = scaled(rows, x), 100 * rows[EFFICIENCY].to_numpy(float)
        _draw_curve(ax, points, ~fits_of(rows).to_numpy(), look, None)
    ax.set_ylim(0, 1.12 * max(100.0, 100 * float(table[EFFICIENCY].max(skipna=True) or 0)))
    ax.set_ylabel("of the ideal (%)", color=TEXT_COLOR)
    _device_axis(ax, x, scaled(table, x))


def _label(name: str, rows: pd.DataFrame) -> str:
    """Return what the legend says of a curve: its name, and the efficiency at its end."""
    left = f"{100 * rows[EFFICIENCY].iloc[-1]:.0f} % of ideal" if len(rows) > 1 else ""
    return ", ".join(filter(None, [name, left])) or "simulated"


def _draw_curve(
    ax: Axes, points: Points, hollow: NDArray[np.bool_], look: Look, label: str | None
) -> None:
    across, up = points
    ax.plot(across, up, color=look.color, lw=1.6, ls="-", marker=look.marker, ms=5.5,
            mec="white", mew=0.6, zorder=2, label=label)  # fmt: skip
    ax.plot(across[hollow], up[hollow], ls="", marker=look.marker, ms=5.5, mfc="white",
            mec=look.color, mew=1.3, zorder=3)  # fmt: skip


def _axes(table: pd.DataFrame, ax: Axes, x: str, y: str) -> None:
    numbers, devices = scaled(table, y), scaled(table, x)
    ax.set_ylabel(quantity_of(y).axis_label, color=TEXT_COLOR)
    if table.empty:
        nothing_to_draw(ax)
        ax.set_xlabel(quantity_of(x).axis_label, color=TEXT_COLOR)
        return
    both = np.concatenate([numbers, table[IDEAL].to_numpy(float) * quantity_of(y).scale])
    log_axis(ax.yaxis, both)
    _device_axis(ax, x, devices)
    ratio = both.max() / both.min()
    room = max(1.25, ratio**0.06, (2.5 / ratio) ** 0.5)
    ax.set_ylim(both.min() / room, both.max() * room)


def _device_axis(ax: Axes, x: str, devices: NDArray[np.float64]) -> None:
    """Give the axis of devices powers of two and some room beside the first and the last."""
    ax.set_xscale("log", base=2)
    key_axis(ax.xaxis, x, devices)
    if len(devices):
        beside = max(1.15, (devices.max() / devices.min()) ** 0.03)
        ax.set_xlim(devices.min() / beside, devices.max() * beside)


def _handles(table: pd.DataFrame) -> list[object]:
    from matplotlib.lines import Line2D

    ideal = Line2D([], [], color=MUTED, lw=1.1, ls=(0, (4, 3)))
    ideal.set_label("ideal: as efficient as\nthe fewest devices")
    return [ideal, *([] if fits_of(table).all() else [hollow_handle()])]
