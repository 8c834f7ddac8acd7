"""The picture of a strategy: operators coloured by their devices, labelled with their degrees."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.files import whole_file
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.plotting.style import TEXT_COLOR
from flexsim.strategy import ParallelConfig, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_DPI = 130
_ROWS = 28
"""Operators below each other before a new column begins."""
_MOST_COLORS = 20
_MOST_RUNS = 4
_WIDTH = 3.4


def strategy_table(graph: OperatorGraph, strategy: Strategy) -> pd.DataFrame:
    """Return ``operator, repeats, depth, lane, degrees, devices``, a row an operator shown.

    Of neighbouring blocks whose operators are cut and placed alike only the first is shown, and
    ``repeats`` tells how many it stands for. ``depth`` is the place on the longest way from the
    input, ``lane`` tells apart what is equally deep.
    """
    import pandas as pd

    shown = list(_shown_operators(graph, strategy))
    depth = _depths(graph, {op.name for op, _ in shown})
    lanes: dict[int, int] = {}
    rows = []
    for op, repeats in shown:
        config, at = strategy.configs[op.name], depth[op.name]
        lane = lanes[at] = lanes.get(at, -1) + 1
        rows.append((op.name, repeats, at, lane, degrees_text(config), devices_text(config)))
    columns = ["operator", "repeats", "depth", "lane", "degrees", "devices"]
    return pd.DataFrame(rows, columns=columns)


def degrees_text(config: ParallelConfig) -> str:
    """Return the degrees as "b4 f2", copies as "x2", and "whole" for a single part."""
    degrees = {dim: config.degree(dim) for dim, _ in config.splits if config.degree(dim) > 1}
    copies = config.mesh.size // prod(degrees.values())
    words = [f"{dim}{degree}" for dim, degree in degrees.items()]
    return " ".join([*words, *([f"x{copies}"] if copies > 1 else [])]) or "whole"


def devices_text(config: ParallelConfig) -> str:
    """Return the devices in ascending order, runs joined: "0-3,8-11"."""
    devices = sorted(config.mesh.flat.tolist())
    runs = [
        [device for _, device in run]
        for _, run in groupby(enumerate(devices), lambda pair: pair[1] - pair[0])
    ]
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:_MOST_RUNS]]
    more = " …" if len(runs) > _MOST_RUNS else ""
    return ",".join(words) + more + (f" ({len(devices)})" if more else "")


def draw_strategy(table: pd.DataFrame, graph: OperatorGraph, ax: Axes) -> None:
    """Draw a :func:`strategy_table`: boxes in the order of the data, folded into columns."""
    from matplotlib.patches import FancyBboxPatch

    colors, places = _colors(table), _places(table)
    _draw_edges(graph, places, ax)
    columns = ("operator", "repeats", "degrees", "devices")
    for name, repeats, degrees, devices in zip(*(table[c].tolist() for c in columns), strict=True):
        column, line = places[name]
        corner = (column * _WIDTH - 1.5, line - 0.36)
        ax.add_patch(FancyBboxPatch(corner, 3.0, 0.72, boxstyle="round,pad=0,rounding_size=0.15",
                     facecolor=colors[devices], edgecolor="#666666", lw=0.5, zorder=2))  # fmt: skip
        text = f"{name} ×{repeats}\n{degrees}" if repeats > 1 else f"{name}\n{degrees}"
        ax.text(column * _WIDTH, line, text, ha="center", va="center", fontsize=6.5,
                color=TEXT_COLOR, zorder=3, parse_math=False)  # fmt: skip
    ax.set_xlim(-1.8, max(x for x, _ in places.values()) * _WIDTH + 1.8)
    ax.set_ylim(max(y for _, y in places.values()) + 0.7, -0.7)
    ax.axis("off")


def save_strategy_picture(graph: OperatorGraph, strategy: Strategy, path: Path) -> Path:
    """Write the picture of a strategy and return its path."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = strategy_table(graph, strategy)
    columns = (int(table["depth"].max()) // _ROWS + 1) * (int(table["lane"].max()) + 1)
    rows = min(_ROWS, int(table["depth"].max()) + 1)
    size = (min(60.0, 1.7 * columns + 1.5), 0.42 * rows + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    draw_strategy(table, graph, figure.subplots())
    colors = _colors(table)
    handles = [Patch(color=color, label=f"devices {name}") for name, color in colors.items()]
    figure.legend(handles=handles[:_MOST_COLORS], loc="outside lower center", frameon=False,
                  ncols=max(1, min(4, columns)), fontsize=7)  # fmt: skip
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=_DPI)
    return path


def _places(table: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the column and the line of every operator shown."""
    lanes = int(table["lane"].max()) + 1
    rows = zip(table["operator"].tolist(), table["depth"].tolist(), table["lane"].tolist(),
               strict=True)  # fmt: skip
    return {name: (depth // _ROWS * lanes + lane, depth % _ROWS) for name, depth, lane in rows}


def _colors(table: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return a light colour for every set of devices, in order of first use."""
    import matplotlib as mpl

    names = list(dict.fromkeys(table["devices"]))
    palette = mpl.colormaps["tab20"]
    found = {}
    for index, name in enumerate(names):
        red, green, blue, _ = palette((2 * index + index // 10) % _MOST_COLORS)
        found[name] = (0.5 + red / 2, 0.5 + green / 2, 0.5 + blue / 2)
    return found


def _draw_edges(graph: OperatorGraph, places: dict[str, tuple[int, int]], ax: Axes) -> None:
    for tensor, readers in graph.readers.items():
        source = places.get(graph.writer.get(tensor, ""))
        for target in (places[reader] for reader in readers if reader in places):
            if source is not None:
                xs, ys = zip(source, target, strict=True)
                ax.plot([x * _WIDTH for x in xs], ys, color="#999999", lw=0.6, zorder=1)


def _shown_operators(graph: OperatorGraph, strategy: Strategy) -> Iterator[tuple[Operator, int]]:
    """Yield operators with how many blocks each stands for."""
    runs = [(block, list(run)) for block, run in groupby(graph.operators, lambda op: op.block)]
    signatures = [_signature(block, run, strategy) for block, run in runs]
    index = 0
    while index < len(runs):
        same = index
        while same < len(runs) and signatures[same] == signatures[index] and runs[index][0]:
            same += 1
        repeats = max(1, same - index)
        yield from ((op, repeats) for op in runs[index][1])
        index += repeats


def _signature(block: str, run: list[Operator], strategy: Strategy) -> list[tuple[object, ...]]:
    return [
        (op.name.removeprefix(block), strategy.configs[op.name], strategy.stage_of.get(op.name, 0))
        for op in run
    ]


def _depths(graph: OperatorGraph, shown: set[str]) -> dict[str, int]:
    """Return the longest way from the input to every operator, counting those shown."""
    depth: dict[str, int] = {}
    for op in graph.operators:
        before = [depth[graph.writer[t]] for t in op.inputs if t in graph.writer]
        step = int(op.name in shown)
        depth[op.name] = max(before, default=-1) + step
    return depth
