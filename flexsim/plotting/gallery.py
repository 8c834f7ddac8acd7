"""The schedules gallery: one small pipeline under every schedule, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from flexsim.errors import ScheduleError
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
    from flexsim.timeline.spans import Timeline

_DPI = 160
_WIDTH_IN, _ROW_IN, _ABOVE_IN = 13.0, 0.2, 0.4
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.55, 1.75, 0.55, 0.95
_WARM_UP = 2
_ITERATIONS_UNTIL_STEADY = 6
_PASSES = 3
"""Forward, input gradient and weight gradient, a unit of time each."""
_BACKWARD = [BAR_CODE["backward"], BAR_CODE["input-gradient"]]
_NUMBER_PT = 7.0
_LEAST_DIGIT_PT = 4.8
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
    a forward, until the backward or the weight gradient is done.
    """

    name: str
    description: str
    bars: Bars
    bubble_fraction: float
    """Idle share of ranks × makespan."""
    bubble_fraction_of_span: float
    """Idle share of the longest span of a rank."""
    peak_activations: tuple[float, ...]
    """Of every rank."""
    copies_of_weights: tuple[int, ...] = (1,)
    """Versions of its weights, or copies of the model, that every rank holds a share of."""
    steady_bubble_fraction: float | None = None
    """Idle share while iterations follow one another, where there is no flush."""
    note: str = ""
    """What is particular here, such as the chunks of a rank."""

    @property
    def makespan(self) -> float:
        """The end of the last bar."""
        return float(self.bars.end_s.max(initial=0.0))


def schedule_panels(num_ranks: int = 4, num_microbatches: int = 8) -> list[SchedulePanel]:
    """Return a panel of every schedule that this pipeline can have, in the order of SCHEDULES.

    Ranks hold two chunks where the schedule allows more than one, sequences are cut into two
    slices where it knows them, and where it does not flush the microbatches are those of two
    iterations.
    """
    panels = [schedule_panel(name, num_ranks, num_microbatches) for name in SCHEDULES]
    return [panel for panel in panels if panel is not None]


def schedule_panel(name: str, num_ranks: int, num_microbatches: int) -> SchedulePanel | None:
    """Return the panel of one schedule; None where it does not fit the pipeline."""
    hints = SCHEDULES[name].hints
    num_iterations = 1 + ("num_iterations" in hints and num_microbatches % 2 == 0)
    for num_chunks in (2, 1) if SCHEDULES[name].supports_chunks else (1,):
        shape = PipelineShape(
            num_ranks=num_ranks,
            num_microbatches=num_microbatches // num_iterations,
            num_chunks=num_chunks,
            warm_up=_WARM_UP * ("warm_up" in hints),
            num_slices=1 + ("num_slices" in hints),
            num_iterations=num_iterations,
        )
        try:
            return _replayed(name, shape)
        except ScheduleError:
            continue
    return None


def _replayed(name: str, shape: PipelineShape) -> SchedulePanel:
    """Return the panel of a schedule, its passes as long as the share of the model they take."""
    schedule = build_schedule(name, shape)
    share = schedule.num_ranks / (schedule.stages_a_lane * schedule.num_slices)
    report, timeline = _report_and_timeline(schedule, share)
    return SchedulePanel(
        name=name,
        description=SCHEDULES[name].description,
        bars=bubble_bars(timeline),
        bubble_fraction=report.bubble_fraction,
        bubble_fraction_of_span=report.bubble_fraction_of_span,
        peak_activations=tuple(share * each for each in report.peak_activations),
        copies_of_weights=tuple(schedule.num_lanes * each for each in report.weight_versions),
        steady_bubble_fraction=_steady_bubble_fraction(name, shape),
        note=_note(shape),
    )


def _report_and_timeline(schedule: Schedule, pass_time: float) -> tuple[ScheduleReport, Timeline]:
    """Return what the event engine makes of a schedule with passes of one length."""
    from flexsim.engine.event import simulate
    from flexsim.task_graph.columns import TaskGraph
    from flexsim.task_graph.schedules.report import schedule_report

    timelines: list[Timeline] = []

    def simulate_and_keep(graph: TaskGraph) -> Timeline:
        timelines.append(simulate(graph))
        return timelines[-1]

    durations = (pass_time, pass_time, pass_time)
    report = schedule_report(schedule, *durations, 0.0, simulate_and_keep)
    return report, timelines[-1]


def _steady_bubble_fraction(name: str, shape: PipelineShape) -> float | None:
    """Return the idle share of an iteration that follows others, None where there is a flush."""
    if shape.num_iterations == 1:
        return None
    schedule = build_schedule(name, replace(shape, num_iterations=_ITERATIONS_UNTIL_STEADY))
    report, _ = _report_and_timeline(schedule, 1.0)
    assert report.steady_iteration is not None
    return 1 - _PASSES * shape.num_microbatches / report.steady_iteration


def _note(shape: PipelineShape) -> str:
    counts = {
        "chunks a rank": shape.num_chunks,
        "slices a sequence": shape.num_slices,
        f"iterations of {shape.num_microbatches} microbatches": shape.num_iterations,
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count > 1]
    warm_up = [f"{shape.warm_up} further forwards"] if shape.warm_up else []
    return ", ".join([*parts, *warm_up])


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

    heights_in = [_ABOVE_IN + _ROW_IN * len(panel.peak_activations) for panel in panels]
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
    said = f"{panel.description}{'; here ' * bool(panel.note)}{panel.note}"
    ax.annotate(said, (1, 0), xytext=(8, 0), xycoords=name, textcoords="offset points",
                va="bottom", fontsize=8.5, color=_MUTED)  # fmt: skip
    rows = _facts(panel)
    for number, (text, weight) in enumerate(rows):
        ax.annotate(text, (1, 1 - (number + 0.5) / len(rows)), xytext=(10, 0),
                    xycoords="axes fraction", textcoords="offset points", va="center_baseline",
                    fontsize=8.5, fontweight=weight, color=TEXT_COLOR)  # fmt: skip


def _facts(panel: SchedulePanel) -> list[tuple[str, str]]:
    """Return the lines at the right of a panel, each with its font weight."""
    peaks = " ".join(f"{peak:g}" for peak in panel.peak_activations)
    rows = [
        (f"bubble {100 * panel.bubble_fraction:.1f} %", "bold"),
        (f"of longest span {100 * panel.bubble_fraction_of_span:.1f} %", "normal"),
    ]
    if panel.steady_bubble_fraction is not None:
        rows[1] = (f"in steady state {100 * panel.steady_bubble_fraction:.1f} %", "normal")
    if not np.isin(panel.bars.kind, _BACKWARD).any():
        return [*rows, ("nothing is kept", "normal")]
    rows += [
        (f"peak memory {max(panel.peak_activations):g}", "bold"),
        (f"by rank {peaks}", "normal"),
    ]
    if max(panel.copies_of_weights) > 1:
        copies = " ".join(f"{number}×" for number in panel.copies_of_weights)
        rows.append((f"weights {copies}", "normal"))
    return rows


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


def gallery(num_ranks: int = 4, num_microbatches: int = 8) -> Figure:
    """Return the gallery of all schedules that a pipeline of this size can have."""
    panels = schedule_panels(num_ranks, num_microbatches)
    title = f"{num_ranks} stages, {num_microbatches} microbatches under every schedule"
    return gallery_figure(panels, title)
