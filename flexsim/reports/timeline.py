"""Zoomable timelines: a row a rank or device, a bar an action, packed as arrays."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.plotting.style import KIND_COLORS, kind_rgb, text_color_on, tint
from flexsim.reports.parts import Figure, Spec, Swatch
from flexsim.reports.style import axis, layout, time_unit
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

MOST_BARS = 150_000
"""With more, rows are left out: a page should open quickly."""
_MOST_TICKS = 2**32 - 1
_MOST_LABELS = 32


@dataclass(frozen=True)
class Frame:
    """What a timeline stands in."""

    name: str
    """Its id on the page."""
    row_name: str
    """What a row is: "rank" or "device"."""
    end_ns: int
    low_kinds: Sequence[str] = ()
    """Kinds that are drawn as low bars below the others of their row."""


def thinned(table: pd.DataFrame, most_bars: int = MOST_BARS) -> tuple[pd.DataFrame, int]:
    """Return the bars of every n-th row, and n: the least that leaves ``most_bars`` or one row."""
    rows, counts = np.unique(table["row"].to_numpy(), return_counts=True)
    every = 1
    while every < len(rows) and counts[::every].sum() > most_bars:
        every += 1
    return table[table["row"].isin(rows[::every])], every


def timeline_figure(table: pd.DataFrame, frame: Frame, caption: str) -> Figure:
    """Return the figure of a table ``row, kind, stage, microbatch, chunk, start_ns, end_ns``.

    Idle bars are left out: they are the background.
    """
    busy = table[table["kind"] != "idle"]
    shown, every = thinned(busy)
    shown = shown.sort_values(["row", "start_ns"], kind="stable")
    rows = np.unique(shown["row"].to_numpy())
    spec, legend = _spec(shown, rows, frame)
    height_px = int(np.clip(26 * len(rows), 150, 620)) + 84
    left_out = f" Every {every}th {frame.row_name} is shown, from the first." if every > 1 else ""
    label = f"Timeline of {len(rows)} {frame.row_name}s"
    told = f"{caption} {_HOW}{left_out}"
    return Figure(frame.name, label, spec, height_px, told, legend, "timeline")


_HOW = (
    "Drag to zoom, double-click to see all. Where too many bars are in view, every column has the "
    "colour of what fills most of it; zoom in to see single bars and point at one to read it."
)


def _spec(table: pd.DataFrame, rows: NDArray[np.int64], frame: Frame) -> tuple[Spec, list[Swatch]]:
    factor_s, unit = time_unit(frame.end_ns / NS_PER_S)
    tick_ns = -(-max(frame.end_ns, 1) // _MOST_TICKS)
    codes, palette, legend = _palette(table, frame.low_kinds)
    spec = {
        "start": _packed(table["start_ns"] // tick_ns, np.uint32),
        "end": _packed(table["end_ns"] // tick_ns, np.uint32),
        "color": _packed(codes, np.uint16),
        "number": _packed(table["microbatch"], np.int32),
        "stage": _packed(table["stage"], np.int32),
        "first_of_row": [*np.searchsorted(table["row"].to_numpy(), rows).tolist(), len(table)],
        "rows": rows.tolist(),
        "row_name": frame.row_name,
        "tick": tick_ns / NS_PER_S / factor_s,
        "unit_s": factor_s,
        "end_time": frame.end_ns / NS_PER_S / factor_s,
        "palette": palette,
        "has_low": bool(frame.low_kinds),
        "layout": _layout(rows, frame.row_name, unit),
    }
    return spec, legend


def _packed(values: pd.Series[int] | NDArray[np.int64], dtype: type[np.integer]) -> str:
    """Return numbers in base64, as the page's script reads them: the lowest byte first."""
    numbers = np.asarray(values).astype(np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(numbers.tobytes()).decode()


def _palette(
    table: pd.DataFrame, low_kinds: Sequence[str]
) -> tuple[NDArray[np.int64], list[Spec], list[Swatch]]:
    """Return the colour of every bar as a position, the colours, and the legend of kinds."""
    keys = table[["kind", "chunk"]].assign(chunk=table["chunk"].clip(lower=0))
    num_chunks = int(keys["chunk"].max()) + 1 if len(keys) else 1
    group = keys.groupby(["kind", "chunk"], sort=True)
    firsts = keys.loc[group.head(1).index].sort_values(["kind", "chunk"])
    pairs = list(zip(firsts["kind"].tolist(), firsts["chunk"].tolist(), strict=True))
    palette = [
        _color(kind, tint(kind_rgb(kind), chunk, num_chunks), low_kinds) for kind, chunk in pairs
    ]
    kinds = [kind for kind in KIND_COLORS if any(kind == each for each, _ in pairs)]
    legend = [Swatch(_name(kind, low_kinds), _hex(kind_rgb(kind))) for kind in kinds]
    return group.ngroup().to_numpy().astype(np.int64), palette, legend


def _color(kind: str, rgb: NDArray[np.float64], low_kinds: Sequence[str]) -> Spec:
    colors = {"color": _hex(rgb), "text_color": text_color_on(rgb)}
    return {"name": _name(kind, low_kinds), "is_low": kind in low_kinds, **colors}


def _name(kind: str, low_kinds: Sequence[str]) -> str:
    """Return what a kind is called; without a line of its own only what is exposed is drawn."""
    is_exposed = kind == "communication" and kind not in low_kinds
    return f"exposed {kind}" if is_exposed else kind


def _hex(rgb: NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb.tolist())


def _layout(rows: NDArray[np.int64], row_name: str, unit: str) -> Spec:
    every = -(-len(rows) // _MOST_LABELS)
    ticks = list(range(0, len(rows), every))
    labels = {"tickvals": ticks, "ticktext": [str(rows[tick]) for tick in ticks]}
    return layout(
        barmode="overlay",
        plot_bgcolor="#ececec",
        xaxis=axis(f"time ({unit})", showgrid=False),
        yaxis=axis(row_name, showgrid=False, **labels),
        margin={"l": 64, "r": 16, "t": 28, "b": 52},
    )
