"""Which pictures suit a sweep: chosen by the keys that vary."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from flexsim.plotting.points import is_numeric
from flexsim.sweep.columns import COST
from flexsim.sweep.equal_work import fair_metric, keys_of_work
from flexsim.sweep.fronts import has_equals
from flexsim.sweep.plot_rows import PlotRows

if TYPE_CHECKING:
    import pandas as pd

_FIRST_PAIR = ("strategy.pipeline", "strategy.tensor")
_LEAST_FILLED = 0.5
_MOST_LINES = 8
_MOST_CELLS = 40
_DEVICES = "num_devices"


def suiting(rows: PlotRows) -> list[str]:
    """Return the kinds of pictures that suit the keys that vary.

    Pareto fronts where configurations do the same work; a heat map for two numbers of the
    strategy that are combined, curves of scaling where the number of devices varies, lines for
    another number alone, and parallel coordinates where three keys vary and not all in step.
    """
    has_cells, has_devices = cells_of(rows) is not None, _varies(rows, _DEVICES)
    has_memory = "peak_memory_bytes" in rows.metrics
    fitting = rows.table[rows.table["fits_memory"]]
    wanted = {
        "scaling": has_devices,
        "heat-map": has_cells,
        "lines": not has_cells and not has_devices and line_of(rows) is not None,
        "pareto": has_memory and has_equals(fitting, rows.keys),
        "parallel": len(rows.keys) >= 3 and len(fitting) > 0 and not _are_in_step(rows),
    }
    return [kind for kind, is_wanted in wanted.items() if is_wanted]


def _are_in_step(rows: PlotRows) -> bool:
    """Whether one key tells all configurations apart, so that the others follow from it."""
    return any(rows.table[key].nunique() == len(rows.table) for key in rows.keys)


def _varies(rows: PlotRows, column: str) -> bool:
    return column in rows.table and rows.table[column].nunique() > 1


def numeric_keys(rows: PlotRows) -> list[str]:
    """Return the keys that vary and hold numbers."""
    return [key for key in rows.keys if is_numeric(rows.table[key])]


def cells_of(rows: PlotRows) -> tuple[str, str] | None:
    """Return the two keys of the strategy that suit a heat map: pipeline and tensor first."""
    keys = [key for key in numeric_keys(rows) if key.startswith("strategy.")]
    keys = [key for key in keys if rows.table[key].nunique() <= _MOST_CELLS]
    pairs = [(b, a) for a, b in combinations(keys, 2)]
    pairs.sort(key=lambda pair: pair != _FIRST_PAIR and pair != _FIRST_PAIR[::-1])
    return next((pair for pair in pairs if _is_filled(rows, pair)), None)


def _is_filled(rows: PlotRows, pair: tuple[str, str]) -> bool:
    """Whether enough combinations occur, and values of each key with several of the other.

    Keys that go in step fill a diagonal, or one row and one column.
    """
    table = rows.table
    num_cells = table[pair[0]].nunique() * table[pair[1]].nunique()
    cells = table[list(pair)].drop_duplicates()
    is_filled = len(cells) >= _LEAST_FILLED * num_cells
    return is_filled and all(_is_combined(cells, key) for key in pair)


def _is_combined(cells: pd.DataFrame, key: str) -> bool:
    """Whether two values of a key have several cells each."""
    return int((cells[key].value_counts() > 1).sum()) > 1


def line_of(rows: PlotRows) -> str | None:
    """Return the number that lines are drawn against: the one with the most values."""
    keys = numeric_keys(rows)
    return max(keys, key=lambda key: rows.table[key].nunique()) if keys else None


def series_key(rows: PlotRows, x: str) -> str | None:
    """Return the key of few values, texts first, of which there are several at one ``x``."""
    others = [key for key in rows.keys if key != x and 2 <= rows.table[key].nunique() <= 14]
    few = [key for key in others if rows.table[key].nunique() <= _MOST_LINES]
    texts = [key for key in others if rows.table[key].dtype.kind == "O"]
    several = (key for key in dict.fromkeys([*texts, *few]) if _is_free(rows, key, x))
    return next(several, None)


def _is_free(rows: PlotRows, key: str, x: str) -> bool:
    return bool((rows.table.groupby(x)[key].nunique() > 1).any())


def devices_of(rows: PlotRows) -> str:
    """Return the column that tells how many devices a configuration has."""
    return _DEVICES if _DEVICES in rows.table else "cluster.devices"


def keys_of_curves(rows: PlotRows, devices: str) -> list[str]:
    """Return the keys of which each combination has its own curve of scaling: those of the work.

    None where some work has one number of devices only, as in weak scaling, or there are many.
    """
    keys = list(keys_of_work(rows.keys))
    if not keys:
        return []
    counts = rows.table.groupby(keys, dropna=False)[devices].nunique()
    return keys if len(counts) <= _MOST_LINES and int(counts.min()) > 1 else []


def speed_of(rows: PlotRows) -> str:
    """Return what grows with the devices: FLOP/s where the model varies, else tokens a second.

    Where samples are no sequences, samples a second.
    """
    if fair_metric(rows.keys) == "mfu" and "model_flops_per_s" in rows.table:
        return "model_flops_per_s"
    rates = ["tokens_per_s", "samples_per_s"]
    wanted = rates if rows.samples == "sequences" else rates[::-1]
    return next((rate for rate in wanted if rate in rows.table), wanted[0])


def metrics_of(rows: PlotRows, first: str) -> list[str]:
    """Return the metrics that stand beside the keys of the best, the one that ranks them first."""
    wanted = [first, "iteration_time_s", "mfu", "peak_memory_bytes", COST]
    return list(dict.fromkeys(name for name in wanted if name in rows.metrics or name == first))
