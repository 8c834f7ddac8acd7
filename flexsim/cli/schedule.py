"""``flexsim schedule``: the order of a pipeline's actions, and its bubble."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexsim.errors import FlexSimError, ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flexsim.task_graph.columns import TaskGraph
    from flexsim.task_graph.schedules import Schedule
    from flexsim.task_graph.schedules.report import ScheduleReport
    from flexsim.timeline.spans import Timeline

_MOST_PASSES = 10_000_000
_JSON_KEYS = ("order", "makespan", "bubble_fraction", "peak_in_flight")


def schedule_command(  # noqa: PLR0913
    name: Annotated[
        str, typer.Argument(help="A name that `flexsim list schedules` prints.", show_default=False)
    ],
    *,
    stages: Annotated[int, typer.Option(help="Pipeline ranks.", show_default=False)],
    microbatches: Annotated[int, typer.Option(help="Microbatches.", show_default=False)],
    chunks: Annotated[int, typer.Option(help="Stages a rank.")] = 1,
    forward: Annotated[float, typer.Option(help="Time of a stage's forward.")] = 1.0,
    input_gradient: Annotated[float, typer.Option(help="Time of its input gradient.")] = 1.0,
    weight_gradient: Annotated[float, typer.Option(help="Time of its weight gradient.")] = 1.0,
    transfer: Annotated[float, typer.Option(help="Time of a transfer between ranks.")] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print order, makespan, bubble_fraction, peak_in_flight.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Picture to write (.png, .svg, .pdf).", show_default=False)
    ] = None,
) -> None:
    """Print every rank's actions, in PyTorch's notation, with makespan and bubble."""
    from flexsim.task_graph.schedules import PipelineShape, build_schedule

    durations = (forward, input_gradient, weight_gradient, transfer)
    with _in_options(stages, chunks, microbatches):
        shape = PipelineShape(num_ranks=stages, num_chunks=chunks, num_microbatches=microbatches)
        schedule = build_schedule(name, shape)
    report, timeline = _replayed(schedule, durations)
    if plot is not None:
        title = f"{name}, {stages} ranks, {chunks} chunks, {microbatches} microbatches"
        _draw(timeline, report, title, plot)
    if as_json:
        print(json.dumps({key: getattr(report, key) for key in _JSON_KEYS}))
    else:
        _print(report, plot)


@contextmanager
def _in_options(stages: int, chunks: int, microbatches: int) -> Iterator[None]:
    """Put the sizes that were asked for in front of what is wrong with them."""
    asked = f"--stages {stages} --chunks {chunks} --microbatches {microbatches}"
    if stages * chunks * microbatches > _MOST_PASSES:
        raise FlexSimError(f"{asked}: their product must be at most {_MOST_PASSES:,}")
    try:
        yield
    except ScheduleError as problem:
        raise ScheduleError(f"{asked}: {problem}") from problem


def _replayed(
    schedule: Schedule, durations: tuple[float, float, float, float]
) -> tuple[ScheduleReport, Timeline]:
    """Return the report on a schedule and the timeline that it comes from."""
    from flexsim.engine.event import simulate
    from flexsim.task_graph.schedules.report import schedule_report

    timelines: list[Timeline] = []

    def simulate_and_keep(graph: TaskGraph) -> Timeline:
        timelines.append(simulate(graph))
        return timelines[-1]

    report = schedule_report(schedule, *durations, simulate_and_keep)
    return report, timelines[-1]


def _print(report: ScheduleReport, plot: Path | None) -> None:
    from flexsim.cli.console import facts_table, out

    ranks = [(f"rank {rank}", " ".join(actions)) for rank, actions in report.order.items()]
    facts = [
        ("makespan", f"{report.makespan:g}"),
        ("bubble fraction", f"{report.bubble_fraction:.4f}"),
        ("peak microbatches in flight", ", ".join(str(each) for each in report.peak_in_flight)),
    ]
    picture = [("picture", str(plot))] if plot else []
    console = out()
    console.print(facts_table(ranks))
    console.print()
    console.print(facts_table([*facts, *picture]))


def _draw(timeline: Timeline, report: ScheduleReport, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    from flexsim.cli.pictures import save_figure
    from flexsim.plotting.bubbles import bubble_table, draw_bubbles

    num_ranks = len(report.order)
    height_in = 1.9 + num_ranks * min(0.48, 8.5 / num_ranks)
    figure = Figure(figsize=(12.0, height_in), layout="constrained")
    ax = figure.subplots()
    draw_bubbles(bubble_table(timeline), ax, unit="units of the given durations")
    ax.set_title(f"{title}: bubble {100 * report.bubble_fraction:.1f} %", loc="left", pad=12)
    save_figure(figure, path)
