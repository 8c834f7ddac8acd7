"""Memory of a run against time: a line a rank or a map of many, and the fullest rank's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.memory import PART_COLORS
from flexsim.plotting.memory_columns import highest_columns
from flexsim.reports.parts import Figure, Spec
from flexsim.reports.style import CYCLE, SEQUENTIAL, axis, layout, time_unit, with_legend
from flexsim.task_graph.columns import Int64
from flexsim.timeline.memory import PARTS
from flexsim.timeline.memory_series import DeviceSeries
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = len(CYCLE)
"""Ranks that have a line each; more are told by a map."""
_NUM_COLUMNS = 600
_GIB = 2**30
_CAPACITY_COLOR = "#B80000"
_COARSE = f"Each of {_NUM_COLUMNS} steps shows the highest moment within it."


def device_series(table: pd.DataFrame) -> list[DeviceSeries]:
    """Return the rows of ``memory.csv``, rank by rank."""
    return [
        DeviceSeries(
            device=int(rows["device"].iloc[0]),
            rank=int(str(rank)),
            time_ns=rows["time_ns"].to_numpy(np.int64),
            parts=rows[list(PARTS)].to_numpy(np.int64),
        )
        for rank, rows in table.groupby("rank", sort=True)
    ]


def memory_figures(series: list[DeviceSeries], end_ns: int, capacity_bytes: int) -> list[Figure]:
    """Return what every rank's fullest device holds, and the parts of the fullest of all."""
    fullest = max(series, key=lambda one: int(one.total.max()))
    draw = _lines if len(series) <= MOST_LINES else _map
    return [draw(series, end_ns, capacity_bytes), _parts(fullest, end_ns, capacity_bytes)]


def _lines(series: list[DeviceSeries], end_ns: int, capacity_bytes: int) -> Figure:
    times, unit = _times(end_ns)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": times,
            "y": _gib(_totals(one, end_ns)),
            "line": {"shape": "hv", "width": 1.6, "color": CYCLE[number]},
            "name": f"rank {one.rank}",
        }
        for number, one in enumerate(series)
    ]
    peak_bytes = max(int(one.total.max()) for one in series)
    spec = {"data": traces, "layout": _layout(unit, capacity_bytes, peak_bytes)}
    caption = f"The fullest device of every pipeline rank; dashed: its capacity. {_COARSE}"
    return Figure("memory-figure", "Memory of every rank against time", spec, 380, caption)


def _map(series: list[DeviceSeries], end_ns: int, capacity_bytes: int) -> Figure:
    times, unit = _times(end_ns)
    trace = {
        "type": "heatmap",
        "x": times,
        "y": [one.rank for one in series],
        "z": [_gib(_totals(one, end_ns)) for one in series],
        "colorscale": SEQUENTIAL,
        "colorbar": {"title": {"text": "GiB"}, "thickness": 14, "outlinewidth": 0},
        "hovertemplate": f"%{{z:.1f}} GiB<br>rank %{{y}}, %{{x:.4g}} {unit}<extra></extra>",
    }
    rank_axis = axis("rank", autorange="reversed", showgrid=False)
    shape = layout(xaxis=axis(f"time ({unit})", showgrid=False), yaxis=rank_axis)
    caption = (
        "Memory of the fullest device of every pipeline rank, of "
        f"{capacity_bytes / _GIB:.4g} GiB. {_COARSE}"
    )
    spec = {"data": [trace], "layout": shape}
    return Figure("memory-figure", "Memory of every rank against time", spec, 460, caption)


def _parts(one: DeviceSeries, end_ns: int, capacity_bytes: int) -> Figure:
    times, unit = _times(end_ns)
    parts = highest_columns(one, end_ns, _NUM_COLUMNS)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": times,
            "y": _gib(parts[:, PARTS.index(part)]),
            "stackgroup": "parts",
            "line": {"shape": "hv", "width": 0, "color": color},
            "fillcolor": color,
            "name": part,
            "hovertemplate": f"%{{y:.2f}} GiB {part}<extra></extra>",
        }
        for part, color in PART_COLORS.items()
        if parts[:, PARTS.index(part)].any()
    ]
    spec = {"data": traces, "layout": _layout(unit, capacity_bytes, int(one.total.max()))}
    caption = f"What device {one.device} of rank {one.rank} holds, the fullest of all. {_COARSE}"
    return Figure("memory-parts", "Parts of the fullest device's memory", spec, 400, caption)


def _layout(unit: str, capacity_bytes: int, peak_bytes: int) -> Spec:
    """Return axes high enough for the capacity, and the line that marks it."""
    most_gib = 1.1 * max(capacity_bytes, peak_bytes) / _GIB
    line = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": capacity_bytes / _GIB,
        "y1": capacity_bytes / _GIB, "line": {"color": _CAPACITY_COLOR, "dash": "dash"},
        "label": {"text": f"capacity {capacity_bytes / _GIB:.4g} GiB", "textposition": "end",
                  "yanchor": "top", "font": {"color": _CAPACITY_COLOR}},
    }  # fmt: skip
    return layout(
        xaxis=axis(f"time ({unit})", hoverformat=".4g"),
        yaxis=axis("memory of a device (GiB)", range=[0, most_gib], hoverformat=".2f"),
        shapes=[line],
        hovermode="x unified",
        **with_legend(),
    )


def _times(end_ns: int) -> tuple[list[float], str]:
    """Return where the columns begin, and the unit of these times."""
    factor_s, unit = time_unit(end_ns / NS_PER_S)
    starts = np.arange(_NUM_COLUMNS) * (end_ns / NS_PER_S / factor_s / _NUM_COLUMNS)
    return [float(f"{start:.6g}") for start in starts.tolist()], unit


def _totals(one: DeviceSeries, end_ns: int) -> Int64:
    totals: Int64 = highest_columns(one, end_ns, _NUM_COLUMNS).sum(axis=1)
    return totals


def _gib(num_bytes: Int64) -> list[float]:
    rounded: list[float] = np.round(num_bytes / _GIB, 4).tolist()
    return rounded
