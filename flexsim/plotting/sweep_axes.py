"""What the pictures of a sweep share: looks of series, scales of axes, legends, figures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flexsim.plotting.points import is_numeric, value_text, values_of
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.style import SERIES_COLORS, TEXT_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_SERIES = 28
"""Different looks; more series cannot be told apart."""
_STEPS = (
    (0.7, tuple(range(1, 10))),
    (2.0, (1, 2, 5)),
    (4.0, (1, 3)),
    (np.inf, (1,)),
)
"""Of so many decades on an axis, the numbers of each that are labelled."""
GRID_COLOR, MUTED = "#E6E6E6", "#666666"
_MARKERS = "os^DvPX"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_WIDE = 8.0
"""Numbers that differ by more than this stand on a logarithmic axis."""
_MOST_TICKS, _LETTERS_A_WIDTH = 12, 60
_NEAR_ZERO = 2 / 3
_WIDTH_IN, _HEIGHT_IN = 7.6, 4.4
_CAPTION_PT, _LEGEND_WIDTH = 8.0, 30
_MOST_LETTERS = 24


class Look(NamedTuple):
    """Colour, marker and dashes of one series."""

    color: str
    marker: str
    dashes: Any


def look_of(number: int) -> Look:
    """Return the look of a series by its place: first the colours change, then the dashes."""
    turn, place = divmod(number, len(SERIES_COLORS))
    return Look(
        SERIES_COLORS[place],
        _MARKERS[(place + turn) % len(_MARKERS)],
        _DASHES[turn % len(_DASHES)],
    )


def series_of(table: pd.DataFrame, by: str | None) -> list[tuple[str, Look, pd.DataFrame]]:
    """Return name, look and rows of every value of ``by``, or all rows as one without a name."""
    if by is None:
        return [("", look_of(0), table)]
    values = values_of(table[by])
    return [
        (value_text(value), look_of(number), table[table[by] == value])
        for number, value in enumerate(values)
    ]


def scaled(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return the numbers of a column in the unit of its axis."""
    numbers: NDArray[np.float64] = table[column].to_numpy(float) * quantity_of(column).scale
    return numbers


def positions(table: pd.DataFrame, column: str, values: Sequence[Any]) -> NDArray[np.float64]:
    """Return where rows stand on an axis: by their numbers, or by the place of their value."""
    if is_numeric(table[column]):
        return scaled(table, column)
    place = {value: number for number, value in enumerate(values)}
    return table[column].astype(object).map(place).to_numpy(float)


def key_axis(axis: Any, column: str, numbers: NDArray[np.float64]) -> None:
    """Give an axis of numbers its label, and a tick at every value where they are few."""
    axis.set_label_text(quantity_of(column).axis_label, color=TEXT_COLOR)
    found = np.unique(numbers)
    if is_wide(found) or axis.get_scale() == "log":
        _powers_of_two(axis)
    if 0 < len(found) <= _MOST_TICKS:
        shown = _apart(found, is_log=axis.get_scale() == "log")
        axis.set_ticks(shown, [number_text(each) for each in shown])
        axis.set_ticks([], minor=True)


def _apart(found: NDArray[np.float64], *, is_log: bool) -> list[float]:
    """Return the numbers whose ticks do not touch: the first, then each that is far enough."""
    places = np.log(found) if is_log else found
    letters = max(len(number_text(each)) for each in found)
    least = (places[-1] - places[0]) * (letters + 1.5) / _LETTERS_A_WIDTH
    shown = [0]
    for number in range(1, len(found)):
        if places[number] - places[shown[-1]] >= least:
            shown.append(number)
    return [float(found[number]) for number in shown]


def category_axis(axis: Any, column: str, values: Sequence[Any]) -> None:
    """Give an axis a tick a value, long names cut short."""
    axis.set_label_text(quantity_of(column).axis_label, color=TEXT_COLOR)
    names = [textwrap.shorten(value_text(each), 200) for each in values]
    axis.set_ticks(range(len(names)), [_cut(name) for name in names])


def metric_axis(axis: Any, column: str, numbers: NDArray[np.float64]) -> None:
    """Give an axis of a metric its label.

    It starts at zero where that leaves the numbers at least a third of it, and is logarithmic
    where they differ much.
    """
    axis.set_label_text(quantity_of(column).axis_label, color=TEXT_COLOR)
    if is_wide(numbers):
        log_axis(axis, numbers)
    elif len(numbers) and 0 <= numbers.min() <= _NEAR_ZERO * numbers.max():
        set_limit = axis.axes.set_ylim if axis.axis_name == "y" else axis.axes.set_xlim
        set_limit(0, 1.08 * float(numbers.max()) or 1.0)


def log_axis(axis: Any, numbers: NDArray[np.float64]) -> None:
    """Make an axis logarithmic, with plain numbers at a few of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _log(axis, base=10)
    decades = float(np.log10(numbers.max() / numbers.min())) if len(numbers) else 0.0
    steps = next(subs for most, subs in _STEPS if decades < most)
    axis.set_major_locator(LogLocator(10, subs=steps, numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axis.set_minor_formatter(NullFormatter())


def _powers_of_two(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    _log(axis, base=2)
    axis.set_major_locator(LogLocator(2, numticks=10))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axis.set_minor_locator(NullLocator())


def _log(axis: Any, base: int) -> None:
    set_scale = axis.axes.set_yscale if axis.axis_name == "y" else axis.axes.set_xscale
    set_scale("log", base=base)


def is_wide(numbers: NDArray[np.float64], factor: float = _WIDE) -> bool:
    """Whether numbers are all above zero and differ so much that a logarithm shows them better."""
    return len(numbers) > 1 and bool(numbers.max() >= factor * numbers.min() > 0)


def number_text(value: float) -> str:
    """Return a number for a tick: ``0.5``, ``64``, ``3,072``, ``2.5 M``."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cut(name: str) -> str:
    half = _MOST_LETTERS // 2
    return name if len(name) <= _MOST_LETTERS else f"{name[: half - 1]}…{name[-half:]}"


def plain_frame(ax: Axes, grid: str = "both") -> None:
    """Leave two sides of the frame and a pale grid behind the data; ``grid`` as Axes.grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", axis=grid, color=GRID_COLOR, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9, colors=TEXT_COLOR, which="both")


def hollow_handle() -> Any:
    """Return what the legend shows for configurations that do not fit in memory."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker="o", mfc="white", mec=MUTED, label="does not fit in memory")


def new_figure(
    title: str, caption: str = "", size_in: tuple[float, float] = (_WIDTH_IN, _HEIGHT_IN)
) -> tuple[Figure, Axes]:
    """Return a figure with one Axes, a title above and a caption below it."""
    figure, axes = new_panels(title, caption, size_in, [1])
    return figure, axes[0]


def new_panels(
    title: str, caption: str, size_in: tuple[float, float], heights: Sequence[float]
) -> tuple[Figure, list[Axes]]:
    """Return a figure with Axes one below the other, ``heights`` being their shares."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=size_in, layout=layout)
    axes = figure.subplots(len(heights), height_ratios=heights, squeeze=False)
    wrapped = textwrap.fill(title, int(size_in[0] * 9.5), max_lines=2, placeholder=" …")
    figure.suptitle(wrapped, x=0.012, ha="left", fontsize=11.5, fontweight="bold",
                    color=TEXT_COLOR, parse_math=False)  # fmt: skip
    if caption:
        told = textwrap.fill(caption, int(size_in[0] * 16.5))
        figure.supxlabel(told, x=0.012, ha="left", fontsize=_CAPTION_PT, color=MUTED,
                         parse_math=False)  # fmt: skip
    return figure, axes[:, 0].tolist()


def legend_beside(ax: Axes, title: str = "", handles: Sequence[Any] = ()) -> None:
    """Put the legend at the right of the data; none where there is nothing to tell."""
    found, labels = ax.get_legend_handles_labels()
    handles = [*found, *handles]
    labels = [_wrapped(label) for label in labels]
    labels += [str(handle.get_label()) for handle in handles[len(found) :]]
    if not handles:
        return
    legend = ax.legend(handles, labels, title=title or None, loc="upper left", frameon=False,
                       bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=9,
                       alignment="left")  # fmt: skip
    legend.get_title().set_fontsize(9.5)


def _wrapped(label: str) -> str:
    """Return a label in lines that fit beside the data; one that has lines keeps them."""
    if "\n" in label:
        return label
    return textwrap.fill(label, _LEGEND_WIDTH, max_lines=3, placeholder=" …")


def nothing_to_draw(ax: Axes, why: str = "no configuration to draw") -> None:
    """Say on an empty Axes that there is nothing."""
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=MUTED)
