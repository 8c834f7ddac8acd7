"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
AsJson = Annotated[bool, typer.Option("--json", help="Print the metrics alone.")]
StrategyFile = Annotated[
    Path | None,
    typer.Option(
        help="A strategy file that replaces the scenario's own strategy.", show_default=False
    ),
]
Detail = Annotated[
    str | None,
    typer.Option(help="auto, or operators: every span on large runs.", show_default=False),
]


def _replaces(key: str) -> Any:
    return typer.Option(help=f"Replaces {key}.", show_default=False)


Engine = Annotated[str | None, _replaces("simulation.engine")]
Network = Annotated[str | None, _replaces("simulation.network")]
CollectiveAlgorithm = Annotated[str | None, _replaces("simulation.collective_algorithm")]
Segment = Annotated[str | None, _replaces("simulation.segment")]
Forwarding = Annotated[str | None, _replaces("simulation.forwarding")]
Contract = Annotated[bool | None, _replaces("simulation.contract")]
SchedulerAddress = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="TCP://HOST:PORT",
        help="Work on the workers of this running dask scheduler.",
        show_default=False,
    ),
]


def check_workers(number: int | None, scheduler: str | None) -> None:
    """Raise :class:`~flexsim.errors.WorkersError` for workers that cannot be."""
    from flexsim.workers import Workers

    Workers(scheduler or "", number or 0)
