"""The waterfall picture: a bar a cause, from ideal compute time down to the iteration time."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import KIND_COLORS, TEXT_COLOR
from flexsim.timeline.waterfall import IDEAL, Waterfall
from flexsim.units import NS_PER_S, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_SHARE = 0.001
"""Exposed communication that takes less of the iteration is summed up in one bar."""
_COLORS = {
    IDEAL: KIND_COLORS["weight-gradient"],
    "kernel efficiency": KIND_COLORS["forward"],
    "recomputation": KIND_COLORS["recompute"],
    "optimizer": KIND_COLORS["optimizer"],
    "imbalance": "#F0E442",
    "pipeline bubble": "#BBBBBB",
    "devices without tasks": "#DDDDDD",
}
_IDLE = ("imbalance", "pipeline bubble")
_EXPOSED_COLOR = "#56B4E9"
_TOTAL_COLOR = KIND_COLORS["communication"]


class Bar(NamedTuple):
    """One bar of the picture; times in seconds."""

    label: str
    start_s: float
    end_s: float
    share: float
    color: str


def waterfall_bars(table: Waterfall) -> list[Bar]:
    """Return the bars of a waterfall from the top: a step each, at the end the iteration."""
    bars, until_ns, whole_ns = [], 0, max(table.iteration_ns, 1)
    for part, time_ns in _shown(table):
        bars.append(_bar(part, until_ns, until_ns + time_ns, whole_ns))
        until_ns += time_ns
    return [*bars, _bar("iteration time", 0, table.iteration_ns, whole_ns)]


def _shown(table: Waterfall) -> list[tuple[str, int]]:
    """Return part and time of every step, short exposed communication as one behind the rest."""
    steps = [(step.part, step.time_ns) for step in table.steps]
    short = [step for step in steps if _is_short(*step, table.iteration_ns)]
    if len(short) < 2:
        return steps
    steps = [step for step in steps if step not in short]
    place = next(row for row, (part, _) in enumerate(steps) if part in _IDLE)
    others = ("other exposed communication", sum(time_ns for _, time_ns in short))
    return [*steps[:place], others, *steps[place:]]


def _is_short(part: str, time_ns: int, iteration_ns: int) -> bool:
    return part.startswith("exposed ") and time_ns < _LEAST_SHARE * iteration_ns


def _bar(part: str, start_ns: int, end_ns: int, whole_ns: int) -> Bar:
    color = _COLORS.get(part, _TOTAL_COLOR if part == "iteration time" else _EXPOSED_COLOR)
    share = (end_ns - start_ns) / whole_ns
    return Bar(part, start_ns / NS_PER_S, end_ns / NS_PER_S, share, color)


def draw_waterfall(table: Waterfall, ax: Axes) -> None:
    """Draw a waterfall on ``ax``, each bar where the one above ends, with its time and share."""
    bars = waterfall_bars(table)
    rows = range(len(bars))
    starts = [bar.start_s for bar in bars]
    lengths = [bar.end_s - bar.start_s for bar in bars]
    ax.barh(rows, lengths, 0.68, starts, color=[bar.color for bar in bars])
    for row in rows[:-1]:
        joint_s = bars[row].end_s
        ax.plot([joint_s, joint_s], [row - 0.34, row + 1.34], color=TEXT_COLOR, linewidth=0.6)
    end_s = max(bar.end_s for bar in bars)
    for row, bar in zip(rows, bars, strict=True):
        _annotate(ax, row, bar)
    ax.set_xlim(0, 1.22 * end_s or 1.0)
    ax.set_ylim(len(bars) - 0.4, -0.6)
    ax.set_yticks(rows, [bar.label for bar in bars])
    ax.set_xticks([tick for tick in ax.get_xticks() if tick <= end_s])
    ax.get_yticklabels()[-1].set_fontweight("bold")
    ax.set_xlabel("seconds of one iteration, mean over devices", color=TEXT_COLOR)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _annotate(ax: Axes, row: int, bar: Bar) -> None:
    time_s = bar.end_s - bar.start_s
    sign = "−" if time_s < 0 else ""
    ax.annotate(
        f"{sign}{format_seconds(abs(time_s))} · {_percent(bar.share)}",
        (max(bar.start_s, bar.end_s), row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=9,
        color=TEXT_COLOR,
    )


def _percent(share: float) -> str:
    sign = "−" if share < 0 else ""
    return "<0.1 %" if 0 < share < _LEAST_SHARE / 2 else f"{sign}{100 * abs(share):.1f} %"


def waterfall_figure(table: Waterfall, title: str) -> Figure:
    """Return a figure that suits the number of steps."""
    from matplotlib.figure import Figure

    height_in = 1.5 + 0.36 * len(waterfall_bars(table))
    figure = Figure(figsize=(10.0, height_in), layout="constrained")
    ax = figure.subplots()
    draw_waterfall(table, ax)
    wrapped = textwrap.fill(title, 80, max_lines=2, placeholder=" …")
    ax.set_title(wrapped, loc="left", fontsize=12, fontweight="bold", color=TEXT_COLOR, pad=10,
                 parse_math=False)  # fmt: skip
    return figure


def save_waterfall(table: Waterfall, title: str, path: Path) -> None:
    """Write ``waterfall.png``, or another file whose ending says its format."""
    save_figure(waterfall_figure(table, title), path)
