"""The bubble picture: a row a pipeline rank, a bar an action, and the gaps between them."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexsim.files import whole_file
from flexsim.plotting.bars import BAR_CODE, BAR_KINDS, Bars
from flexsim.plotting.bubble_table import bubble_bars, bubble_table
from flexsim.plotting.halves import row_offsets
from flexsim.plotting.raster import raster
from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR, kind_rgb, text_color_on, tint
from flexsim.timeline.spans import Timeline

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bubble_figure", "bubble_table", "draw_bubbles", "save_bubbles"]

"""Of PNG pictures: half the time of the default level for a quarter more bytes."""
_MOST_SHAPES = 6000
_NARROWEST_SHAPE_PT = 1.2
"""More or narrower bars than these are drawn as pixels, also in an SVG."""
_MOST_NUMBERS = 2000
_PIXELS_A_POINT = 2.1
_LINES_A_ROW = 7
_NUMBER_PT = 7.0
_POWERS_OF_TEN = 10 ** np.arange(1, 10)
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def save_bubbles(
    timeline: Timeline, metrics: Mapping[str, Any], title: str, directory: Path
) -> list[Path]:
    """Write ``bubbles.png`` and ``bubbles.svg`` into ``directory`` and return their paths."""
    import matplotlib as mpl

    figure = bubble_figure(bubble_bars(timeline), title, _shares_text(metrics))
    paths = [directory / "bubbles.png", directory / "bubbles.svg"]
    with mpl.rc_context({"svg.hashsalt": "flexsim"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        save_figure(figure, paths[0], compression=1)
        _write_svg(figure, paths[1])
    return paths


def _write_svg(figure: Figure, path: Path) -> None:
    """Draw with the layout that the figure has."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.set_layout_engine("none")
    canvas: Any = FigureCanvasSVG(figure)
    with whole_file(path) as temporary:
        canvas.print_svg(temporary, metadata={"Date": None})


def bubble_figure(table: pd.DataFrame | Bars, title: str, subtitle: str = "") -> Figure:
    """Return a figure that suits the number of ranks and bars of a :func:`bubble_table`."""
    bars = _bars(table)
    return titled_figure(bars, title, subtitle, lambda ax: draw_bubbles(bars, ax))


def titled_figure(bars: Bars, title: str, subtitle: str, draw: Callable[[Axes], None]) -> Figure:
    """Return a figure that suits so many bars: what ``draw`` draws, a title, a line below it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width_in, height_in = size_of_figure(bars)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(width_in, height_in), layout=layout)
    ax = figure.subplots()
    draw(ax)
    wrapped = textwrap.fill(title, int(width_in * 8), max_lines=2, placeholder=" …")
    ax.set_title(wrapped, loc="left", fontsize=13, fontweight="bold", color=TEXT_COLOR, pad=26,
                 parse_math=False)  # fmt: skip
    ax.annotate(subtitle, (0, 1), xytext=(0, 9), xycoords="axes fraction",
                textcoords="offset points", fontsize=10.5, color=TEXT_COLOR)  # fmt: skip
    return figure


def size_of_figure(bars: Bars) -> tuple[float, float]:
    """Return the width and the height, in inches, that suit the number of ranks and bars."""
    num_ranks = max(len(np.unique(bars.rank)), 1)
    width_in = 12.0 if len(bars) / num_ranks < 60 else 16.0
    return width_in, 1.9 + max(0.9, num_ranks * min(0.48, 8.5 / num_ranks))


def _shares_text(metrics: Mapping[str, Any]) -> str:
    """Return "bubble 12.3 % · compute 70.1 % · …" for the line under the title."""
    exposed_s = sum(metrics["exposed_communication_s"].values())
    time_s = metrics["iteration_time_s"]
    shares = [
        ("bubble", metrics["bubble_fraction"]),
        ("compute", metrics["compute_fraction"]),
        ("exposed communication", exposed_s / time_s if time_s else 0.0),
    ]
    factor, unit = _time_unit(time_s)
    parts = [f"{name} {share * 100:.1f} %" for name, share in shares]
    return " · ".join([*parts, f"one iteration {time_s / factor:.4g} {unit}"])


def draw_bubbles(
    table: pd.DataFrame | Bars,
    ax: Axes,
    unit: str | None = None,
    *,
    end_s: float | None = None,
    legend: bool = True,
) -> None:
    """Draw a :func:`bubble_table` on ``ax``: bars, microbatch numbers, axes and legend.

    ``unit`` names what one second of the table stands for where it is not a second, as in a
    schedule whose durations are plain numbers. ``end_s`` is where the time axis ends if not with
    the last bar, so that several pictures have the same one.
    """
    bars = _bars(table)
    bars = bars[np.argsort(bars.kind == BAR_CODE["communication"], kind="stable")]
    end_s = float(bars.end_s.max(initial=0.0)) if end_s is None else end_s
    factor, label = (1.0, unit) if unit else _time_unit(end_s)
    bars = replace(bars, start_s=bars.start_s / factor, end_s=bars.end_s / factor)
    points_per_time = _width_pt(ax) / (end_s / factor or 1.0)
    _draw_axes(bars, ax, label, end_s / factor or 1.0)
    _draw_bars(bars, ax, points_per_time)
    _draw_numbers(bars, ax, points_per_time)
    if legend:
        draw_legend(bars, ax)


def _bars(table: pd.DataFrame | Bars) -> Bars:
    return table if isinstance(table, Bars) else Bars.of(table)


def _time_unit(seconds: float) -> tuple[float, str]:
    return next((pair for pair in _TIME_UNITS if seconds >= pair[0]), _TIME_UNITS[-1])


def _width_pt(ax: Axes) -> float:
    """Return about how wide the data area of ``ax`` will be, in points."""
    figure = ax.get_figure(root=True)
    width_in = figure.get_size_inches()[0] if figure else 1.0
    return float(ax.get_position().width * 1.15 * width_in * 72)


def _draw_axes(bars: Bars, ax: Axes, unit: str, end: float) -> None:
    ranks = np.unique(bars.rank)
    every = max(1, -(-len(ranks) // 16))
    ax.set_xlim(0, end)
    ax.set_ylim(len(ranks) - 0.5, -0.5)
    ax.set_yticks(range(0, len(ranks), every), [str(rank) for rank in ranks[::every]])
    ax.set_xlabel(f"time ({unit})", color=TEXT_COLOR)
    ax.set_ylabel("pipeline rank", color=TEXT_COLOR)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _draw_bars(bars: Bars, ax: Axes, points_per_time: float) -> None:
    """Draw bars as shapes where they are few and wide enough, else as pixels."""
    lengths = (bars.end_s - bars.start_s)[bars.stage >= 0]
    typical_pt = float(np.median(lengths)) * points_per_time if len(lengths) else np.nan
    if len(bars) > _MOST_SHAPES or typical_pt < _NARROWEST_SHAPE_PT:
        _draw_pixels(bars, ax)
    else:
        _draw_shapes(bars, ax, min(0.6, typical_pt / 12))


def _draw_pixels(bars: Bars, ax: Axes) -> None:
    """Draw bars as an image, one line of pixels a row, above a thin white line."""
    from flexsim.plotting.pixels import Pixels

    end = ax.get_xlim()[1]
    num_columns = int(_width_pt(ax) * _PIXELS_A_POINT)
    image = raster(bars.row, (bars.start_s, bars.end_s), bar_colors(bars), end, num_columns)
    opaque = np.full((len(image), num_columns, 4), 255, np.uint8)
    opaque[:, :, :3] = (image * 255).round()
    opaque = np.repeat(opaque, _LINES_A_ROW, axis=0)
    opaque[_LINES_A_ROW - 1 :: _LINES_A_ROW] = 255
    picture = Pixels(ax, extent=(0, end, *ax.get_ylim()))
    picture.set_data(opaque)
    picture.set_clip_path(ax.patch)
    ax.add_image(picture)


def _draw_shapes(bars: Bars, ax: Axes, edge_pt: float) -> None:
    """Draw all bars as one collection; the white edges of actions tell equal ones apart."""
    from matplotlib.collections import PolyCollection

    offsets = row_offsets(bars)
    collection = PolyCollection(
        list(bar_corners(bars, bars.row + offsets, 0.42 - np.abs(offsets))),
        facecolors=bar_colors(bars),
        edgecolors="white",
        linewidths=np.where(bars.stage >= 0, edge_pt, 0.0),
    )
    ax.add_collection(collection, autolim=False)


def bar_corners(
    bars: Bars, row: NDArray[Any], half_height: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the four corners of every bar on its row: an array of shape (bars, 4, 2)."""
    x = np.stack([bars.start_s, bars.end_s, bars.end_s, bars.start_s], axis=1)
    y = row[:, None] + np.multiply.outer(half_height, [-1, -1, 1, 1])
    return np.stack([x, y], axis=2)


def bar_colors(bars: Bars, num_chunks: int | None = None) -> NDArray[np.float64]:
    """Return red, green, blue of every bar; ``num_chunks`` where others have more chunks."""
    num_chunks = num_chunks or num_chunks_of(bars)
    palette = np.array(
        [[tint(kind_rgb(k), c, num_chunks) for c in range(num_chunks)] for k in BAR_KINDS]
    )
    colors: NDArray[np.float64] = palette[bars.kind, bars.chunk.clip(0)]
    return colors


def num_chunks_of(bars: Bars) -> int:
    """Return the most chunks that a rank has."""
    return int(bars.chunk.max(initial=0)) + 1


def _draw_numbers(bars: Bars, ax: Axes, points_per_time: float) -> None:
    """Write microbatch numbers into the bars that are wide enough."""
    width_pt = (bars.end_s - bars.start_s) * points_per_time
    num_digits = np.searchsorted(_POWERS_OF_TEN, bars.microbatch, side="right") + 1
    is_wide = width_pt > (0.62 * num_digits + 0.35) * _NUMBER_PT
    is_numbered = (bars.microbatch >= 0) & (bars.kind != BAR_CODE["recompute"])
    fitting = np.flatnonzero(is_wide & is_numbered)
    if len(fitting) > _MOST_NUMBERS:
        return
    middle = (bars.start_s + bars.end_s) / 2
    row = bars.row + row_offsets(bars)
    columns = (column[fitting] for column in (middle, row, bars.microbatch, bar_colors(bars)))
    for x, row, microbatch, rgb in zip(*columns, strict=True):
        ax.text(x, row, str(microbatch), ha="center", va="center_baseline",
                fontsize=_NUMBER_PT, color=text_color_on(rgb))  # fmt: skip


def draw_legend(bars: Bars, ax: Axes) -> None:
    """Put the legend below the time axis, a swatch a chunk for the kinds that have chunks."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.patches import Patch
    from matplotlib.transforms import ScaledTranslation

    handles, labels = [], []
    for code in np.unique(bars.kind).tolist():
        num = num_chunks_of(bars) if (bars.chunk[bars.kind == code] > 0).any() else 1
        shades = [tint(kind_rgb(BAR_KINDS[code]), chunk, num) for chunk in range(num)]
        handles.append(tuple(Patch(facecolor=tuple(shade)) for shade in shades))
        labels.append(BAR_KINDS[code] + (f", chunks 0 to {num - 1}" if num > 1 else ""))
    below = ScaledTranslation(0, -38 / 72, ax.figure.dpi_scale_trans)
    ax.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False,
              bbox_transform=ax.transAxes + below, ncols=len(labels), fontsize=9,
              handler_map={tuple: HandlerTuple(ndivide=None, pad=0)})  # fmt: skip
