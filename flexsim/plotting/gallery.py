"""The schedules gallery: one small pipeline under every schedule, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexsim.errors import FlexSimError, ScheduleError
from flexsim.files import whole_file
from flexsim.plotting.bars import BAR_CODE, Bars
from flexsim.plotting.bubble_table import bubble_bars
from flexsim.plotting.bubbles import bar_colors, bar_corners
from flexsim.plotting.style import TEXT_COLOR, kind_rgb, text_color_on
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, Schedule, build_schedule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flexsim.task_graph.schedules.report import ScheduleReport

_DPI = 160
_WIDTH_IN, _ROW_IN, _ABOVE_IN = 13.0, 0.2, 0.4
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.55, 1.75, 0.55, 0.95
_NUMBER_PT = 7.0
_LEAST_DIGIT_PT = 6.0
_MUTED = "#666666"
_NAMES = {
    "forward": "forward",
    "backward": "backward, or input gradient where the weight gradient is apart",
    "weight-gradient": "weight gradient",
    "idle": "idle",
}


@dataclass(frozen=True, eq=False)
class SchedulePanel:
    """A schedule replayed on a bare pipeline of equal stages.

    Time counts forwards of a microbatch through 1/ranks of the model; a backward takes two,
    its input gradient and its weight gradient one each. Memory counts the activations of such
    a forward.
    """

    name: str
    description: str
    bars: Bars
    makespan: float
    bubble_fraction: float
    peak_in_flight: tuple[float, ...]
    """Of every rank."""


def schedule_panels(num_ranks: int = 4, num_microbatches: int = 8) -> list[SchedulePanel]:
    """Return a panel of every schedule that this pipeline can have, in the order of SCHEDULES.

    Ranks hold two chunks where the schedule allows more than one.
    """
    panels = [schedule_panel(name, num_ranks, num_microbatches) for name in SCHEDULES]
    return [panel for panel in panels if panel is not None]


def schedule_panel(name: str, num_ranks: int, num_microbatches: int) -> SchedulePanel | None:
    """Return the panel of one schedule; None where it does not fit the pipeline."""
    for num_chunks in (2, 1) if SCHEDULES[name].supports_chunks else (1,):
        shape = PipelineShape(num_ranks, num_chunks, num_microbatches)
        try:
            return _replayed(name, build_schedule(name, shape))
        except ScheduleError:
            continue
    return None


def _replayed(name: str, schedule: Schedule) -> SchedulePanel:
    """Return the panel of a schedule, its passes as long as the share of the model they take."""
    from flexsim.engine.event import simulate
    from flexsim.task_graph.columns import TaskGraph
    from flexsim.task_graph.schedules.report import schedule_report
    from flexsim.timeline.spans import Timeline

    timelines: list[Timeline] = []

    def simulate_and_keep(graph: TaskGraph) -> Timeline:
        timelines.append(simulate(graph))
        return timelines[-1]

    share = schedule.num_ranks / (schedule.stages_a_lane * schedule.num_slices)
    report = schedule_report(schedule, share, share, share, 0.0, simulate_and_keep)
    return panel_of(name, report, bubble_bars(timelines[-1]), share)


def panel_of(name: str, report: ScheduleReport, bars: Bars, share: float = 1.0) -> SchedulePanel:
    """Return the panel of a replayed schedule; one pass does ``share`` of a rank's work."""
    return SchedulePanel(
        name,
        SCHEDULES[name].description if name in SCHEDULES else "",
        bars,
        report.makespan,
        report.bubble_fraction,
        tuple(share * each for each in report.peak_in_flight),
    )


def draw_schedule(table: pd.DataFrame | Bars, ax: Axes, points_per_time: float) -> None:
    """Draw the bars of a schedule on ``ax``, with microbatch numbers where they fit.

    Times of the table are in its own unit, which ``points_per_time`` tells the width of.
    """
    from matplotlib.collections import PolyCollection

    bars = table if isinstance(table, Bars) else Bars.of(table)
    colors = bar_colors(bars)
    edge_pt = np.where(bars.stage >= 0, 0.6, 0.0)
    corners = list(bar_corners(bars, bars.row, 0.46))
    shapes = PolyCollection(corners, facecolors=colors, edgecolors="white", linewidths=edge_pt)
    ax.add_collection(shapes, autolim=False)
    width_pt = (bars.end_s - bars.start_s) * points_per_time
    for cell in np.flatnonzero(bars.microbatch >= 0).tolist():
        text = str(bars.microbatch[cell])
        if width_pt[cell] >= _LEAST_DIGIT_PT * len(text):
            middle = (bars.start_s[cell] + bars.end_s[cell]) / 2
            ax.text(middle, bars.row[cell], text, ha="center", va="center_baseline",
                    fontsize=_NUMBER_PT, color=text_color_on(colors[cell]))  # fmt: skip
    num_ranks = len(np.unique(bars.rank))
    ax.set_ylim(num_ranks - 0.5, -0.5)
    ax.set_yticks(range(num_ranks), [str(rank) for rank in np.unique(bars.rank)], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def gallery_figure(panels: Sequence[SchedulePanel], title: str = "") -> Figure:
    """Return all panels, one under another on one time axis, numbers at the right of each."""
    from matplotlib.figure import Figure

    heights_in = [_ABOVE_IN + _ROW_IN * len(panel.peak_in_flight) for panel in panels]
    height_in = sum(heights_in) + _TOP_IN + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    end = max((panel.makespan for panel in panels), default=1.0)
    width_in = _WIDTH_IN - _LEFT_IN - _RIGHT_IN
    top_in = height_in - _TOP_IN
    for number, (panel, panel_in) in enumerate(zip(panels, heights_in, strict=True)):
        box_in = (_LEFT_IN, top_in - panel_in, width_in, panel_in - _ABOVE_IN)
        sizes = np.array([_WIDTH_IN, height_in, _WIDTH_IN, height_in])
        ax = figure.add_axes(tuple((np.array(box_in) / sizes).tolist()))
        draw_panel(panel, ax, end, width_in * 72 / end)
        ax.tick_params(axis="x", labelbottom=number == len(panels) - 1, length=2, labelsize=8)
        top_in -= panel_in
    figure.text(_LEFT_IN / _WIDTH_IN, 1 - 0.2 / height_in, title, va="top", fontsize=13,
                fontweight="bold", color=TEXT_COLOR)  # fmt: skip
    _draw_legend(figure, panels, height_in)
    return figure


def draw_panel(panel: SchedulePanel, ax: Axes, end: float, points_per_time: float) -> None:
    """Draw one schedule with its name above and its numbers at the right, up to time ``end``."""
    draw_schedule(panel.bars, ax, points_per_time)
    ax.set_xlim(0, end)
    name = ax.annotate(panel.name, (0, 1), xytext=(0, 4), xycoords="axes fraction",
                       textcoords="offset points", fontsize=10, fontweight="bold",
                       color=TEXT_COLOR)  # fmt: skip
    ax.annotate(panel.description, (1, 0), xytext=(8, 0), xycoords=name,
                textcoords="offset points", va="bottom", fontsize=8.5, color=_MUTED)  # fmt: skip
    peaks = " ".join(f"{peak:g}" for peak in panel.peak_in_flight)
    rows = [
        (f"bubble {100 * panel.bubble_fraction:.1f} %", "bold"),
        (f"makespan {panel.makespan:g}", "normal"),
        (f"peak memory {max(panel.peak_in_flight):g}", "bold"),
        (f"by rank {peaks}", "normal"),
    ]
    for number, (text, weight) in enumerate(rows):
        ax.annotate(text, (1, 1 - (number + 0.5) / len(rows)), xytext=(10, 0),
                    xycoords="axes fraction", textcoords="offset points", va="center_baseline",
                    fontsize=8.5, fontweight=weight, color=TEXT_COLOR)  # fmt: skip


def _draw_legend(figure: Figure, panels: Sequence[SchedulePanel], height_in: float) -> None:
    from matplotlib.patches import Patch

    shown = {int(kind) for panel in panels for kind in np.unique(panel.bars.kind)}
    codes = [code for kind, code in BAR_CODE.items() if kind in _NAMES and code in shown]
    kinds = list(BAR_CODE)
    handles = [
        Patch(facecolor=tuple(kind_rgb(kinds[code])), label=_NAMES[kinds[code]]) for code in codes
    ]
    figure.text(0.5, 0.62 / height_in, "time, in forwards of a microbatch through one rank; "
                "lighter: a rank's later chunks, or its second copy of the model",
                ha="center", fontsize=9, color=TEXT_COLOR)  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False,
                  fontsize=9, bbox_to_anchor=(0.5, 0.12 / height_in))  # fmt: skip


def save_gallery(path: Path, num_ranks: int = 4, num_microbatches: int = 8) -> None:
    """Write the gallery of all schedules; the path's ending says its format."""
    import matplotlib as mpl

    panels = schedule_panels(num_ranks, num_microbatches)
    if not panels:
        raise FlexSimError(f"no schedule fits {num_ranks} ranks and {num_microbatches} microbatches")
    title = f"{num_ranks} stages, {num_microbatches} microbatches under every schedule"
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with mpl.rc_context({"svg.hashsalt": "flexsim"}), whole_file(path) as temporary:
        gallery_figure(panels, title).savefig(temporary, dpi=_DPI, metadata=metadata)
