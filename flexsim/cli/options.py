"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ScenarioFile = Annotated[Path, typer.Argument(help="A scenario file (TOML).", show_default=False)]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replaces a key: strategy.tensor=4. May be repeated."
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="Directory of the written files.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
