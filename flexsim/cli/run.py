"""``flexsim run``: simulate a scenario, print its numbers, write its files."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.cli.explain import WithCriticalPath, WithWaterfall, explained
from flexsim.cli.options import (
    AsJson,
    Changes,
    CollectiveAlgorithm,
    Contract,
    Detail,
    Engine,
    Forwarding,
    Network,
    Output,
    Quiet,
    ScenarioFile,
    Segment,
    StrategyFile,
)
from flexsim.cli.report import WithReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from flexsim.scenario.runner import Result
    from flexsim.scenario.schema import Scenario

_MEASURED_TABLES = ("model.", "cluster.", "training.", "strategy.")


def run_command(  # noqa: PLR0913
    file: ScenarioFile,
    *,
    engine: Engine = None,
    network: Network = None,
    collective_algorithm: CollectiveAlgorithm = None,
    segment: Segment = None,
    forwarding: Forwarding = None,
    contract: Contract = None,
    changes: Changes = None,
    strategy: StrategyFile = None,
    output: Output = None,
    detail: Detail = None,
    waterfall: WithWaterfall = False,
    critical_path: WithCriticalPath = False,
    report: WithReport = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a scenario: print its numbers, write its picture, trace and tables."""
    gc.disable()  # much is allocated and almost nothing is thrown away before the end
    from flexsim.files import check_directory
    from flexsim.scenario.load import load_scenario

    named = {
        "simulation.engine": engine,
        "simulation.network": network,
        "simulation.collective_algorithm": collective_algorithm,
        "simulation.segment": segment,
        "simulation.forwarding": forwarding,
        "output.directory": output,
        "output.detail": detail,
    }
    options = [
        f"{key}={json.dumps(str(value))}" for key, value in named.items() if value is not None
    ]
    if contract is not None:
        options.append(f"simulation.contract={json.dumps(contract)}")
    scenario = load_scenario(file, [*(changes or []), *options], strategy)
    check_directory(scenario.directory)
    result, written = _simulated(scenario, is_silent=as_json or quiet)
    explanation = explained(result, waterfall, critical_path)
    written = [*written, *_reported(scenario.directory)] if report else written
    if as_json:
        print(json.dumps(result.metrics, indent=2))
    elif not quiet:
        parts = [*_published_note(scenario, changes, strategy), *explanation.parts]
        _report(result, [*written, *explanation.written], parts)


def _published_note(
    scenario: Scenario, changes: Sequence[str] | None, strategy: Path | None
) -> list[RenderableType]:
    """Tell that published numbers are not those of a scenario that options changed."""
    from rich.text import Text

    replaced = [key for key in changes or [] if key.startswith(_MEASURED_TABLES)]
    if scenario.published is None or not (replaced or strategy):
        return []
    told = "published numbers are of the scenario as its file says, without the changes\n"
    return [Text(told, style="yellow")]


def _simulated(scenario: Scenario, is_silent: bool) -> tuple[Result, Sequence[Path]]:
    """Run a scenario and save it, with a sign of life where a person watches."""
    from rich.console import Console

    from flexsim.scenario.runner import run

    console = Console(stderr=True, quiet=is_silent)
    if not console.is_terminal or is_silent:
        result = run(scenario)
        return result, result.save(scenario.directory)
    with _bar(console) as bar:
        task = bar.add_task(f"Building {scenario.name}", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, description="Replaying tasks", completed=done, total=total)

        result = run(scenario, progress=show)
        bar.update(task, description=f"Writing {scenario.directory}", total=None)
        return result, result.save(scenario.directory)


def _reported(directory: Path) -> list[Path]:
    from flexsim.reports.report import write_report

    return [write_report(directory)]


def _bar(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True)


def _report(
    result: Result, written: Sequence[Path], further: Sequence[RenderableType] = ()
) -> None:
    from flexsim.cli.console import out
    from flexsim.scenario.report import summary_table

    console = out()
    console.print(summary_table(result), *further, sep="\n")
    if result.metrics.get("fits_memory") is False and result.scenario:
        from flexsim.scenario.fitting import advice_on, sentence

        told = sentence(advice_on(result.scenario), result.memory_capacity_bytes)
        console.print(told, style="bold red", highlight=False, markup=False, soft_wrap=True)
    if result.engine == "compiled" and result.scenario and not result.scenario.simulation.engine:
        console.print(
            "this many tasks are replayed by the compiled engine; --engine event takes SimPy, "
            "with the same result\n",
            highlight=False,
            soft_wrap=True,
        )
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    console.print(_detail_sentence(result), highlight=False, markup=False, soft_wrap=True)


def _detail_sentence(result: Result) -> str:
    from flexsim.timeline.export import chosen_detail

    if chosen_detail(result.timeline, result.detail) == "operators":
        return "timeline.csv and trace.json hold one row a task"
    return (
        "timeline.csv and trace.json hold one row a block (an action's tasks of one kind on one "
        "device); --detail operators writes every task"
    )
