"""``flexsim report``: results as one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexsim.cli.options import Quiet

Results = Annotated[
    Path,
    typer.Argument(
        metavar="RESULTS",
        help="What run or search wrote to --output, or a sweep's results.",
        show_default=False,
    ),
]
WithReport = Annotated[
    bool, typer.Option("--report", help="Write report.html too, as flexsim report does.")
]


def report_command(
    results: Results,
    *,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="The page, else report.html in the directory."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write one page with tables and interactive figures that needs no network to be read."""
    from flexsim.reports.report import write_report

    path = write_report(results, output)
    if not quiet:
        print(f"wrote {path}")
