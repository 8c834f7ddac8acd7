"""What a sweep gives back: its results file, and what the rows in it come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.sweep.columns import COST, NUMBER, OK, OUT_OF_MEMORY, SKIPPED

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    ``best`` has the ten best rows that fit in memory, ``front`` those of the Pareto front of
    iteration time against memory (and cost), as mappings of the columns; ``skipped`` and
    ``errors`` count rows by reason, ``refused`` combinations by the condition that they do not
    meet. ``num_before`` rows were in the file already; ``seconds`` is the time of this run.
    """

    path: Path
    name: str
    keys: tuple[str, ...]
    """Those that vary."""
    ranked_by: str
    statuses: Mapping[str, int]
    skipped: Mapping[str, int]
    errors: Mapping[str, int]
    refused: Mapping[str, int]
    best: Sequence[Mapping[str, Any]]
    front: Sequence[Mapping[str, Any]]
    num_before: int
    seconds: float

    @property
    def num_rows(self) -> int:
        """Number of configurations."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Configurations a second in this run."""
        new = self.num_rows - self.num_before
        return new / self.seconds if self.seconds else 0.0

    def table(self) -> pd.DataFrame:
        """Return all rows, as a table with the columns of the file."""
        return read_results(self.path)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the sweep by name, as ``--json`` prints them."""
        counts = {name: self.statuses.get(name, 0) for name in (OK, OUT_OF_MEMORY, SKIPPED)}
        return {
            "results": str(self.path),
            "configurations": self.num_rows,
            **{name.replace("-", "_"): number for name, number in counts.items()},
            "errors": dict(self.errors),
            "skipped_because": dict(self.skipped),
            "where_is_false": dict(self.refused),
            "ranked_by": self.ranked_by,
            "best": [self._short(row) for row in self.best],
            "pareto_front": [self._short(row) for row in self.front],
            "rows_before": self.num_before,
            "seconds": round(self.seconds, 3),
            "configurations_per_s": round(self.rate, 1),
        }

    def columns_to_show(self) -> list[str]:
        """Return the columns that tell one row from another, and what it came to."""
        further = (self.ranked_by, "iteration_time_s", "mfu", "peak_memory_bytes", "num_devices")
        cost = [COST] if self.best and COST in self.best[0] else []
        return list(dict.fromkeys([*self.keys, *further, *cost]))

    def _short(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value(row.get(name, "")) for name in (NUMBER, *self.columns_to_show())}


def read_results(path: str | Path) -> pd.DataFrame:
    """Return the rows of a results file, .csv or .parquet, as a table."""
    import pandas as pd

    if Path(path).suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path)


def _value(text: str) -> Any:
    """Return the number or truth value that a cell holds, else its text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "": None}.get(text, text)
