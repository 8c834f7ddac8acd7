"""``flexsim compare``: runs side by side, and what differs between them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexsim.cli.options import Output, Quiet

if TYPE_CHECKING:
    from rich.table import Table

    from flexsim.plotting.differences import ComparedRun

_MOST_RUNS = 12
_BUBBLES = "bubbles.csv"


def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B …",
            help="Scenario files, or directories that flexsim run --output wrote.",
            show_default=False,
        ),
    ],
    *,
    output: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences alone.")] = False,
    quiet: Quiet = False,
) -> None:
    """Draw runs on one time axis, and tell how each differs from the first."""
    from flexsim.errors import FlexSimError
    from flexsim.files import check_directory
    from flexsim.plotting.comparison import save_comparison

    if not 2 <= len(runs) <= _MOST_RUNS:
        raise FlexSimError(
            f"compare takes 2 to {_MOST_RUNS} scenario files or directories of results,"
            f" not {len(runs)}"
        )
    folder = output or Path("plots") / "comparison"
    check_directory(folder)
    compared = [_run_of(path, name) for path, name in zip(runs, _names(runs), strict=True)]
    written = save_comparison(compared, folder)
    if as_json:
        print(json.dumps(_content(compared), indent=2))
    elif not quiet:
        _report(compared, written)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the last part of every path, or as much of it as tells it from the others."""
    names = [
        path.absolute().with_suffix("").name if path.suffix == ".toml" else path.absolute().name
        for path in paths
    ]
    return [
        name if names.count(name) == 1 else str(path)
        for name, path in zip(names, paths, strict=True)
    ]


def _run_of(path: Path, name: str) -> ComparedRun:
    """Return a run, simulated or read from what ``flexsim run`` wrote."""
    if path.is_dir():
        return _read(path, name)
    from flexsim.plotting.differences import compared_run
    from flexsim.scenario.load import load_scenario
    from flexsim.scenario.runner import run

    return compared_run(name, run(load_scenario(path)))


def _read(folder: Path, name: str) -> ComparedRun:
    """Return a run as its directory has it."""
    from flexsim.reports.files import ReportError, read_summary
    from flexsim.scenario.summary import SUMMARY

    summary = read_summary(folder / SUMMARY)
    if summary["kind"] != "run":
        raise ReportError(f"{folder}: holds a {summary['kind']}; compare takes runs and scenarios")
    try:
        return _read_run(folder, name, summary)
    except (KeyError, TypeError, ValueError) as problem:
        raise ReportError(
            f"{folder}: is not as this version of flexsim writes it ({problem}); do the run again"
        ) from problem


def _read_run(folder: Path, name: str, summary: dict[str, Any]) -> ComparedRun:
    from flexsim.plotting.bars import Bars
    from flexsim.plotting.differences import ComparedRun, checked_metrics
    from flexsim.reports.files import check_files, read_table
    from flexsim.units import NS_PER_S

    check_files(folder, {_BUBBLES: summary["files"][_BUBBLES]})
    columns = ("rank", "kind", "stage", "microbatch", "chunk", "start_ns", "end_ns")
    table = read_table(folder / _BUBBLES, columns)
    times = {f"{end}_s": table[f"{end}_ns"] / NS_PER_S for end in ("start", "end")}
    metrics = checked_metrics(summary["metrics"])
    return ComparedRun(name, metrics, Bars.of(table.assign(**times)), _samples(summary))


def _samples(summary: dict[str, Any]) -> str:
    """Return what the batch of a run is made of, by the scenario that its summary holds."""
    from flexsim.models.selection import samples_of

    model = tomllib.loads(summary["scenario"]).get("model", {})
    return samples_of(model.get("name"), model.get("preset"))


def _content(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Return what ``--json`` prints: the metrics of each run, and the differences."""
    from flexsim.plotting.differences import difference_table

    table = difference_table(runs)
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    return {
        "runs": [{"name": run.name, "metrics": dict(run.metrics)} for run in runs],
        "differences": records,
    }


def _report(runs: Sequence[ComparedRun], written: Sequence[Path]) -> None:
    from flexsim.cli.console import out
    from flexsim.plotting.differences import difference_table, samples_of_all
    from flexsim.plotting.quantities import batches_of

    console = out()
    table = difference_table(runs)
    for run in runs[1:]:
        with batches_of(samples_of_all(runs)):
            console.print(_table(runs[0].name, run.name, table[table["run"] == run.name]))
        console.print()
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


def _table(base: str, name: str, rows: Any) -> Table:
    from rich.text import Text

    from flexsim.plotting.differences import value_cells
    from flexsim.scenario.report_cells import report_table

    table = report_table("One iteration", "", "", "difference", "relative")
    table.columns[1].header, table.columns[2].header = Text(base), Text(name)
    for label, cells in value_cells(rows):
        table.add_row(Text(label), *map(Text, cells))
    return table
