"""Figures of a sweep: time against utilization, the Pareto front, and maps of splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from flexsim.plotting.quantities import quantity_of
from flexsim.reports.parts import Figure, Part, Spec
from flexsim.reports.style import (
    CYCLE,
    axis,
    escaped,
    layout,
    log_scale,
    time_unit,
    with_legend,
)
from flexsim.reports.sweep_table import MEMORY, MFU, TIME, Results
from flexsim.scenario.report_cells import percent
from flexsim.sweep.columns import OK, STATUS
from flexsim.sweep.equal_work import keys_of_work
from flexsim.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

MOST_POINTS = 3000
"""Points of a colour; of more, those of the shortest iterations are shown."""
_GIB = 2**30
_WIDE = 8.0
"""What differs by more than this stands on a logarithmic axis."""
_MAPPED = ("strategy.tensor", "strategy.pipeline")
_GREY, _DARK, _ACCENT = "#9A9A9A", "#6B6B6B", "#0072B2"


def scatter_figure(results: Results) -> list[Part]:
    """Return iteration time against MFU, coloured by a key of few values; nothing without MFU."""
    rows = results.fitting
    if not len(rows) or MFU not in rows or not rows[MFU].notna().any():
        return []
    key = _key_of_colors(results, rows)
    factor_s, unit = _unit(results)
    shown = rows.head(MOST_POINTS)
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": (own[TIME] / factor_s).tolist(),
            "y": (100 * own[MFU]).tolist(),
            "name": name,
            "marker": {"color": color, "size": 7, "opacity": 0.75},
            "customdata": _told(results, own),
            "hovertemplate": "%{customdata}<extra></extra>",
        }
        for name, color, own in _groups(shown, key)
    ]
    shape = layout(
        xaxis=_time_axis(rows, factor_s, unit),
        yaxis=axis("model FLOP utilization, MFU (%)", rangemode="tozero"),
        **(with_legend() if key else {}),
    )
    colors = f" Coloured by {key}." if key else ""
    caption = (
        f"Configurations that fit in memory; point at one to read it.{colors}"
        f"{_left_out(results, rows, rows[STATUS] == OK)}"
    )
    spec = {"data": traces, "layout": shape}
    label = "Iteration time against utilization"
    return [Figure("scatter-figure", label, spec, 440, caption)]


def _key_of_colors(results: Results, rows: pd.DataFrame) -> str | None:
    """Return the first key with two to eight values, tensor degrees before all others."""
    keys = sorted(results.varying(), key=lambda key: key != _MAPPED[0])
    return next((key for key in keys if 2 <= rows[key].nunique() <= len(CYCLE)), None)


def _groups(rows: pd.DataFrame, key: str | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield name, colour and rows of every value of a key, or all rows as one."""
    if key is None:
        yield "", _ACCENT, rows
        return
    for number, (value, own) in enumerate(rows.groupby(key, sort=True)):
        yield escaped(f"{key} = {_plain(value)}"), CYCLE[number], own


def front_figure(results: Results, fronts: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Return iteration time against peak memory, with the Pareto fronts as lines of steps."""
    rows = results.simulated
    rows = rows[rows[MEMORY].notna()]
    factor_s, unit = _unit(results)
    fits = rows[STATUS] == OK
    traces = [
        _points(results, rows[~fits].head(MOST_POINTS), factor_s, ("does not fit", _DARK, "x")),
        _points(results, rows[fits].head(MOST_POINTS), factor_s, ("fits", _GREY, "circle")),
        *_front_traces(results, fronts, factor_s),
    ]
    work = " and ".join(keys_of_work(results.varying()))
    shape = layout(
        xaxis=_time_axis(rows, factor_s, unit),
        yaxis=axis("peak memory of a device (GiB)", **_scale(rows[MEMORY] / _GIB)),
        **with_legend(escaped(work) if fronts else ""),
    )
    each = f" A front for each {work}: iterations of less work are quicker."
    each = each if work and fronts else ""
    caption = (
        "Down and left is better; point at a configuration to read it."
        f"{each}{_left_out(results, rows, fits)}"
    )
    spec = {"data": [one for one in traces if one["x"]], "layout": shape}
    return Figure("front-figure", "Iteration time against peak memory", spec, 440, caption)


def _front_traces(
    results: Results, fronts: Sequence[tuple[str, pd.DataFrame]], factor_s: float
) -> Iterator[Spec]:
    """Yield a line a front; where they are more than colours, all look alike and one is named."""
    has_colors = len(fronts) <= len(CYCLE)
    for number, (name, front) in enumerate(fronts):
        color = CYCLE[number] if has_colors else _ACCENT
        label = escaped(name) or "Pareto front" if has_colors else "Pareto fronts"
        yield {
            **_points(results, front, factor_s, (label, color, "circle")),
            "mode": "lines+markers",
            "line": {"color": color, "shape": "hv", "width": 2},
            "legendgroup": label,
            "showlegend": has_colors or number == 0,
        }


def _points(
    results: Results, rows: pd.DataFrame, factor_s: float, look: tuple[str, str, str]
) -> Spec:
    name, color, symbol = look
    return {
        "type": "scatter",
        "mode": "markers",
        "x": (rows[TIME] / factor_s).tolist(),
        "y": (rows[MEMORY] / _GIB).tolist(),
        "name": name,
        "marker": {"color": color, "symbol": symbol, "size": 7},
        "customdata": _told(results, rows),
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def map_figures(results: Results) -> list[Part]:
    """Return the best MFU of every tensor and pipeline degree, where both vary."""
    rows = results.fitting
    if MFU not in rows or not rows[MFU].notna().any() or not set(_MAPPED) <= {*results.varying()}:
        return []
    best = rows.pivot_table(index=_MAPPED[0], columns=_MAPPED[1], values=MFU, aggfunc="max")
    tensor, pipeline = (sorted(results.rows[key].dropna().unique()) for key in _MAPPED)
    best = best.reindex(index=tensor, columns=pipeline)
    shares = 100 * best
    text = [["" if pd.isna(each) else f"{each:.1f}" for each in row] for row in shares.to_numpy()]
    trace = {
        "type": "heatmap",
        "x": [_plain(each) for each in best.columns],
        "y": [_plain(each) for each in best.index],
        "z": [[None if pd.isna(each) else each for each in row] for row in shares.to_numpy()],
        "text": text,
        "texttemplate": "%{text}",
        "colorscale": [[0, "#F2F7FB"], [1, _ACCENT]],
        "colorbar": {"title": {"text": "MFU (%)"}, "thickness": 14, "outlinewidth": 0},
        "hovertemplate": "tensor %{y}, pipeline %{x}: %{text} %<extra></extra>",
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    shape = layout(
        xaxis=axis("pipeline degree", type="category", showgrid=False),
        yaxis=axis("tensor degree", type="category", showgrid=False),
    )
    others = [key for key in results.varying() if key not in _MAPPED]
    best_of = f", the best of {', '.join(others)}" if others else ""
    caption = f"MFU of configurations that fit{best_of}; white: none fits."
    height_px = 140 + max(46 * len(best), 160)
    label = "MFU by tensor and pipeline degree"
    return [Figure("map-figure", label, {"data": [trace], "layout": shape}, height_px, caption)]


def _unit(results: Results) -> tuple[float, str]:
    return time_unit(float(results.simulated[TIME].median()))


def _time_axis(rows: pd.DataFrame, factor_s: float, unit: str) -> Spec:
    return axis(f"iteration time ({unit})", **_scale(rows[TIME] / factor_s))


def _scale(values: pd.Series[float]) -> Spec:
    least, most = float(values.min()), float(values.max())
    return log_scale(least, most) if most > _WIDE * least > 0 else {"rangemode": "tozero"}


def _left_out(results: Results, rows: pd.DataFrame, fits: pd.Series[bool]) -> str:
    """Return which points are not drawn, where there are too many that fit or do not."""
    if fits.value_counts().max() <= MOST_POINTS:
        return ""
    return (
        f" Of {len(rows):,} configurations the best by {quantity_of(results.ranked_by).label} are"
        f" drawn, at most {MOST_POINTS:,} that fit and as many that do not."
    )


def _told(results: Results, rows: pd.DataFrame) -> list[str]:
    """Return what a configuration is and comes to, a text a row."""
    keys = results.varying()
    metrics = [name for name in (MFU, MEMORY) if name in rows]
    records = rows[[*keys, STATUS, TIME, *metrics]].to_dict("records")
    return [_description(row, keys) for row in records]


def _description(row: Mapping[Hashable, Any], keys: Sequence[str]) -> str:
    words = [escaped(f"{key} = {_plain(row[key])}") for key in keys]
    numbers = [
        told(float(row[name]))
        for name, told in ((TIME, format_seconds), (MFU, _mfu), (MEMORY, format_bytes))
        if name in row and not pd.isna(row[name])
    ]
    return "<br>".join([*words, escaped(", ".join(numbers))])


def _mfu(share: float) -> str:
    return f"MFU {percent(share)}"


def _plain(value: object) -> str:
    """Return a value, a whole number without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
