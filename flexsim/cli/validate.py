"""``flexsim validate``: simulated against published and measured numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexsim.cli.options import Quiet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from flexsim.accuracy.validate import Validation

_DIRECTORY = Path("plots/validation")


def validate_command(  # noqa: PLR0913
    scenarios: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Scenario files and directories; those that are shipped unless given.",
            show_default=False,
        ),
    ] = None,
    *,
    runs: Annotated[
        Path | None,
        typer.Option(help="A CSV table of measured runs, in place of scenarios."),
    ] = None,
    as_table: Annotated[
        bool, typer.Option("--table", help="Print Markdown, the tables of docs/validation.md.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: times in seconds, errors as fractions.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Directory of validation.csv and .png; plots/validation unless given, none with"
            " --table or --json.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one a core.", min=0)] = 0,
    quiet: Quiet = False,
) -> None:
    """Simulate everything with published or measured numbers and print how far off it is."""
    from flexsim.accuracy.markdown import validation_markdown
    from flexsim.accuracy.validate import validate
    from flexsim.errors import FlexSimError
    from flexsim.files import check_directory

    if runs is not None and scenarios:
        raise FlexSimError(f"{scenarios[0]} and --runs {runs}: give scenarios or a table of runs")
    folder = output or (None if as_table or as_json else _DIRECTORY)
    if folder is not None:
        check_directory(folder)
    validation = validate(runs, scenarios or (), workers)
    written = validation.save(folder) if folder is not None else []
    if as_json:
        print(json.dumps(validation.content(), indent=2, allow_nan=False))
    elif as_table:
        print(validation_markdown(validation), end="")
    elif not quiet:
        _report(validation, written)


def _report(validation: Validation, written: list[Path]) -> None:
    from flexsim.accuracy.markdown import flags_sentence
    from flexsim.accuracy.summary import Flags
    from flexsim.cli.console import out

    console = out()
    rows = validation.content()["rows"]
    if len(rows) > _MOST_ROWS:  # those that were compared are in validation.csv
        rows = [row for row in rows if row["reason"]]
    if rows:
        console.print(_rows(rows), "")
    summary = _summary(validation)
    console.print(summary if summary.row_count else _NOTHING_COMPARED)
    sentence = flags_sentence(Flags.of(validation.comparisons))
    for text in (sentence, *(f"wrote {path}" for path in written)):
        if text:
            console.print(text, highlight=False, markup=False, soft_wrap=True)


def _rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a line a comparison: measured, simulated, error, memory, profiles or the reason."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    for header in ("measured", "simulated", "error", "memory"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("profiles, or why not compared", overflow="fold")
    for row in rows:
        unit = "" if "speedup" in (row["metric"] or "") else " s"
        times = ["" if row[key] is None else f"{row[key]:.4g}{unit}" for key in _TIMES]
        errors = ["" if row[key] is None else f"{row[key]:+.1%}" for key in _ERRORS]
        table.add_row(row["row_id"], *times, *errors, row["reason"] or _remark(row))
    return table


def _remark(row: Mapping[str, Any]) -> str:
    """Return the profiles, and for a run that did not fit whether it does."""
    profiles = f"{row['device']}, {row['software']}"
    if not row["was_out_of_memory"]:
        return profiles
    return f"{profiles}; ran out of memory, {'fits' if row['fits_memory'] else 'as'} simulated"


_MOST_ROWS = 200
_NOTHING_COMPARED = "no run could be compared"
_TIMES, _ERRORS = ("measured", "simulated"), ("error", "memory_error")


def _summary(validation: Validation) -> Table:
    """Return the errors of every family, of all, and of memory."""
    from rich.table import Table

    from flexsim.accuracy.summary import memory_errors, time_errors

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("family", overflow="fold")
    for header in ("compared", "mean absolute", "median", "mean", "worst"):
        table.add_column(header, justify="right", no_wrap=True)
    named = {name: time_errors(some) for name, some in validation.families.items()}
    named |= {"all": validation.errors, "memory": memory_errors(validation.comparisons)}
    for name, errors in named.items():
        if errors is None:
            continue
        numbers = (errors.mean_absolute, errors.median_absolute)
        shown = [f"{each:.1%}" for each in numbers] + [f"{errors.mean:+.1%}", f"{errors.worst:.1%}"]
        table.add_row(name, str(errors.count), *shown)
    return table
