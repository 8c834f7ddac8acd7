"""Timelines of several strategies, one under the other on one time axis, a row a device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import KIND_COLORS, TEXT_COLOR
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.spans import Timeline
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_DEVICES = 16
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def device_table(timeline: Timeline) -> pd.DataFrame:
    """Return ``device, kind, start_s, end_s``: spans of each device, neighbours of a kind joined.

    Communication appears on every device that takes part in it.
    """
    import pandas as pd

    graph = timeline.task_graph
    held = graph.resources
    task = np.repeat(np.arange(graph.num_tasks), held.counts)
    kinds = np.array([_shown(kind) for kind in TASK_KINDS])
    frame = pd.DataFrame(
        {
            "device": graph.resource_table.device[held.values],
            "kind": kinds[graph.kind[task]],
            "start": timeline.start_ns[task],
            "end": timeline.end_ns[task],
        }
    ).sort_values(["device", "kind", "start", "end"], kind="stable")
    joined = _joined(frame)
    return pd.DataFrame(
        {
            "device": joined["device"],
            "kind": joined["kind"],
            "start_s": joined["start"] / NS_PER_S,
            "end_s": joined["end"] / NS_PER_S,
        }
    )


def draw_devices(table: pd.DataFrame, ax: Axes, end_s: float) -> None:
    """Draw a :func:`device_table`: computing as high bars, communication as low ones below."""
    factor, unit = next((pair for pair in _UNITS if end_s >= pair[0]), _UNITS[-1])
    devices = np.unique(table["device"])
    every = max(1, -(-len(devices) // _MOST_DEVICES))
    shown = devices[::every]
    for row, device in enumerate(shown.tolist()):
        for kind, spans in table[table["device"] == device].groupby("kind"):
            bars = np.stack([spans["start_s"], spans["end_s"] - spans["start_s"]], 1) / factor
            low = kind == "communication"
            place = (row + 0.22, 0.16) if low else (row - 0.42, 0.6)
            ax.broken_barh(bars.tolist(), place, color=KIND_COLORS[str(kind)], lw=0)
    ax.set_yticks(range(len(shown)), [str(device) for device in shown.tolist()])
    ax.set_ylim(len(shown) - 0.5, -0.6)
    ax.set_xlim(0, end_s / factor)
    ax.set_ylabel("device", color=TEXT_COLOR)
    ax.set_xlabel(f"time ({unit})", color=TEXT_COLOR)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def save_timelines(timelines: Mapping[str, Timeline], path: Path) -> Path:
    """Write the timelines, by title, one under the other, and return the path."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    tables = {title: device_table(timeline) for title, timeline in timelines.items()}
    end_s = max(float(table["end_s"].max()) for table in tables.values())
    rows = [min(_MOST_DEVICES, table["device"].nunique()) for table in tables.values()]
    figure = Figure(figsize=(12.0, 1.6 + 0.32 * sum(rows) + len(rows)), layout="constrained")
    all_axes = figure.subplots(len(tables), squeeze=False, height_ratios=[n + 2 for n in rows])
    for (title, table), ax in zip(tables.items(), all_axes[:, 0], strict=True):
        draw_devices(table, ax, end_s)
        ax.set_title(f"{title}: {_time_text(float(table['end_s'].max()))}", loc="left")
    kinds = dict.fromkeys(kind for table in tables.values() for kind in table["kind"])
    handles = [Patch(color=KIND_COLORS[kind], label=kind) for kind in KIND_COLORS if kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=7, frameon=False)
    return save_figure(figure, path)


def _shown(kind: str) -> str:
    return kind if kind in KIND_COLORS else "communication"


def _joined(frame: pd.DataFrame) -> pd.DataFrame:
    """Join spans of one device and kind that touch or overlap; the frame is sorted by them."""
    group = (frame[["device", "kind"]] != frame[["device", "kind"]].shift()).any(axis=1).cumsum()
    latest = frame.groupby(group)["end"].cummax()
    begins = frame["start"] > latest.groupby(group).shift(fill_value=-1)
    block = begins.cumsum()
    merged = frame.assign(end=latest).groupby(block, sort=False)
    return merged.agg(device=("device", "first"), kind=("kind", "first"), start=("start", "first"),
                      end=("end", "max"))  # fmt: skip


def _time_text(seconds: float) -> str:
    factor, unit = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    return f"{seconds / factor:.4g} {unit}"
