"""What a sweep gives back: its results file, and what the rows in it come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.errors import SweepError
from flexsim.files import reason_of
from flexsim.sweep.columns import COST, FINGERPRINT, NUMBER, OK, OUT_OF_MEMORY, SKIPPED, STATUS
from flexsim.sweep.equal_work import by_work, keys_of_work

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = (STATUS, "iteration_time_s")
_NUMBERS = ("iteration_time_s", "peak_memory_bytes", "mfu")


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    ``best`` has the ten best rows that fit in memory, ``front`` those of the Pareto front of
    iteration time against memory (and cost), as mappings of the columns; where rows differ in
    the work of an iteration, those of one front for each work, one after the other. ``skipped``
    and ``errors`` count rows by reason, ``refused`` combinations by the condition that they do
    not meet. ``num_before`` rows were in the file already; ``seconds`` is the time of this run.
    """

    path: Path
    name: str
    keys: tuple[str, ...]
    """Those that vary."""
    ranked_by: str
    samples: str
    """What batches are made of, as far as the scenario tells."""
    statuses: Mapping[str, int]
    skipped: Mapping[str, int]
    errors: Mapping[str, int]
    refused: Mapping[str, int]
    best: Sequence[Mapping[str, Any]]
    front: Sequence[Mapping[str, Any]]
    nearest: Mapping[str, Any] | None
    """Where nothing fits in memory, the row that needs least of it."""
    num_before: int
    seconds: float

    @property
    def work(self) -> tuple[str, ...]:
        """The keys that vary and change the work of an iteration; there is a front for each."""
        return keys_of_work(self.keys)

    @property
    def fronts(self) -> list[list[Mapping[str, Any]]]:
        """The Pareto fronts, each of iterations that do the same work."""
        return list(by_work(self.front, self.work).values())

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
            "pareto_front_for_each": list(self.work),
            "pareto_front": [self._short(row) for row in self.front],
            "nearest_to_fitting": self._short(self.nearest) if self.nearest else None,
            "rows_before": self.num_before,
            "seconds": round(self.seconds, 3),
            "configurations_per_s": round(self.rate, 1),
        }

    def columns_to_show(self) -> list[str]:
        """Return the columns that tell one row from another, and what it came to."""
        devices = () if "cluster.devices" in self.keys else ("num_devices",)
        cost = (COST,) if self.best and COST in self.best[0] else ()
        metrics = (self.ranked_by, "iteration_time_s", "mfu", "peak_memory_bytes", *devices, *cost)
        return list(dict.fromkeys([*self.keys, *metrics]))

    def _short(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value(row.get(name, "")) for name in (NUMBER, *self.columns_to_show())}


def name_of(path: Path) -> str:
    """Return what results are called: by their file, or their directory where it is results.csv."""
    return path.stem if path.stem != "results" else path.absolute().parent.name


def read_results(path: str | Path) -> pd.DataFrame:
    """Return the rows of a results file, .csv or .parquet, as a table.

    A torn last line of a CSV, as a sweep that was killed leaves it, is left out. Raise
    :class:`SweepError` in one sentence where it is not what a sweep writes.
    """
    table = _read(Path(path))
    for column in _NEEDED:
        if column not in table.columns:
            found = ", ".join(map(str, table.columns[:12])) or "none"
            raise SweepError(
                f"{path}: are no results of a sweep: there is no column {column!r}, only {found}"
            )
    if FINGERPRINT in table.columns:
        table = table[table[FINGERPRINT].notna()]
    if not len(table):
        raise SweepError(f"{path}: the sweep has no rows yet")
    for column in _NUMBERS:
        if column in table.columns and table[column].dtype.kind not in "fiu":
            raise SweepError(f"{path}: column {column!r} should hold numbers only")
    return table


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        whole_lines = path.read_bytes().rpartition(b"\n")[0]
        return pd.read_csv(BytesIO(whole_lines), low_memory=False)
    except (OSError, ValueError) as problem:
        raise SweepError(f"{path}: cannot be read: {reason_of(problem)}") from problem


def _value(text: str) -> Any:
    """Return the number or truth value that a cell holds, else its text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "": None}.get(text, text)
