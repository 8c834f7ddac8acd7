"""The pictures of a sweep, by kind: what is asked for, checked, as a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flexsim.errors import SweepError, choices_text
from flexsim.plotting.points import FITS, is_numeric
from flexsim.plotting.quantities import batches_of, quantity_of
from flexsim.plotting.sweep_axes import MOST_SERIES, new_figure, new_panels
from flexsim.sweep.fronts import aims_of, keys_of_fronts, with_joined
from flexsim.sweep.plot_rows import PlotRows, key_of, metric_of
from flexsim.sweep.suiting import (
    cells_of,
    devices_of,
    keys_of_curves,
    line_of,
    metrics_of,
    series_key,
    speed_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_MOST_CATEGORIES = 60
_MOST_KEYS = 12
"""So many axes of keys have room beside one another."""
_HOLLOW = "Hollow: does not fit in memory."


@dataclass(frozen=True)
class Asked:
    """The columns of a picture; what is not given is chosen. ``best`` is for parallel ones."""

    x: str | None = None
    y: str | None = None
    by: str | None = None
    best: int = 20


def picture(rows: PlotRows, kind: str, asked: Asked) -> Figure:
    """Return a picture of one of the :data:`KINDS`.

    Raise :class:`SweepError` in one sentence where a column is missing, or does not suit.
    """
    if kind not in KINDS:
        raise SweepError(f"--kind {kind}: {choices_text(kind, KINDS)}")
    with batches_of(rows.samples):
        return KINDS[kind](rows, asked)


def _lines(rows: PlotRows, asked: Asked) -> Figure:
    from flexsim.plotting.sweep_lines import draw_lines, lines_table

    chosen_x = asked.x or line_of(rows)
    x = key_of(rows, _given(rows, chosen_x, "lines", "--x"), "--x")
    y = metric_of(rows, asked.y or rows.metric, "--y")
    by = key_of(rows, asked.by, "--by") if asked.by else None if asked.x else series_key(rows, x)
    if not is_numeric(rows.table[x]):
        _check_number(rows, x, "--x", _MOST_CATEGORIES)
    if by:
        _check_number(rows, by, "--by", MOST_SERIES)
    table = lines_table(rows.table, x, y, by)
    figure, ax = new_figure(_title(rows, y, x), _caption(rows, table, [x, *([by] if by else [])]))
    draw_lines(table, ax, x=x, y=y, by=by)
    return figure


def _heat_map(rows: PlotRows, asked: Asked) -> Figure:
    from flexsim.plotting.sweep_heat_map import draw_heat_map, heat_map_table, size_of_heat_map

    pair = cells_of(rows) or (None, None)
    x = key_of(rows, _given(rows, asked.x or pair[0], "a heat map", "--x"), "--x")
    by = key_of(rows, _given(rows, asked.by or pair[1], "a heat map", "--by"), "--by")
    if x == by:
        raise SweepError(f"--by {by}: is --x too; a heat map needs two different columns")
    y = metric_of(rows, asked.y or rows.metric, "--y")
    num_across = _check_number(rows, x, "--x", _MOST_CATEGORIES)
    num_up = _check_number(rows, by, "--by", _MOST_CATEGORIES)
    table = heat_map_table(rows.table, x, by, y)
    caption = _caption(rows, table, [x, by], "" if table[FITS].all() else _HOLLOW)
    title = _title(rows, y, x, by)
    figure, ax = new_figure(title, caption, size_of_heat_map(num_across, num_up))
    draw_heat_map(table, ax, x=x, y=by, value=y)
    return figure


def _pareto(rows: PlotRows, asked: Asked) -> Figure:
    from flexsim.plotting.sweep_pareto import draw_pareto, pareto_table, size_of_pareto

    x, y = aims_of(rows, asked.x, asked.y)
    x, y = metric_of(rows, x, "--x"), metric_of(rows, y, "--y")
    given = key_of(rows, asked.by, "--by") if asked.by else None
    keys = keys_of_fronts(rows.keys, (x, y), given)
    joined, by = _series(rows, keys)
    table = pareto_table(joined, x, y, by)
    title = f"{rows.title}: Pareto front{'s' if by else ''} of {' and '.join(_labels(x, y))}"
    others = [key for key in rows.keys if key not in keys]
    caption = f"{_fronts_told(table, by, keys, others)}{_left_out(rows)}".strip()
    figure, ax = new_figure(title, caption, size_of_pareto(table, by))
    draw_pareto(table, ax, x=x, y=y, keys=others, by=by)
    return figure


def _fronts_told(
    table: pd.DataFrame, by: str | None, keys: Sequence[str], others: Sequence[str]
) -> str:
    """Return what has a front of its own, and what the legend tells of it."""
    from flexsim.plotting.sweep_pareto import FRONT, told_keys

    if by is None:
        return ""
    has_first = told_keys(table[table[FRONT]], others, by)
    first = "; below its name the configuration at its left end" if has_first else ""
    return f"A front for each {' and '.join(_labels(*keys))}{first}. "


def _scaling(rows: PlotRows, asked: Asked) -> Figure:
    from flexsim.plotting.sweep_scaling import draw_efficiency, draw_scaling, scaling_table

    x = metric_of(rows, asked.x or devices_of(rows), "--x")
    y = metric_of(rows, asked.y or speed_of(rows), "--y")
    if not (rows.table[[x, y]].dropna() > 0).all(axis=None):
        raise SweepError(
            f"{rows.name}: {x} and {y} should be above zero everywhere, since both axes are"
            " logarithmic; choose others, or fewer rows with --where"
        )
    keys = [key_of(rows, asked.by, "--by")] if asked.by else keys_of_curves(rows, x)
    joined, by = _series(rows, keys)
    table = scaling_table(joined, x, y, by)
    places = [x, *keys]
    told = "Per cent: speed against the ideal, in the legend at the last point."
    caption = _caption(rows, table, places, told)
    figure, (above, below) = new_panels(_title(rows, y, x), caption, (7.6, 5.8), [5, 3])
    draw_scaling(table, above, x=x, y=y, by=by)
    draw_efficiency(table, below, x=x, by=by)
    above.set_xlabel("")
    return figure


def _parallel(rows: PlotRows, asked: Asked) -> Figure:
    from flexsim.plotting.sweep_parallel import draw_parallel, parallel_table

    if not rows.keys:
        raise SweepError(f"{rows.name}: no key varies, so there is nothing to draw in parallel")
    metric = metric_of(rows, asked.y or rows.metric, "--y")
    metrics = metrics_of(rows, metric)
    keys, further = _apart(rows)[:_MOST_KEYS], len(_apart(rows)) - _MOST_KEYS
    table = parallel_table(rows.table, keys, metrics, asked.best)
    if table.empty:
        raise SweepError(f"{rows.name}: no configuration fits in memory, so none is the best")
    title = f"{rows.title}: the best {len(table)} by {quantity_of(metric).label}"
    more = f"{further} further keys vary. " if further > 0 else ""
    told = f"The darkest and widest line is the best. {more}{_left_out(rows)}".strip()
    width_in = min(max(7.6, 1.25 * (len(keys) + len(metrics))), 20.0)
    figure, ax = new_figure(title, told, (width_in, 4.6))
    draw_parallel(table, ax, keys=keys, metrics=metrics)
    return figure


KINDS: dict[str, Callable[[PlotRows, Asked], Figure]] = {
    "lines": _lines,
    "heat-map": _heat_map,
    "pareto": _pareto,
    "scaling": _scaling,
    "parallel": _parallel,
}
"""Kinds of pictures by name."""


def _given(rows: PlotRows, name: str | None, what: str, option: str) -> str:
    if name is None:
        choices = ", ".join(rows.keys) or "num_devices"
        raise SweepError(f"{rows.name}: {what} needs {option}: choose from {choices}")
    return name


def _check_number(rows: PlotRows, column: str, option: str, most: int) -> int:
    """Return how many values a column has; raise :class:`SweepError` for more than ``most``."""
    found = rows.table[column].nunique()
    if found > most:
        raise SweepError(
            f"{rows.name}: {option} {column} has {found:,} values, and a picture has room for"
            f" {most}; choose another key, or fewer rows with --where"
        )
    return found


def _labels(*columns: str) -> list[str]:
    return [quantity_of(column).label for column in columns]


def _series(rows: PlotRows, keys: Sequence[str]) -> tuple[pd.DataFrame, str | None]:
    """Return the rows with one column of the values of all ``keys``, few enough to be drawn."""
    joined, by = with_joined(rows.table, keys)
    if by:
        _check_number(replace(rows, table=joined), by, "--by", MOST_SERIES)
    return joined, by


def _title(rows: PlotRows, metric: str, *keys: str) -> str:
    against = " and ".join(_labels(*keys))
    return f"{rows.title}: {quantity_of(metric).label} against {against}"


def _caption(rows: PlotRows, table: pd.DataFrame, places: Sequence[str], further: str = "") -> str:
    """Return what a point stands for where several configurations share it, and what lacks."""
    others = _labels(*(key for key in rows.keys if key not in places))
    best = (
        f"Of each place the best over {', '.join(others)}." if others else "Of each place the best."
    )
    told = [best] if len(table) < len(rows.table) else []
    return " ".join(filter(None, [*told, further, _left_out(rows)]))


def _left_out(rows: PlotRows) -> str:
    words = [f"{count:,} {why}" for why, count in rows.left_out.items()]
    total = sum(rows.left_out.values()) + len(rows.table)
    return f"Left out of {total:,} configurations: {', '.join(words)}." if words else ""


def _apart(rows: PlotRows) -> list[str]:
    """Return the keys that vary, without those that only name the values of an earlier one."""
    found: list[str] = []
    for key in rows.keys:
        if not any(_go_together(rows.table, key, other) for other in found):
            found.append(key)
    return found


def _go_together(table: pd.DataFrame, one: str, other: str) -> bool:
    pairs = len(table[[one, other]].drop_duplicates())
    return pairs == table[one].nunique(dropna=False) == table[other].nunique(dropna=False)
