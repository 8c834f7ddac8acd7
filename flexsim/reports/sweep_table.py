"""The results of a sweep as the report needs them: read whatever columns there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexsim.reports.files import ReportError, reason_of
from flexsim.sweep.columns import FINGERPRINT, NUMBER, OK, STATUS

if TYPE_CHECKING:
    import pandas as pd

TIME, MEMORY, MFU = "iteration_time_s", "peak_memory_bytes", "mfu"
_NEEDED = (STATUS, TIME)


@dataclass(frozen=True, eq=False)
class Results:
    """Rows of a sweep. ``keys`` are the columns that tell configurations apart."""

    name: str
    rows: pd.DataFrame
    keys: Sequence[str]

    @property
    def simulated(self) -> pd.DataFrame:
        """The rows that have an iteration time: those that fit first, then the quickest."""
        found = self.rows[self.rows[TIME].notna()].sort_values(TIME, kind="stable")
        return found.sort_values(STATUS, key=lambda status: status != OK, kind="stable")

    @property
    def fitting(self) -> pd.DataFrame:
        """Those of them that fit in memory."""
        found = self.simulated
        return found[found[STATUS] == OK]

    def varying(self) -> list[str]:
        """Return the keys that have more than one value."""
        return [key for key in self.keys if self.rows[key].nunique(dropna=False) > 1]


def short_names(keys: Sequence[str]) -> list[str]:
    """Return keys without their table where that is enough to tell them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return [one if last.count(one) == 1 else key for one, key in zip(last, keys, strict=True)]


def read_results(path: Path) -> Results:
    """Return the rows of a CSV or Parquet file; a torn last line of a CSV is left out.

    Raise :class:`ReportError` where it is not what a sweep writes.
    """
    table = _read(path)
    for column in _NEEDED:
        if column not in table.columns:
            found = ", ".join(map(str, table.columns[:12])) or "none"
            raise ReportError(
                f"{path}: are no results of a sweep: there is no column {column!r}, only {found}"
            )
    if FINGERPRINT in table.columns:
        table = table[table[FINGERPRINT].notna()]
    if not len(table):
        raise ReportError(f"{path}: the sweep has no rows yet")
    for column in (TIME, MEMORY, MFU):
        if column in table.columns and table[column].dtype.kind not in "fiu":
            raise ReportError(f"{path}: column {column!r} should hold numbers only")
    before = list(table.columns[: table.columns.get_loc(STATUS)])
    return Results(path.name, table, [str(key) for key in before if key != NUMBER])


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        whole_lines = path.read_bytes().rpartition(b"\n")[0]
        return pd.read_csv(BytesIO(whole_lines), low_memory=False)
    except (OSError, ValueError) as problem:
        raise ReportError(f"{path}: cannot be read: {reason_of(problem)}") from problem


def front_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, the quickest first, that no quicker one undercuts in peak memory."""
    ordered = rows[rows[MEMORY].notna()].sort_values([TIME, MEMORY], kind="stable")
    least = np.minimum.accumulate(ordered[MEMORY].to_numpy())
    return ordered[np.diff(least, prepend=np.inf) < 0]
