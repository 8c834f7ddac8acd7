"""The schedules gallery: one small pipeline under every schedule, on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.bars import BAR_CODE, Bars
from flexsim.plotting.bubbles import bar_colors, bar_corners
from flexsim.plotting.gallery_panels import SchedulePanel, schedule_panels
from flexsim.plotting.style import TEXT_COLOR, kind_rgb, text_color_on

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _ROW_IN, _ABOVE_IN = 13.0, 0.2, 0.4
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.55, 1.75, 0.55, 0.95
_BACKWARD = [BAR_CODE["backward"], BAR_CODE["input-gradient"]]
_NUMBER_PT = 7.0
_LEAST_DIGIT_PT = 4.8
_MUTED = "#666666"
_NAMES = {
    "forward": "forward",
    "backward": "backward",
    "input-gradient": "input gradient",
    "weight-gradient": "weight gradient",
    "idle": "idle",
}


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
