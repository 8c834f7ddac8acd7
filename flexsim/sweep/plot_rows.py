"""The rows of a results file that are drawn, and how many are left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flexsim.errors import SweepError, choices_text
from flexsim.plotting.points import is_numeric
from flexsim.plotting.quantities import is_metric
from flexsim.sweep.columns import OK, OUT_OF_MEMORY, STATUS
from flexsim.sweep.expressions import Expression, NoValueError, compiled
from flexsim.sweep.samples import samples_in

if TYPE_CHECKING:
    import pandas as pd

_SPEED = "model_flops_per_s"


@dataclass(frozen=True, eq=False)
class PlotRows:
    """What is drawn of a results file."""

    name: str
    """The file, for messages."""
    title: str
    table: pd.DataFrame
    """Rows that were simulated; those that do not fit in memory have ``fits_memory`` False."""
    keys: Sequence[str]
    """The columns that tell configurations apart and have more than one value."""
    left_out: Mapping[str, int]
    """How many rows are not drawn, by why."""
    metric: str
    """What is drawn unless something else is asked for."""
    samples: str = "sequences"
    """What batches are made of: sequences, images, or samples of another kind."""

    @property
    def metrics(self) -> list[str]:
        """The columns of numbers that are no key."""
        names = map(str, self.table)
        return [name for name in names if is_metric(name) and self.table[name].notna().any()]


def plot_rows(
    table: pd.DataFrame,
    keys: Sequence[str],
    named: tuple[str, str],
    *,
    ranked_by: str = "",
    samples: str = "",
) -> PlotRows:
    """Return the rows to draw: those that were simulated, whether or not they fit in memory.

    They are ``named`` by their file, for messages, and by a title. ``samples`` are what batches
    are made of, where that is known. Raise :class:`SweepError` where there is no row.
    """
    name, title = named
    status = table[STATUS].astype(str).str.partition(":")[0]
    drawn = table[status.isin([OK, OUT_OF_MEMORY])]
    drawn = drawn.assign(fits_memory=(drawn[STATUS] == OK).to_numpy())
    left_out = dict(Counter(status[~status.isin([OK, OUT_OF_MEMORY])].tolist()))
    if drawn.empty:
        told = ", ".join(f"{count:,} {why}" for why, count in left_out.items()) or "it is empty"
        raise SweepError(
            f"{name}: no configuration was simulated, so there is nothing to draw: {told}"
        )
    if {"model_flops", "iteration_time_s"} <= set(drawn):
        drawn = drawn.assign(**{_SPEED: drawn["model_flops"] / drawn["iteration_time_s"]})
    varying = [key for key in keys if drawn[key].nunique() > 1]
    metric, samples = _metric(drawn, ranked_by), samples_in(drawn, samples)
    return PlotRows(name, title, drawn, varying, left_out, metric, samples)


def _metric(drawn: pd.DataFrame, ranked_by: str) -> str:
    """Return the metric that a sweep ranks by; in place of iteration time MFU, if it is known."""
    has_mfu = "mfu" in drawn and drawn["mfu"].notna().any()
    if ranked_by in ("", "iteration_time_s") and has_mfu:
        return "mfu"
    return ranked_by or "iteration_time_s"


def rows_where(rows: PlotRows, text: str) -> PlotRows:
    """Return the rows for which an expression over the columns holds.

    Raise :class:`SweepError` in one sentence where it is none, or holds for no row.
    """
    where = f"{rows.name}: --where"
    expression = compiled(text, where, _names(rows.table))
    records = rows.table[list(expression.names)].to_dict("records")
    holds = [_holds(expression, {str(k): v for k, v in each.items()}) for each in records]
    if not any(holds):
        raise SweepError(f"{where} {text!r} holds for none of the {len(holds):,} configurations")
    table = rows.table[holds]
    keys = [key for key in rows.keys if table[key].nunique() > 1]
    without = {"by --where": len(holds) - sum(holds)} if not all(holds) else {}
    return replace(rows, table=table, keys=keys, left_out={**rows.left_out, **without})


def _names(table: pd.DataFrame) -> Collection[str]:
    return [str(name) for name in table.columns]


def _holds(expression: Expression, row: Mapping[str, Any]) -> bool:
    """Return whether an expression holds; an empty cell stands for none, and is no number."""
    values = {name: None if _is_empty(value) else value for name, value in row.items()}
    try:
        return bool(expression.value(values.__getitem__))
    except NoValueError:
        return False
    except SweepError:
        if None in values.values():
            return False
        raise


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def key_of(rows: PlotRows, name: str, option: str) -> str:
    """Return the column that an option names, in full or by its last part.

    Raise :class:`SweepError` with the nearest names where there is none.
    """
    return _column(rows, name, option, lambda each: True)


def metric_of(rows: PlotRows, name: str, option: str) -> str:
    """Return the column of numbers that an option names, in full or by its last part.

    Raise :class:`SweepError` where there is none, or it has no numbers.
    """
    return _column(rows, name, option, lambda each: is_numeric(rows.table[each]))


def _column(rows: PlotRows, name: str, option: str, suits: Callable[[str], bool]) -> str:
    """Return the column of a name; choices are those that suit."""
    table = rows.table
    short = [each for each in rows.keys if each.rpartition(".")[2] == name]
    found = name if name in table else short[0] if len(short) == 1 else ""
    known = [each for each in [*rows.keys, *rows.metrics] if suits(each)]
    if not found:
        raise SweepError(
            f"{rows.name}: {option} {name}: there is no such column: {choices_text(name, known)}"
        )
    choices = f"choose from {', '.join(known)}"
    if table[found].isna().all():
        raise SweepError(f"{rows.name}: {option} {found}: no configuration has it: {choices}")
    if not suits(found):
        raise SweepError(f"{rows.name}: {option} {found} holds no numbers: {choices}")
    return found
