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
    from flexsim.task_graph.schedules import PipelineShape, Schedule
    from flexsim.task_graph.schedules.report import ScheduleReport
    from flexsim.timeline.spans import Timeline

Sizes = tuple[int | None, int | None, int | None]
"""Ranks, chunks and microbatches, as far as they are given."""
Durations = tuple[float, float, float, float]
"""Of a forward, an input gradient, a weight gradient and a transfer."""

_MOST_PASSES = 10_000_000
_JSON_KEYS = ("order", "makespan", "bubble_fraction", "peak_in_flight")


Name = Annotated[
    str,
    typer.Argument(
        help="A name that `flexsim list schedules` prints, or a CSV file (PyTorch's notation).",
        show_default=False,
    ),
]
Ranks = Annotated[
    int | None, typer.Option("--stages", "--ranks", help="Pipeline ranks.", show_default=False)
]
Microbatches = Annotated[
    int | None, typer.Option(help="Microbatches of an iteration.", show_default=False)
]
Chunks = Annotated[
    int | None, typer.Option(help="Stages a rank; 1, or as many as it takes, unless given.")
]
WarmUp = Annotated[int, typer.Option(help="Further warm-up forwards of 1f1b-flexible.")]
Slices = Annotated[int, typer.Option(help="Slices of a sequence for terapipe.")]
Iterations = Annotated[int | None, typer.Option(help="Iterations without a flush; 3 unless given.")]
Limit = Annotated[
    int | None, typer.Option(help="Activations of a stage that a rank may hold, for auto.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print order, makespan, bubble_fraction, peak_in_flight.")
]
Draw = Annotated[bool, typer.Option("--draw", help="Print the ranks against time.")]
Plot = Annotated[
    Path | None, typer.Option(help="Picture to write (.png, .svg, .pdf).", show_default=False)
]
Output = Annotated[
    Path | None, typer.Option(help="CSV file to write the order to.", show_default=False)
]


def schedule_command(  # noqa: PLR0913
    name: Name,
    *,
    stages: Ranks = None,
    microbatches: Microbatches = None,
    chunks: Chunks = None,
    warm_up: WarmUp = 0,
    slices: Slices = 1,
    iterations: Iterations = None,
    limit: Limit = None,
    forward: Annotated[float, typer.Option(help="Time of a stage's forward.")] = 1.0,
    input_gradient: Annotated[float, typer.Option(help="Time of its input gradient.")] = 1.0,
    weight_gradient: Annotated[float, typer.Option(help="Time of its weight gradient.")] = 1.0,
    transfer: Annotated[float, typer.Option(help="Time of a transfer between ranks.")] = 0.0,
    as_json: AsJson = False,
    draw: Draw = False,
    plot: Plot = None,
    output: Output = None,
) -> None:
    """Print every rank's actions, in PyTorch's notation, with makespan and bubble."""
    hints = {"warm_up": warm_up, "num_slices": slices, "num_iterations": iterations}
    durations = (forward, input_gradient, weight_gradient, transfer)
    _check_limit(name, limit)
    schedule = _schedule(name, (stages, chunks, microbatches), hints, (durations, limit))
    report, timeline = _replayed(schedule, durations)
    written = {"picture": plot, "schedule": output}
    if plot is not None:
        _draw(timeline, report, _title(name, schedule), plot)
    if output is not None:
        _write(schedule, output)
    if as_json:
        print(json.dumps({key: getattr(report, key) for key in _JSON_KEYS}))
        return
    _print(report, {what: path for what, path in written.items() if path})
    if draw:
        from flexsim.cli.schedule_text import drawing

        print("\n" + "\n".join(drawing(timeline)))


def _check_limit(name: str, limit: int | None) -> None:
    from flexsim.task_graph.schedules.catalog import AUTO

    if limit is not None and (name != AUTO or limit < 1):
        raise ScheduleError(
            f"--limit {limit}: choose 1 or more, with the schedule {AUTO!r}; others hold what they "
            "hold"
        )


def _schedule(
    name: str, sizes: Sizes, hints: dict[str, int | None], auto: tuple[Durations, int | None]
) -> Schedule:
    """Return the schedule of a name and its sizes (ranks, chunks, microbatches), or of a file."""
    from flexsim.task_graph.schedules import SCHEDULES, build_schedule
    from flexsim.task_graph.schedules.catalog import AUTO
    from flexsim.task_graph.schedules.files import SUFFIX, read_schedule

    if name.endswith(SUFFIX):
        _refuse_beside_file(sizes, hints)
        return read_schedule(name)
    entry = SCHEDULES.get(name)
    if hints["num_iterations"] is None:
        hints["num_iterations"] = 3 if entry and "num_iterations" in entry.hints else 1
    stages, chunks, microbatches = sizes
    if stages is None or microbatches is None:
        option = "--stages" if stages is None else "--microbatches"
        raise ScheduleError(f"schedule {name!r} needs {option}; only a file says how many itself")
    chunks = chunks if chunks is not None else (entry and entry.num_chunks) or 1
    with _in_options(stages, chunks, microbatches):
        shape = _shape((stages, chunks, microbatches), hints)
        return _automatic(shape, *auto) if name == AUTO else build_schedule(name, shape)


def _shape(sizes: tuple[int, int, int], hints: dict[str, int | None]) -> PipelineShape:
    from flexsim.task_graph.schedules import PipelineShape

    stages, chunks, microbatches = sizes
    given = {key: value for key, value in hints.items() if value is not None}
    return PipelineShape(stages, microbatches, chunks, **given)


def _automatic(shape: PipelineShape, durations: Durations, limit: int | None) -> Schedule:
    from flexsim.task_graph.schedules.automatic import of_equal_stages
    from flexsim.task_graph.schedules.order_problem import StageCosts
    from flexsim.task_graph.schedules.report import to_ns

    names = ("forward", "input-gradient", "weight-gradient", "transfer")
    costs = StageCosts(*(to_ns(*each) for each in zip(names, durations, strict=True)))
    return of_equal_stages(shape, costs, limit).schedule


def _refuse_beside_file(sizes: Sizes, hints: dict[str, int | None]) -> None:
    """Refuse what a file says itself."""
    named = dict(zip(("--stages", "--chunks", "--microbatches"), sizes, strict=True))
    unset = {"warm_up": 0, "num_slices": 1, "num_iterations": None}
    beside = [option for option, size in named.items() if size is not None]
    beside += [
        f"--{key.removeprefix('num_').replace('_', '-')}"
        for key, value in hints.items()
        if value != unset[key]
    ]
    if beside:
        raise ScheduleError(f"{beside[0]} does not go with a file, which says how many there are")


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


def _write(schedule: Schedule, path: Path) -> None:
    from flexsim.task_graph.schedules.files import SUFFIX, write_schedule

    if path.suffix != SUFFIX:
        raise FlexSimError(f"--output {path}: must end in {SUFFIX}")
    write_schedule(schedule, path)


def _title(name: str, schedule: Schedule) -> str:
    chunks = schedule.stages_a_lane // schedule.num_ranks
    return (
        f"{name}, {schedule.num_ranks} ranks, {chunks} chunk{'s' * (chunks > 1)}, "
        f"{schedule.num_microbatches} microbatches"
    )


def _replayed(schedule: Schedule, durations: Durations) -> tuple[ScheduleReport, Timeline]:
    """Return the report on a schedule and the timeline that it comes from."""
    from flexsim.engine.event import simulate
    from flexsim.task_graph.schedules.report import schedule_report

    timelines: list[Timeline] = []

    def simulate_and_keep(graph: TaskGraph) -> Timeline:
        timelines.append(simulate(graph))
        return timelines[-1]

    report = schedule_report(schedule, *durations, simulate_and_keep)
    return report, timelines[-1]


def _print(report: ScheduleReport, written: dict[str, Path]) -> None:
    from flexsim.cli.console import facts_table, out

    ranks = [(f"rank {rank}", " ".join(actions)) for rank, actions in report.order.items()]
    files = [(what, str(path)) for what, path in written.items()]
    console = out()
    console.print(facts_table(ranks))
    console.print()
    console.print(facts_table([*_facts(report), *files]))


def _facts(report: ScheduleReport) -> Iterator[tuple[str, str]]:
    yield "makespan", f"{report.makespan:g}"
    yield "bubble fraction", f"{report.bubble_fraction:.4f}"
    yield "bubble fraction of longest span", f"{report.bubble_fraction_of_span:.4f}"
    yield "peak microbatches in flight", _listed(report.peak_in_flight)
    if report.peak_activations != report.peak_in_flight:
        yield "peak activations until W", _listed(report.peak_activations)
    if report.steady_iteration is not None:
        yield "iteration in steady state", f"{report.steady_iteration:g}"
    if max(report.weight_versions) > 1:
        yield "versions of weights", _listed(report.weight_versions)


def _listed(numbers: list[int]) -> str:
    return ", ".join(str(each) for each in numbers)


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
