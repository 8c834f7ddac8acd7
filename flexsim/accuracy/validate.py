"""Simulated against measured: of scenarios with published numbers, or of a table of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.accuracy.compare import Comparison, compare
from flexsim.accuracy.flops import device_type_of
from flexsim.accuracy.questions import questions_of_runs, questions_of_scenarios
from flexsim.accuracy.runs import read_runs
from flexsim.accuracy.summary import (
    Errors,
    Flags,
    by_family,
    memory_errors,
    time_errors,
)
from flexsim.errors import ScenarioError
from flexsim.files import data_directory

if TYPE_CHECKING:
    import pandas as pd

_GIB = 2**30


@dataclass(frozen=True, eq=False)
class Validation:
    """Comparisons of measured with simulated values, and their summaries."""

    title: str
    comparisons: tuple[Comparison, ...]

    @property
    def errors(self) -> Errors | None:
        """Errors of time in all; None where nothing could be compared."""
        return time_errors(self.comparisons)

    @property
    def families(self) -> dict[str, list[Comparison]]:
        """The comparisons of every family."""
        return by_family(self.comparisons)

    def table(self) -> pd.DataFrame:
        """Return a row a comparison: validation.csv."""
        import pandas as pd

        return pd.DataFrame([_row(each) for each in self.comparisons], columns=[*_COLUMNS])

    def content(self) -> dict[str, Any]:
        """Return everything as plain values; errors are fractions, times seconds."""
        rows = [
            {key: None if value == "" else value for key, value in _row(each).items()}
            for each in self.comparisons
        ]
        families = {
            name: {**_summary(time_errors(some)), "memory": _summary(memory_errors(some))}
            for name, some in self.families.items()
        }
        memory = _summary(memory_errors(self.comparisons)) | {
            "flags": asdict(Flags.of(self.comparisons))
        }
        counts = {"num_rows": len(rows)}
        return {
            "title": self.title,
            **counts,
            **_summary(self.errors),
            "memory": memory,
            "families": families,
            "rows": rows,
        }

    def save(self, directory: str | Path) -> list[Path]:
        """Write validation.csv and, where times in seconds were compared, validation.png."""
        from flexsim.files import whole_file
        from flexsim.plotting.validation import drawn, save_validation

        folder, table = Path(directory), self.table()
        with whole_file(folder / "validation.csv") as path:
            table.to_csv(path, index=False)
        if drawn(table).empty:
            return [folder / "validation.csv"]
        picture = save_validation(table, self.title, folder / "validation.png")
        return [folder / "validation.csv", picture]


def validate(
    runs: str | Path | None = None,
    scenarios: Sequence[str | Path] = (),
    num_processes: int = 0,
) -> Validation:
    """Simulate what was measured and compare.

    ``runs`` is a CSV table of measured runs. Without one, all shipped scenarios with published
    numbers are simulated, or those of ``scenarios``: files and directories. 0 processes are one
    a core. Raise :class:`FlexSimError` in one sentence where a file cannot be read.
    """
    if runs is not None:
        questions = questions_of_runs(read_runs(runs))
        return Validation(
            f"Simulated against measured: {Path(runs).name}",
            tuple(compare(questions, num_processes)),
        )
    questions = questions_of_scenarios(list(_files(scenarios or [data_directory("scenarios")])))
    title = "Simulated against published: shipped scenarios"
    if scenarios:
        title = f"Simulated against published: {', '.join(map(str, scenarios))}"
    return Validation(title, tuple(compare(questions, num_processes)))


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(path.rglob("*.toml"))
        if not found:
            raise ScenarioError(f"{path}: there is no scenario file (.toml) in this directory")
        yield from found


_COLUMNS = (
    *("row_id", "family", "status", "metric", "measured", "simulated", "error"),
    *("memory_measured_gib", "memory_simulated_gib", "memory_error"),
    *("was_out_of_memory", "fits_memory", "device_graph", "device", "software", "reason"),
)


def _row(each: Comparison) -> dict[str, Any]:
    question, memory = each.question, each.memory
    scenario = question.scenario
    return {
        "row_id": question.name,
        "family": question.family,
        "status": each.status,
        "metric": question.metric,
        "measured": question.measured_s,
        "simulated": each.simulated_s,
        "error": each.error,
        "memory_measured_gib": memory and memory.measured_bytes / _GIB,
        "memory_simulated_gib": memory and memory.simulated_bytes / _GIB,
        "memory_error": memory and memory.error,
        "was_out_of_memory": question.was_out_of_memory,
        "fits_memory": each.fits_memory,
        "device_graph": scenario and scenario.cluster.device_graph,
        "device": scenario and device_type_of(scenario),
        "software": scenario and scenario.training.software,
        "reason": each.reason,
    }


def _summary(errors: Errors | None) -> dict[str, Any]:
    if errors is None:
        return {"num_compared": 0, "mean_absolute_error": None, "median_absolute_error": None}
    return {
        "num_compared": errors.count,
        "mean_absolute_error": errors.mean_absolute,
        "median_absolute_error": errors.median_absolute,
        "mean_error": errors.mean,
        "worst": errors.worst,
        "worst_row": errors.worst_name,
    }
