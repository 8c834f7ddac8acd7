"""The results of a sweep as the report needs them: read whatever columns there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.plotting.sweep_axes import series_of
from flexsim.plotting.sweep_pareto import FRONT, pareto_table
from flexsim.sweep import result
from flexsim.sweep.columns import NUMBER, OK, STATUS
from flexsim.sweep.equal_work import fair_metric
from flexsim.sweep.fronts import keys_of_fronts, with_joined
from flexsim.sweep.samples import samples_in

if TYPE_CHECKING:
    import pandas as pd

TIME, MEMORY, MFU = "iteration_time_s", "peak_memory_bytes", "mfu"


@dataclass(frozen=True, eq=False)
class Results:
    """Rows of a sweep. ``keys`` are the columns that tell configurations apart."""

    name: str
    rows: pd.DataFrame
    keys: Sequence[str]

    @property
    def ranked_by(self) -> str:
        """The metric of the best: iteration time, or one that allows for unequal work."""
        metric = fair_metric(self.varying())
        is_known = metric in self.rows and self.rows[metric].notna().any()
        return metric if is_known else TIME

    @property
    def samples(self) -> str:
        """What batches are made of: sequences, images, or samples of another kind."""
        return samples_in(self.rows)

    @property
    def simulated(self) -> pd.DataFrame:
        """The rows that have an iteration time: those that fit first, then the best."""
        found = self.rows[self.rows[TIME].notna()]
        found = found.sort_values(self.ranked_by, ascending=self.ranked_by == TIME, kind="stable")
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

    Raise :class:`SweepError` where it is not what a sweep writes.
    """
    table = result.read_results(path)
    before = list(table.columns[: table.columns.get_loc(STATUS)])
    return Results(result.name_of(path), table, [str(key) for key in before if key != NUMBER])


def fronts_of(rows: pd.DataFrame, keys: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the Pareto fronts of iteration time against memory, each the quickest row first.

    Of rows that fit; where the work of an iteration differs, one for each, by its name and in
    the order of the file.
    """
    in_order = rows.sort_index()
    table, by = with_joined(in_order, keys_of_fronts(keys, (TIME, MEMORY)))
    found = pareto_table(table, TIME, MEMORY, by)
    front = found[found[FRONT]]
    return [(name, own) for name, _, own in series_of(front, by) if len(own)]
