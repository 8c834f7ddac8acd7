"""``flexsim search``: find a faster strategy for a scenario, explain it, write it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexsim.cli.options import (
    Changes,
    Output,
    Quiet,
    ScenarioFile,
    SchedulerAddress,
    check_workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from flexsim.search.chains import Standing
    from flexsim.search.result import SearchResult

WorkerProcesses = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "--processes",
        help="Processes that share the chains; 0: one a core.",
        show_default=False,
    ),
]
Transformations = Annotated[
    bool | None,
    typer.Option(
        "--transformations",
        help="Search on an equal operator graph where one is faster.",
        show_default=False,
    ),
]
_MOST_LINES = 40
_MOST_REFUSALS = 3


def search_command(  # noqa: PLR0913
    file: ScenarioFile,
    *,
    method: Annotated[
        str | None,
        typer.Option(help="mcmc, exhaustive, random, greedy, annealing or optcnn."),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Proposals in all.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time, in place of a budget.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all random choices.")] = None,
    chains: Annotated[int | None, typer.Option(help="Independent chains.")] = None,
    processes: WorkerProcesses = None,
    scheduler: SchedulerAddress = None,
    transformations: Transformations = None,
    changes: Changes = None,
    output: Output = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in that directory.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers alone.")] = False,
    quiet: Quiet = False,
) -> None:
    """Search for a strategy with a shorter iteration; Ctrl-C keeps the best found so far."""
    from flexsim.files import check_directory
    from flexsim.scenario.load import load_scenario

    check_workers(processes, scheduler)
    scenario = load_scenario(file, changes or [])
    folder = output or scenario.directory / "search"
    check_directory(folder)
    options = {
        "method": method,
        "budget": budget,
        "seconds": seconds,
        "seed": seed,
        "chains": chains,
        "processes": processes,
        "scheduler": scheduler,
        "transformations": transformations,
    }
    result = _searched(scenario, folder, resume, options, is_silent=as_json or quiet)
    written = result.save(folder)
    if as_json:
        print(json.dumps(result.summary(), indent=2))
    elif not quiet:
        _report(result, written)


def _searched(
    scenario: Any, folder: Path, resume: bool, options: dict[str, Any], *, is_silent: bool
) -> SearchResult:
    """Search, with a line a chain where a person watches."""
    from rich.console import Console

    from flexsim.search.api import search

    console = Console(stderr=True, quiet=is_silent)
    if is_silent or not console.is_terminal:
        return search(scenario, output=folder, resume=resume, **options)
    with _Board(console) as watch:
        return search(scenario, output=folder, resume=resume, watch=watch, **options)


class _Board:
    """A live line a chain: best so far, acceptance rate, proposals a second."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self._progress = Progress(*columns, console=console, transient=True)
        self._bars: dict[int, Any] = {}
        self._begun: dict[int, float] = {}

    def __enter__(self) -> Callable[[Standing], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def _show(self, standing: Standing) -> None:
        import time

        chain = standing.chain
        if chain not in self._bars:
            self._begun[chain] = time.monotonic()
            self._bars[chain] = self._progress.add_task(f"chain {chain}", total=1.0, told="")
        spent_s = time.monotonic() - self._begun[chain]
        told = _told(standing, standing.proposals / spent_s if spent_s else 0.0)
        self._progress.update(self._bars[chain], completed=standing.share_spent, told=told)


def _told(standing: Standing, rate: float) -> str:
    from flexsim.search.trace import NEVER
    from flexsim.units import NS_PER_S, format_seconds

    accepted = standing.accepted / max(1, standing.proposals)
    best = format_seconds(standing.best_ns / NS_PER_S)
    best = best if standing.best_ns < NEVER else "does not fit yet"
    return f"best {best}, {accepted:.0%} accepted, {rate:,.0f} proposals/s"


def _report(result: SearchResult, written: list[Path]) -> None:
    from flexsim.cli.console import facts_table, out
    from flexsim.search.explain import words

    console = out()
    console.print(facts_table(_facts(result), title="Search"))
    console.print(_volume_table(result))
    console.print(_line_table(result))
    for sentence in words(result):
        console.print(sentence, highlight=False, markup=False)
    for reason, times in list(result.refusals.items())[:_MOST_REFUSALS]:
        text = f"{times} proposals were infeasible: {reason}"
        console.print(text, highlight=False, markup=False)
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


def _facts(result: SearchResult) -> list[tuple[str, str]]:
    from flexsim.units import format_seconds

    numbers = result.summary()
    rows = [
        ("method", result.method + (", interrupted" if result.interrupted else "")),
        ("best iteration", format_seconds(numbers["best_iteration_time_s"])),
        ("data parallelism", format_seconds(numbers["baseline_iteration_time_s"])),
        ("proposals", f"{numbers['proposals']:,} ({numbers['proposals_per_s']:,.0f} a second)"),
        ("accepted", f"{numbers['acceptance_rate']:.1%}"),
        ("infeasible", f"{numbers['infeasible']:,}"),
        ("proven optimal", "yes" if result.proven_optimal else "no"),
    ]
    return rows


def _volume_table(result: SearchResult) -> Table:
    from flexsim.search.explain import volumes
    from flexsim.units import format_bytes, format_seconds

    headers = ("Strategy", "iteration time", "sent by all", "computing time of all")
    table = _table(headers)
    for each in volumes(result):
        seconds = (format_seconds(each.iteration_time_s), format_seconds(each.compute_time_s))
        table.add_row(each.name, seconds[0], format_bytes(each.communication_bytes), seconds[1])
    return table


def _line_table(result: SearchResult) -> Table:
    from flexsim.search.explain import lines

    found = lines(result.best_strategy, result.space)
    table = _table(("Operator", "letters", "degrees", "devices"))
    for line in found[:_MOST_LINES]:
        table.add_row(line.operators, line.letters, line.degrees, line.devices)
    if len(found) > _MOST_LINES:
        table.add_row(f"… and {len(found) - _MOST_LINES} more; see best-strategy.json", "", "", "")
    return table


def _table(headers: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
