"""Rows of a results table as the points of a picture: the best of each place, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flexsim.plotting.quantities import quantity_of

if TYPE_CHECKING:
    import pandas as pd

FITS = "fits_memory"
"""The column that tells whether a configuration fits in memory; without it all do."""


def fits_of(table: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each row fits in memory; where that is not known it does."""
    import pandas as pd

    if FITS not in table:
        return pd.Series(True, index=table.index)
    return table[FITS].map(lambda value: str(value) != "False").astype(bool)


def best_points(results: pd.DataFrame, places: Sequence[str], metric: str) -> pd.DataFrame:
    """Return the best row of every combination of values of the columns ``places``.

    A row that fits in memory comes before all that do not; among these the metric decides, and
    of equal ones the first row. Rows without the metric or a place are left out. The column
    ``fits_memory`` of the answer holds truth values, texts
    are categories.
    """
    known = results[results[[*dict.fromkeys([*places, metric])]].notna().all(axis=1)]
    known = known.assign(**{FITS: fits_of(known)})
    sign = -1 if quantity_of(metric).is_larger_better else 1
    order = np.lexsort([sign * known[metric].to_numpy(float), ~known[FITS].to_numpy(bool)])
    best = known.iloc[order].drop_duplicates(list(dict.fromkeys(places)))
    return in_order(best.sort_index(kind="stable"), known, places)


def in_order(best: pd.DataFrame, known: pd.DataFrame, places: Sequence[str]) -> pd.DataFrame:
    """Return the rows with texts as categories, in the order in which they come in ``known``."""
    import pandas as pd

    texts = [name for name in dict.fromkeys(places) if not is_numeric(known[name])]
    ordered = {name: pd.Categorical(best[name], values_of(known[name])) for name in texts}
    return best.assign(**ordered)


def values_of(column: pd.Series[Any]) -> list[Any]:
    """Return the distinct values of a column: numbers in order, others as they first come.

    Of a categorical column all categories, also those that no row has.
    """
    if column.dtype == "category":
        return [_plain(value) for value in column.cat.categories.tolist()]
    found = [_plain(value) for value in column.dropna().unique().tolist()]
    return sorted(found) if is_numeric(column) or _are_truths(found) else found


def is_numeric(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers, and not truth values."""
    return column.dtype.kind in "iuf"


def _are_truths(values: Sequence[Any]) -> bool:
    return all(isinstance(value, bool) for value in values)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def value_text(value: Any) -> str:
    """Return a value of a key as its file has it: ``8``, ``true``, ``1f1b``."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return str(value)


def short_name(key: str) -> str:
    """Return the last part of a key as a word: "micro batch" of ``training.micro_batch``."""
    return key.rpartition(".")[2].replace("_", " ")
