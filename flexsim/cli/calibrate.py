"""``flexsim calibrate``: fit a profile's constants to measured runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexsim.cli.options import Quiet

if TYPE_CHECKING:
    from rich.table import Table

    from flexsim.accuracy.calibrate import Calibration


def calibrate_command(  # noqa: PLR0913
    runs: Annotated[Path, typer.Option(help="A CSV table of measured runs.", show_default=False)],
    profile: Annotated[
        str,
        typer.Option(
            help="What is fitted: a software profile, a device type (A100), its links"
            " (A100.nvlink) or a profile's file.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="The fitted profile's file (.toml).", show_default=False)
    ],
    *,
    constants: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Which constants, as in the profile's file: matmul.efficiency. Unless"
            " given, one or two that suit the kind of profile.",
            show_default=False,
        ),
    ] = "",
    folds: Annotated[int, typer.Option(help="Parts of the cross-validation.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fit a few constants of a device, link or software profile to measured runs."""
    from rich.console import Console

    from flexsim.accuracy.calibrate import calibrate
    from flexsim.errors import FlexSimError
    from flexsim.files import check_directory

    if output.suffix != ".toml":
        raise FlexSimError(f"--output {output}: the name of a profile's file ends with .toml")
    check_directory(output.parent)
    names = [name.strip() for name in constants.split(",") if name.strip()]
    console = Console(stderr=True)
    with console.status("reading the runs") as status:
        found = calibrate(runs, profile, names, folds, status.update)
    found.save(output)
    if as_json:
        print(json.dumps(found.facts, indent=2, allow_nan=False))
    elif not quiet:
        _report(found, output)


def _report(found: Calibration, output: Path) -> None:
    from flexsim.cli.console import out

    console = out()
    console.print(_constants(found), "", _errors(found), "")
    for name, why in found.skipped[:10]:
        console.print(f"left out: {name}: {why}", highlight=False, markup=False)
    if len(found.skipped) > 10:
        console.print(f"left out: {len(found.skipped) - 10} more")
    console.print(f"written: {output}", highlight=False, markup=False)


def _constants(found: Calibration) -> Table:
    from rich.table import Table

    table = Table("constant", "before", "after", box=None, pad_edge=False)
    for name, row in found.facts["constants"].items():
        values = (f"{row[when]:.4g} {row['unit']}".rstrip() for when in ("before", "after"))
        table.add_row(name, *values)
    return table


def _errors(found: Calibration) -> Table:
    from rich.table import Table

    title = f"error of {len(found.row_ids)} runs"
    table = Table(title, "mean", "median", "bias", "worst", box=None, pad_edge=False)
    for key, label in (
        ("before", "before"),
        ("after", "after"),
        ("cross_validated", "left out of the fit"),
    ):
        row = found.facts[key]
        cells = (row["mean_absolute_error"], row["median_absolute_error"])
        table.add_row(
            label,
            *(f"{cell:.1%}" for cell in cells),
            f"{row['mean_error']:+.1%}",
            f"{row['worst']:.1%}",
        )
    return table
