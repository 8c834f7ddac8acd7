"""The panels of the schedules gallery: every schedule replayed on one small bare pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flexsim.errors import ScheduleError
from flexsim.plotting.bars import Bars
from flexsim.plotting.bubble_table import bubble_bars
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, Schedule, build_schedule

if TYPE_CHECKING:
    from flexsim.task_graph.schedules.report import ScheduleReport
    from flexsim.timeline.spans import Timeline

_WARM_UP = 2
_ITERATIONS_UNTIL_STEADY = 6
_PASSES = 3
"""Forward, input gradient and weight gradient, a unit of time each."""


@dataclass(frozen=True, eq=False)
class SchedulePanel:
    """A schedule replayed on a bare pipeline of equal stages.

    Time counts forwards of a microbatch through 1/ranks of the model; a backward takes two,
    its input gradient and its weight gradient one each. Memory counts the activations of such
    a forward, until the backward or the weight gradient is done.
    """

    name: str
    description: str
    bars: Bars
    bubble_fraction: float
    """Idle share of ranks × makespan."""
    bubble_fraction_of_span: float
    """Idle share of the longest span of a rank."""
    peak_activations: tuple[float, ...]
    """Of every rank."""
    copies_of_weights: tuple[int, ...] = (1,)
    """Versions of its weights, or copies of the model, that every rank holds a share of."""
    steady_bubble_fraction: float | None = None
    """Idle share while iterations follow one another, where there is no flush."""
    note: str = ""
    """What is particular here, such as the chunks of a rank."""

    @property
    def makespan(self) -> float:
        """The end of the last bar."""
        return float(self.bars.end_s.max(initial=0.0))


def schedule_panels(num_ranks: int = 4, num_microbatches: int = 8) -> list[SchedulePanel]:
    """Return a panel of every schedule that this pipeline can have, in the order of SCHEDULES.

    Ranks hold two chunks where the schedule allows more than one, sequences are cut into two
    slices where it knows them, and where it does not flush the microbatches are those of two
    iterations.
    """
    panels = [schedule_panel(name, num_ranks, num_microbatches) for name in SCHEDULES]
    return [panel for panel in panels if panel is not None]


def schedule_panel(name: str, num_ranks: int, num_microbatches: int) -> SchedulePanel | None:
    """Return the panel of one schedule; None where it does not fit the pipeline."""
    hints = SCHEDULES[name].hints
    num_iterations = 1 + ("num_iterations" in hints and num_microbatches % 2 == 0)
    for num_chunks in (2, 1) if SCHEDULES[name].supports_chunks else (1,):
        shape = PipelineShape(
            num_ranks=num_ranks,
            num_microbatches=num_microbatches // num_iterations,
            num_chunks=num_chunks,
            warm_up=_WARM_UP * ("warm_up" in hints),
            num_slices=1 + ("num_slices" in hints),
            num_iterations=num_iterations,
        )
        try:
            return _replayed(name, shape)
        except ScheduleError:
            continue
    return None


def _replayed(name: str, shape: PipelineShape) -> SchedulePanel:
    """Return the panel of a schedule, its passes as long as the share of the model they take."""
    schedule = build_schedule(name, shape)
    share = schedule.num_ranks / (schedule.stages_a_lane * schedule.num_slices)
    report, timeline = _report_and_timeline(schedule, share)
    return SchedulePanel(
        name=name,
        description=SCHEDULES[name].description,
        bars=bubble_bars(timeline),
        bubble_fraction=report.bubble_fraction,
        bubble_fraction_of_span=report.bubble_fraction_of_span,
        peak_activations=tuple(share * each for each in report.peak_activations),
        copies_of_weights=tuple(schedule.num_lanes * each for each in report.weight_versions),
        steady_bubble_fraction=_steady_bubble_fraction(name, shape),
        note=_note(shape),
    )


def _report_and_timeline(schedule: Schedule, pass_time: float) -> tuple[ScheduleReport, Timeline]:
    """Return what the event engine makes of a schedule with passes of one length."""
    from flexsim.engine.event import simulate
    from flexsim.task_graph.columns import TaskGraph
    from flexsim.task_graph.schedules.report import schedule_report

    timelines: list[Timeline] = []

    def simulate_and_keep(graph: TaskGraph) -> Timeline:
        timelines.append(simulate(graph))
        return timelines[-1]

    durations = (pass_time, pass_time, pass_time)
    report = schedule_report(schedule, *durations, 0.0, simulate_and_keep)
    return report, timelines[-1]


def _steady_bubble_fraction(name: str, shape: PipelineShape) -> float | None:
    """Return the idle share of an iteration that follows others, None where there is a flush."""
    if shape.num_iterations == 1:
        return None
    schedule = build_schedule(name, replace(shape, num_iterations=_ITERATIONS_UNTIL_STEADY))
    report, _ = _report_and_timeline(schedule, 1.0)
    assert report.steady_iteration is not None
    return 1 - _PASSES * shape.num_microbatches / report.steady_iteration


def _note(shape: PipelineShape) -> str:
    counts = {
        "chunks a rank": shape.num_chunks,
        "slices a sequence": shape.num_slices,
        f"iterations of {shape.num_microbatches} microbatches": shape.num_iterations,
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count > 1]
    warm_up = [f"{shape.warm_up} further forwards"] if shape.warm_up else []
    return ", ".join([*parts, *warm_up])
