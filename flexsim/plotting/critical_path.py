"""The critical path on the bubble timeline: the path in full colour, all else pale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.bars import BAR_CODE, Bars
from flexsim.plotting.bubble_table import BAR_OF_ACTION, bubble_bars, chunks_of
from flexsim.plotting.bubbles import (
    bar_colors,
    bar_corners,
    draw_bubbles,
    num_chunks_of,
    titled_figure,
)
from flexsim.plotting.saving import save_figure
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.timeline.critical_path import CriticalPath
from flexsim.timeline.critical_path_table import Runs, runs_of
from flexsim.timeline.memory import ranks_of
from flexsim.timeline.spans import Timeline, of_action
from flexsim.units import NS_PER_S, format_seconds

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PALE = 0.72
_MOST_KINDS = 5
_BAR_OF_TASK = np.array([BAR_CODE.get(kind, BAR_CODE["communication"]) for kind in TASK_KINDS])
_LINE_COLOR = "#C00000"
_ABOVE_TEXT = 3.5


def path_bars(timeline: Timeline, path: CriticalPath) -> Bars:
    """Return a bar a run of the path, on its rank; runs outside actions on their device's."""
    runs, graph = runs_of(path), path.task_graph
    computes = (runs.action >= 0) & (runs.kind < NUM_COMPUTE_KINDS)
    bar = of_action(runs.action, BAR_OF_ACTION[graph.actions.kind])
    return Bars(
        rank=_ranks(timeline, runs),
        kind=np.where(computes, bar, _BAR_OF_TASK[runs.kind]),
        stage=of_action(runs.action, graph.actions.stage),
        microbatch=of_action(runs.action, graph.actions.microbatch),
        chunk=of_action(runs.action, chunks_of(graph)),
        start_s=runs.start_ns / NS_PER_S,
        end_s=runs.end_ns / NS_PER_S,
    )


def _ranks(timeline: Timeline, runs: Runs) -> Int64:
    """Return the rank of every run's action, or where it has none that of its device."""
    devices, ranks = ranks_of(timeline)
    if not len(devices):
        return runs.rank
    row = np.searchsorted(devices, runs.device).clip(max=len(devices) - 1)
    return np.where(runs.rank >= 0, runs.rank, ranks[row])


def draw_critical_path(table: pd.DataFrame | Bars, path: pd.DataFrame | Bars, ax: Axes) -> None:
    """Draw a bubble table pale on ``ax``, and above it the bars of :func:`path_bars`.

    A line joins the bars of the path in order of time.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Rectangle

    bars = table if isinstance(table, Bars) else Bars.of(table)
    path = path if isinstance(path, Bars) else Bars.of(path)
    draw_bubbles(bars, ax)
    unit_s = float(bars.end_s.max(initial=0.0)) / ax.get_xlim()[1] or 1.0
    cover = Rectangle((0, 0), 1, 1, transform=ax.transAxes, facecolor="white", edgecolor="none",
                      alpha=_PALE, zorder=_ABOVE_TEXT)  # fmt: skip
    ax.add_patch(cover)
    row = np.searchsorted(np.unique(bars.rank), path.rank)
    corners = bar_corners(path, row, 0.42) / np.array([unit_s, 1.0])
    colors = bar_colors(path, max(num_chunks_of(bars), num_chunks_of(path)))
    shapes = PolyCollection(list(corners), facecolors=colors, zorder=_ABOVE_TEXT + 0.1)
    ax.add_collection(shapes, autolim=False)
    times = np.column_stack([path.start_s, path.end_s]).ravel() / unit_s
    ax.plot(times, np.repeat(row, 2), color=_LINE_COLOR, linewidth=1.1, zorder=_ABOVE_TEXT + 0.2,
            solid_joinstyle="round")  # fmt: skip


def critical_path_figure(timeline: Timeline, path: CriticalPath, title: str) -> Figure:
    """Return the picture of a critical path, with its time by kind under the title."""
    bars = bubble_bars(timeline)
    lines = path_bars(timeline, path)
    told = _kinds_text(path)
    return titled_figure(bars, title, told, lambda ax: draw_critical_path(bars, lines, ax))


def save_critical_path(timeline: Timeline, path: CriticalPath, title: str, file: Path) -> None:
    """Write ``critical_path.png``, or another file whose ending says its format."""
    save_figure(critical_path_figure(timeline, path, title), file)


def _kinds_text(path: CriticalPath) -> str:
    """Return "critical path (red line): forward 4.01 s · tensor 1.34 s · …", the longest first."""
    times = sorted(path.time_by_kind().items(), key=lambda each: -each[1])
    parts = [f"{kind} {format_seconds(ns / NS_PER_S)}" for kind, ns in times[:_MOST_KINDS]]
    others_ns = sum(ns for _, ns in times[_MOST_KINDS:])
    others = [f"others {format_seconds(others_ns / NS_PER_S)}"] if others_ns else []
    return "critical path (red line): " + " · ".join([*parts, *others])
