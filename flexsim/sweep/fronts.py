"""Which Pareto fronts a picture has: one for each work of an iteration, where works differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flexsim.plotting.points import value_text
from flexsim.plotting.quantities import quantity_of
from flexsim.plotting.sweep_axes import MOST_SERIES
from flexsim.sweep.columns import COST
from flexsim.sweep.equal_work import fair_metric, keys_of_work
from flexsim.sweep.plot_rows import PlotRows

if TYPE_CHECKING:
    import pandas as pd

_TIME, _MEMORY = "iteration_time_s", "peak_memory_bytes"
_OF_AN_ITERATION = (_TIME, "baseline_iteration_time_s", COST)
"""Metrics that are smaller where an iteration has less to do."""


def aims_of(rows: PlotRows, x: str | None, y: str | None) -> tuple[str, str]:
    """Return the metrics of a Pareto picture: iteration time against memory unless given.

    Where a picture has no room for a front for each work, a metric that allows for the work
    takes the place of iteration time.
    """
    keys = keys_of_work(rows.keys)
    fair = fair_metric(keys)
    is_crowded = bool(keys) and len(rows.table[list(keys)].drop_duplicates()) > MOST_SERIES
    time = fair if is_crowded and fair in rows.metrics else _TIME
    return x or time, y or _MEMORY


def keys_of_fronts(keys: Sequence[str], aims: Sequence[str], by: str | None = None) -> list[str]:
    """Return the keys of which each combination of values has its own front; none: all share one.

    They are ``by``, and those of ``keys`` that change the work of an iteration where one of the
    ``aims`` would be better for less of it.
    """
    work = keys_of_work(keys) if set(aims) & set(_OF_AN_ITERATION) else ()
    return list(dict.fromkeys([*([by] if by else []), *work]))


def with_joined(table: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, str | None]:
    """Return the table with one column of the values of all ``keys``, and what it is called.

    That of several keys is named as its axis would be; without keys there is none.
    """
    if len(keys) < 2 and table[[*keys]].notna().all(axis=None):
        return table, next(iter(keys), None)
    name = ", ".join(quantity_of(key).axis_label for key in keys)
    texts = [", ".join(map(_text, values)) for values in table[[*keys]].to_numpy(object)]
    return table.assign(**{name: texts}), name


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "none" if value is None or value != value else value_text(value)  # noqa: PLR0124


def has_equals(fitting: pd.DataFrame, keys: Sequence[str]) -> bool:
    """Whether two rows of those that fit do the same work, so that one can beat the other."""
    work = list(keys_of_work(keys))
    return not work or bool(fitting.duplicated(work).any())
