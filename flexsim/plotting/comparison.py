"""Runs side by side: their bubble timelines one below the other on one time axis."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.files import whole_file
from flexsim.plotting.bars import Bars
from flexsim.plotting.bubbles import draw_bubbles, draw_legend
from flexsim.plotting.differences import ComparedRun, difference_table
from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR
from flexsim.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 14.0
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.75, 1.85, 0.45, 0.95
_ABOVE_IN = 0.42
_EQUAL = 1e-6
"""Runs whose model FLOPs differ by no more than this share do the same work."""
_TIME = ("{} takes as long as {}", "{} takes {} % {} time than {}", "more", "less")
_SPEED = (
    "{} does as many model FLOPs a second as {}",
    "{} does {} % {} model FLOPs a second than {}",
    *("more", "fewer"),
)
"""Of runs that do not do the same work, for which times would mislead."""
_ROW_IN, _MOST_ROWS_IN, _LEAST_ROWS_IN = 0.32, 4.5, 1.0


def draw_run(run: ComparedRun, ax: Axes, end_s: float) -> None:
    """Draw the bars of a run on ``ax`` up to ``end_s``, its name above, its numbers beside."""
    draw_bubbles(run.bars, ax, end_s=end_s, legend=False)
    ax.annotate(textwrap.shorten(run.name, 120), (0, 1), xytext=(0, 5), fontsize=10.5,
                xycoords="axes fraction", textcoords="offset points", fontweight="bold",
                color=TEXT_COLOR, parse_math=False)  # fmt: skip
    facts = run_facts(run)
    for number, (text, weight) in enumerate(facts):
        ax.annotate(text, (1, 1), xytext=(10, -6 - 13 * number), xycoords="axes fraction",
                    textcoords="offset points", va="center_baseline", fontsize=9,
                    fontweight=weight, color=TEXT_COLOR)  # fmt: skip


def run_facts(run: ComparedRun) -> list[tuple[str, str]]:
    """Return the lines that stand beside a run, each with its font weight."""
    metrics = run.metrics
    time_s = metrics["iteration_time_s"]
    exposed_s = sum(metrics["exposed_communication_s"].values())
    memory = metrics.get("peak_memory_bytes")
    lines = [
        (format_seconds(time_s), "bold"),
        (f"MFU {100 * metrics['mfu']:.1f} %", "normal"),
        (f"bubble {100 * metrics['bubble_fraction']:.1f} %", "normal"),
        (f"exposed {100 * exposed_s / time_s if time_s else 0:.1f} %", "normal"),
    ]
    return [*lines, (f"memory {format_bytes(memory)}", "normal")] if memory else lines


def comparison_figure(runs: Sequence[ComparedRun], title: str = "") -> Figure:
    """Return the timelines of all runs, one below the other on one time axis."""
    from matplotlib.figure import Figure

    heights_in = [_height_in(run.bars) for run in runs]
    height_in = sum(heights_in) + _ABOVE_IN * len(runs) + _TOP_IN + _BOTTOM_IN
    figure = Figure(figsize=(_WIDTH_IN, height_in))
    end_s = max((float(run.bars.end_s.max(initial=0.0)) for run in runs), default=1.0)
    top_in = height_in - _TOP_IN
    ax: Any = None
    for run, panel_in in zip(runs, heights_in, strict=True):
        top_in -= panel_in + _ABOVE_IN
        box_in = (_LEFT_IN, top_in, _WIDTH_IN - _LEFT_IN - _RIGHT_IN, panel_in)
        sizes = np.array([_WIDTH_IN, height_in, _WIDTH_IN, height_in])
        ax = figure.add_axes(tuple((np.array(box_in) / sizes).tolist()))
        draw_run(run, ax, end_s)
        if run is not runs[-1]:
            ax.set_xlabel("")
            ax.tick_params(axis="x", labelbottom=False)
    draw_legend(_joined(runs), ax)
    told = textwrap.shorten(title or _title(runs), 110, placeholder=" …")
    figure.text(_LEFT_IN / _WIDTH_IN, 1 - 0.18 / height_in, told, va="top", fontsize=13,
                fontweight="bold", color=TEXT_COLOR, parse_math=False)  # fmt: skip
    return figure


def _height_in(bars: Bars) -> float:
    rows_in = _ROW_IN * len(np.unique(bars.rank))
    return min(max(rows_in, _LEAST_ROWS_IN), _MOST_ROWS_IN)


def _joined(runs: Sequence[ComparedRun]) -> Bars:
    """Return the bars of all runs, for the legend."""
    names = Bars.__dataclass_fields__
    return Bars(*(np.concatenate([getattr(run.bars, name) for run in runs]) for name in names))


def _title(runs: Sequence[ComparedRun]) -> str:
    first, last = runs[0], runs[-1]
    if len(runs) != 2:
        return f"{len(runs)} runs on one time axis"
    times = [run.metrics["iteration_time_s"] for run in (first, last)]
    work = [run.metrics.get("model_flops", 1.0) for run in (first, last)]
    if not math.isclose(*work, rel_tol=_EQUAL):
        return _changed(last.name, (work[1] / times[1]) / (work[0] / times[0]), first.name, _SPEED)
    return _changed(last.name, times[1] / times[0], first.name, _TIME)


def _changed(name: str, ratio: float, base: str, words: tuple[str, str, str, str]) -> str:
    """Return by how much a run differs from its base, in ``words``: the same, and more or less."""
    same, differs, more, less = words
    percent = f"{100 * abs(ratio - 1):.1f}"
    if percent == "0.0":
        return same.format(name, base)
    return differs.format(name, percent, more if ratio > 1 else less, base)


def save_comparison(runs: Sequence[ComparedRun], directory: Path) -> list[Path]:
    """Write ``comparison.png`` and ``comparison.csv``, and return their paths."""
    picture = save_figure(comparison_figure(runs), directory / "comparison.png")
    table = directory / "comparison.csv"
    with whole_file(table) as temporary:
        difference_table(runs).to_csv(temporary, index=False)
    return [picture, table]
