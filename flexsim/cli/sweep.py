"""``flexsim sweep``: many configurations of a scenario, a row each in a results file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexsim.cli.options import Changes, Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console, RenderableType

    from flexsim.sweep.api import Standing
    from flexsim.sweep.file import Sweep
    from flexsim.sweep.result import SweepResult
    from flexsim.workers import Workers

_MOST_REASONS = 12
_MOST_FRONT = 15
_ALWAYS = ("iteration_time_s", "mfu", "peak_memory_bytes")
_NEAREST = "No configuration fits in memory; this one needs least"
_WHOLE_RATE = 10.0
_SHOW_EVERY_S = 0.1


def sweep_command(  # noqa: PLR0913
    file: Annotated[Path, typer.Argument(help="A sweep file (TOML).", show_default=False)],
    *,
    output: Annotated[
        Path | None,
        typer.Option(help="Results file; plots/NAME/results.csv unless given.", show_default=False),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="csv or parquet, as the file ends.", show_default=False),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Local processes: 0 is one a core, 1 this process itself.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(help="Address of a dask scheduler: tcp://host:8786.", show_default=False)
    ] = "",
    changes: Changes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers alone.")] = False,
    quiet: Quiet = False,
) -> None:
    """Simulate every configuration of a sweep; killed and started again, it goes on."""
    from flexsim.workers import Workers, loading

    places = Workers(scheduler=scheduler, num_local=workers)
    with loading(places, "flexsim.sweep.work", "flexsim.scenario.batch"):  # while this one loads
        from flexsim.sweep.api import checked_output
        from flexsim.sweep.file import load_sweep

        sweep = load_sweep(file, changes or [])
        path = checked_output(output or Path("plots") / sweep.name / "results", file_format)
        result = _swept(sweep, path, places, is_silent=as_json or quiet)
    from flexsim.sweep.pictures import pictures

    drawn = pictures(result, result.path.parent)
    if as_json:
        print(json.dumps(result.summary(), indent=2))
    elif not quiet:
        _report(result, [result.path, *drawn])


def _swept(sweep: Sweep, path: Path, workers: Workers, *, is_silent: bool) -> SweepResult:
    """Sweep, with a bar where a person watches."""
    from rich.console import Console

    from flexsim.sweep.api import sweep as run_sweep

    console = Console(stderr=True, quiet=is_silent)
    try:
        if is_silent or not console.is_terminal:
            return run_sweep(sweep, path, workers=workers)
        with _Bar(console, sweep) as watch:
            return run_sweep(sweep, path, workers=workers, watch=watch)
    except KeyboardInterrupt:
        if not is_silent:
            print(f"stopped: the same command goes on from {path}", file=sys.stderr)
        raise


class _Bar:
    """A live line: how many of how many, how quick, how long yet, the best so far."""

    def __init__(self, console: Console, sweep: Sweep) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        told = TextColumn("{task.fields[told]}")
        self._progress = Progress(*columns, TimeLeft(), told, console=console, transient=True)
        self._metric = json.loads(sweep.table)["best"]
        self._task = self._progress.add_task(f"Sweeping {sweep.name}", total=None, told="")
        self._first: tuple[float, int] | None = None
        self._shown_s = 0.0

    def __enter__(self) -> Callable[[Standing], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def _show(self, standing: Standing) -> None:
        import time

        now = time.monotonic()
        if now - self._shown_s < _SHOW_EVERY_S and standing.done < standing.total:
            return
        self._shown_s = now
        self._first = self._first or (now, standing.done)
        seconds, done = now - self._first[0], standing.done - self._first[1]
        rate = f"{_rate_text(done / seconds)}/s" if seconds > 0 and done else ""
        best = "" if standing.best is None else f"best {_shown(self._metric, standing.best)}"
        told = "  ".join(filter(None, (rate, best)))
        self._progress.update(self._task, completed=standing.done, total=standing.total, told=told)


def _report(result: SweepResult, written: Sequence[Path]) -> None:
    from flexsim.cli.console import facts_table, out

    console = out()
    console.print(facts_table(_facts(result), title=f"Sweep {result.name}"))
    for part in _tables(result):
        console.print()
        console.print(part)
    console.print()
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


def _facts(result: SweepResult) -> list[tuple[str, str]]:
    numbers = result.summary()
    words = {"ok": "ok", "out_of_memory": "out of memory", "skipped": "skipped"}
    counts = [f"{numbers[key]:,} {word}" for key, word in words.items() if numbers[key]]
    errors = sum(result.errors.values())
    counts += [f"{errors:,} failed"] if errors else []
    rows = [("configurations", f"{result.num_rows:,}: {', '.join(counts)}")]
    if result.num_before:
        rows.append(("done before", f"{result.num_before:,}"))
    if result.num_rows > result.num_before:
        rows.append(("time", f"{result.seconds:,.1f} s, {_rate_text(result.rate)} a second"))
    return rows


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= _WHOLE_RATE else f"{rate:.2f}"


def _tables(result: SweepResult) -> list[RenderableType]:
    """Return the best rows, the Pareto fronts, and what was left out and why, as there are."""
    return [
        *_rows_table(f"Best by {result.ranked_by}", result.best, result),
        *_front_table(result),
        *_rows_table(_NEAREST, [result.nearest] if result.nearest else [], result),
        *_counts_table("Skipped, since", result.skipped),
        *_counts_table("Failed, since", result.errors),
        *_counts_table("Left out, since where is false:", result.refused),
    ]


def _front_table(result: SweepResult) -> list[RenderableType]:
    """Return the Pareto front, or the first rows of one for each work of an iteration."""
    from rich.text import Text

    if result.work and result.best and not result.front:
        told = f"No Pareto front: no two configurations agree in {', '.join(result.work)}"
        return [Text(told, style="italic")]
    against = "memory and cost" if "cost_per_iteration" in result.columns_to_show() else "memory"
    title = f"Pareto front of iteration time against {against}"
    fronts = result.fronts
    if len(fronts) > 1:
        title += f", one for each {' and '.join(result.work)}"
    most = max(1, _MOST_FRONT // max(len(fronts), 1))
    rows = [row for front in fronts[:_MOST_FRONT] for row in front[:most]]
    if len(rows) < len(result.front):
        of_each = f"the quickest {most} of each" if len(fronts) > 1 else f"the first {most}"
        title += f" ({of_each}; {len(result.front)} in all)"
    return _rows_table(title, rows, result)


def _rows_table(
    title: str, rows: Sequence[Mapping[str, Any]], result: SweepResult
) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return []
    columns = result.columns_to_show()
    shown = [name for name in columns if _tells(name, rows)]
    alike = [f"{name} = {rows[0][name]}" for name in result.keys if name not in shown]
    title += f", all with {', '.join(alike)}" if alike else ""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = Text(title, style="italic")
    for name in ("configuration", *shown):
        table.add_column(_heading(name), justify="right", overflow="fold")
    for row in rows:
        cells = [Text(_shown(name, row.get(name, ""))) for name in shown]
        table.add_row(str(row["configuration"]), *cells)
    return [table]


def _tells(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a column has several values, or is one of the numbers that rows are judged by."""
    is_known = name in _ALWAYS and any(row.get(name) for row in rows)
    return is_known or len(rows) == 1 or len({row.get(name) for row in rows}) > 1


def _counts_table(title: str, counts: Mapping[str, int]) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    if not counts:
        return []
    table = Table(box=None, pad_edge=False, show_header=False, title=title, title_justify="left")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for reason, number in list(counts.items())[:_MOST_REASONS]:
        table.add_row(f"{number:,}", Text(reason))
    if len(counts) > _MOST_REASONS:
        table.add_row("", f"and {len(counts) - _MOST_REASONS} other reasons")
    return [table]


def _heading(name: str) -> str:
    words = {"iteration_time_s": "iteration", "peak_memory_bytes": "memory"}
    return words.get(name, name.rpartition(".")[2].replace("_", " "))


def _shown(name: str, value: Any) -> str:
    """Return a cell as people read it."""
    from flexsim.units import format_bytes, format_count, format_seconds

    text = str(value)
    if name in ("iteration_time_s", "baseline_iteration_time_s") and text:
        return format_seconds(float(text))
    if name.startswith("peak_memory_bytes") and text:
        return format_bytes(float(text))
    if name in ("mfu", "hfu") and text:
        return f"{100 * float(text):.1f} %"
    if name in ("model_flops", "hardware_flops") and text:
        return format_count(float(text))
    try:
        return f"{float(text):.5g}" if "." in text else text
    except ValueError:
        return text
