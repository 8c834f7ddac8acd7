"""The picture of a strategy: operators coloured by their devices, labelled with their degrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import prod
from pathlib import Path
from string import digits
from typing import TYPE_CHECKING

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.plotting.saving import save_figure
from flexsim.plotting.style import TEXT_COLOR
from flexsim.strategy import ParallelConfig, Strategy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_ROWS = 28
"""Operators below each other before a new column begins."""
_UNROLLED = 8
"""So many equal operators are shown as one."""
_MOST_COLORS = 20
_MOST_RUNS = 4
_WIDTH = 3.4


def strategy_table(graph: OperatorGraph, strategy: Strategy) -> pd.DataFrame:
    """Return ``operator, repeats, depth, lane, degrees, devices``, a row an operator shown.

    Of neighbouring blocks whose operators are cut and placed alike only the first is shown, and
    of many equal operators, as the steps of an unrolled layer are, the first; ``repeats`` tells
    how many operators it stands for. ``depth`` is the place on the longest way from the input,
    ``lane`` tells apart what is equally deep.
    """
    import pandas as pd

    stands_for = representatives(graph, strategy)
    repeats = Counter(stands_for.values())
    depth = _depths(graph, stands_for)
    lanes: dict[int, int] = {}
    rows = []
    for name in dict.fromkeys(stands_for.values()):
        config, at = strategy.configs[name], depth[name]
        lane = lanes[at] = lanes.get(at, -1) + 1
        row = (name, repeats[name], at, lane, degrees_text(config), devices_text(config))
        rows.append(row)
    columns = ["operator", "repeats", "depth", "lane", "degrees", "devices"]
    return pd.DataFrame(rows, columns=columns)


def representatives(graph: OperatorGraph, strategy: Strategy) -> dict[str, str]:
    """Return for every operator the one that is shown in its place, itself or an earlier one."""
    of_block = dict(_first_alike_blocks(graph, strategy))
    groups: dict[tuple[object, ...], list[str]] = {}
    for op in graph.operators:
        if of_block[op.name] == op.name:
            groups.setdefault(_equality(op, strategy), []).append(op.name)
    of_group = {
        name: names[0] if len(names) >= _UNROLLED else name
        for names in groups.values()
        for name in names
    }
    return {name: of_group[shown] for name, shown in of_block.items()}


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


def draw_strategy(table: pd.DataFrame, edges: Iterable[tuple[str, str]], ax: Axes) -> None:
    """Draw a :func:`strategy_table`: boxes in the order of the data, folded into columns.

    ``edges`` are pairs of operators shown.
    """
    from matplotlib.patches import FancyBboxPatch

    colors, places = _colors(table), _places(table)
    _draw_edges(edges, places, ax)
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
    edges = _edges(graph, representatives(graph, strategy))
    draw_strategy(table, edges, figure.subplots())
    colors = _colors(table)
    handles = [Patch(color=color, label=f"devices {name}") for name, color in colors.items()]
    figure.legend(handles=handles[:_MOST_COLORS], loc="outside lower center", frameon=False,
                  ncols=max(1, min(4, columns)), fontsize=7)  # fmt: skip
    return save_figure(figure, path)


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


def _draw_edges(
    edges: Iterable[tuple[str, str]], places: dict[str, tuple[int, int]], ax: Axes
) -> None:
    for source, target in edges:
        xs, ys = zip(places[source], places[target], strict=True)
        ax.plot([x * _WIDTH for x in xs], ys, color="#999999", lw=0.6, zorder=1)


def _edges(graph: OperatorGraph, stands_for: dict[str, str]) -> list[tuple[str, str]]:
    """Return who is read by whom among the operators shown, forward in the program's order."""
    order = {name: index for index, name in enumerate(dict.fromkeys(stands_for.values()))}
    found: dict[tuple[str, str], None] = {}
    for op in graph.operators:
        for writer in (graph.writer[t] for t in op.inputs if t in graph.writer):
            pair = stands_for[writer], stands_for[op.name]
            if order[pair[0]] < order[pair[1]]:
                found[pair] = None
    return list(found)


def _first_alike_blocks(graph: OperatorGraph, strategy: Strategy) -> Iterator[tuple[str, str]]:
    """Yield every operator with its like in the first of the neighbouring blocks that are alike."""
    runs = [(block, list(run)) for block, run in groupby(graph.operators, lambda op: op.block)]
    signatures = [_signature(block, run, strategy) for block, run in runs]
    first = 0
    for index, (block, run) in enumerate(runs):
        if not block or signatures[index] != signatures[first]:
            first = index
        for op, like in zip(run, runs[first][1], strict=True):
            yield op.name, like.name


def _signature(block: str, run: list[Operator], strategy: Strategy) -> list[tuple[object, ...]]:
    return [
        (op.name.removeprefix(block), strategy.configs[op.name], strategy.stage_of.get(op.name, 0))
        for op in run
    ]


def _equality(op: Operator, strategy: Strategy) -> tuple[object, ...]:
    stage = strategy.stage_of.get(op.name, 0)
    return op.name.rstrip(digits), op.kind, op.dims, strategy.configs[op.name], stage


def _depths(graph: OperatorGraph, stands_for: dict[str, str]) -> dict[str, int]:
    """Return the longest way from the input to every operator shown."""
    depth = dict.fromkeys(stands_for.values(), 0)
    readers: dict[str, list[str]] = {name: [] for name in depth}
    for source, target in _edges(graph, stands_for):
        readers[source].append(target)
    for source in depth:
        for target in readers[source]:
            depth[target] = max(depth[target], depth[source] + 1)
    return depth
