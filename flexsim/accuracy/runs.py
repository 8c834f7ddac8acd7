"""Tables of measured runs: a CSV file in, runs out, each with its scenario and what was measured.

    for run in read_runs("runs.csv"):
        scenario = run.scenario()       # or scenario_of(run, {"training.software": "mine.toml"})
        if isinstance(scenario, Unsimulatable):
            print(run.row_id, scenario.reason)
        elif run.measured_ns is not None:
            print(run.row_id, run.measured_ns, run.measured.metric)

The columns are those of :data:`flexsim.accuracy.columns.COLUMNS`; every spelling that is known is
a line of :mod:`flexsim.accuracy.spellings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flexsim.accuracy.cells import Cells, UnsimulatableError, read_cells
from flexsim.accuracy.measured import (
    Measured,
    MeasuredMemory,
    measured_of,
    memory_of,
    out_of_memory,
)
from flexsim.accuracy.run_scenario import build_scenario
from flexsim.scenario.schema import Scenario

__all__ = ["Measured", "MeasuredMemory", "Run", "Unsimulatable", "read_runs", "scenario_of"]


@dataclass(frozen=True)
class Unsimulatable:
    """Why a run cannot be simulated, or compared."""

    reason: str


@dataclass(frozen=True)
class Run:
    """One measured run: a row of a table."""

    cells: Cells

    @property
    def row_id(self) -> str:
        """The row's own name, or the number of its line."""
        return self.cells.text("row_id") or f"line {self.cells.line}"

    @property
    def family(self) -> str:
        """The source without what it says in parentheses at the end; the file's name without."""
        source = re.sub(r"\s*\([^()]*\)\s*$", "", self.cells.text("source"))
        return source or Path(self.cells.source).stem

    def scenario(self) -> Scenario | Unsimulatable:
        """Return the scenario of the run, or why there is none."""
        return self._scenario

    @property
    def measured(self) -> Measured | None:
        """The measured time of an iteration and its column; None where there is none.

        Of a run that cannot be simulated it is None too: rates need its batch and its model.
        """
        found = self._measured
        return None if isinstance(found, Unsimulatable) else found

    @property
    def measured_ns(self) -> int | None:
        """The measured time of an iteration in nanoseconds; None where there is none."""
        return None if self.measured is None else self.measured.nanoseconds

    @property
    def given_s(self) -> float | None:
        """The column ``iter_time_s`` as it stands, also of a run that cannot be simulated."""
        try:
            return self.cells.number("iter_time_s")
        except UnsimulatableError:
            return None

    @property
    def memory(self) -> MeasuredMemory | None:
        """The measured memory of a device; None where there is none or it cannot be read."""
        try:
            return memory_of(self.cells)
        except UnsimulatableError:
            return None

    @property
    def is_out_of_memory(self) -> bool:
        """Whether the row says that the run did not fit into memory."""
        return out_of_memory(self.cells)

    @property
    def problem(self) -> str:
        """Why the run cannot be simulated, or its measurement not be read; empty where both can."""
        for found in (self._scenario, self._measured):
            if isinstance(found, Unsimulatable):
                return found.reason
        return ""

    @cached_property
    def _scenario(self) -> Scenario | Unsimulatable:
        return scenario_of(self)

    @cached_property
    def _measured(self) -> Measured | Unsimulatable | None:
        if isinstance(self._scenario, Unsimulatable):
            return self._scenario
        try:
            return measured_of(self.cells, self._scenario)
        except UnsimulatableError as problem:
            return Unsimulatable(str(problem))


def read_runs(path: str | Path) -> list[Run]:
    """Return the runs of a CSV file, in order.

    Raise :class:`~flexsim.accuracy.columns.RunsError` in one sentence where the file cannot be
    read or a column is missing or misspelt; a row that makes no sense is a run with a problem.
    """
    return [Run(cells) for cells in read_cells(Path(path))]


def scenario_of(run: Run, changes: Mapping[str, Any] | None = None) -> Scenario | Unsimulatable:
    """Return the scenario of a run, or why there is none.

    ``changes`` replaces keys: ``{"training.software": "profiles/mine.toml"}``. Whether the parts
    fit together (heads by tensor parallelism, say) is only known when the scenario is run.
    """
    try:
        return build_scenario(run.cells, changes or {})
    except UnsimulatableError as problem:
        return Unsimulatable(str(problem))
