"""Where the time of a result went: its waterfall and its critical path, as tables and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.table import Table
from rich.text import Text

from flexsim.scenario.report_cells import percent, report_table
from flexsim.timeline.critical_path import CriticalPath, critical_path, raised_path
from flexsim.timeline.critical_path_table import runs_of, write_critical_path
from flexsim.timeline.metrics import IterationFacts
from flexsim.timeline.spans import Timeline
from flexsim.timeline.waterfall import Waterfall, waterfall
from flexsim.units import NS_PER_S, format_seconds

if TYPE_CHECKING:
    from flexsim.scenario.networks import FlowRun


class Explainable(Protocol):
    """What is needed of a result."""

    @property
    def title(self) -> str:
        """What was simulated."""

    @property
    def timeline(self) -> Timeline:
        """When each task ran."""

    @property
    def facts(self) -> IterationFacts:
        """What the timeline does not know of its iteration."""

    @property
    def detail(self) -> str:
        """Whether files have a row a task."""

    @property
    def flow_run(self) -> FlowRun | None:
        """The flows below the timeline, where the network is one of links."""


def waterfall_of(result: Explainable) -> Waterfall:
    """Return the steps from ideal compute time to the iteration time of a result."""
    return waterfall(result.timeline, result.facts)


def critical_path_of(result: Explainable) -> CriticalPath:
    """Return the critical path of a result; on a network of links it is found among flows."""
    if result.flow_run is None:
        return critical_path(result.timeline)
    return raised_path(critical_path(result.flow_run.flows), result.flow_run.lowered)


def save_waterfall(result: Explainable, table: Waterfall, folder: Path) -> list[Path]:
    """Write waterfall.csv and waterfall.png, and return their paths."""
    from flexsim.plotting.waterfall import save_waterfall as save_picture

    paths = [folder / "waterfall.csv", folder / "waterfall.png"]
    table.write(paths[0])
    save_picture(table, result.title, paths[1])
    return paths


def save_critical_path(result: Explainable, path: CriticalPath, folder: Path) -> list[Path]:
    """Write critical_path.csv and critical_path.png, and return their paths."""
    from flexsim.plotting.critical_path import save_critical_path as save_picture

    paths = [folder / "critical_path.csv", folder / "critical_path.png"]
    write_critical_path(path, paths[0], result.detail)
    save_picture(result.timeline, path, result.title, paths[1])
    return paths


def waterfall_table(table: Waterfall) -> Table:
    """Return a waterfall as people read it, a row a step and one for their sum."""
    shown = report_table("From ideal compute to iteration time", "time a device", "share", "until")
    until_ns, whole_ns = 0, max(table.iteration_ns, 1)
    for step in table.steps:
        until_ns += step.time_ns
        share = f"-{percent(-step.time_ns / whole_ns)}" if step.time_ns < 0 else ""
        share = share or percent(step.time_ns / whole_ns)
        shown.add_row(step.part, _time(step.time_ns), share, _time(until_ns))
    shown.add_row("iteration time", _time(table.iteration_ns), percent(1.0), "", style="bold")
    return shown


def critical_path_parts(path: CriticalPath) -> list[Table | Text]:
    """Return the time on a critical path by kind of task, and a sentence on the path."""
    whole_ns = max(int(path.duration_ns.sum()), 1)
    shown = report_table("Critical path", "time", "share")
    for kind, time_ns in sorted(path.time_by_kind().items(), key=lambda each: -each[1]):
        shown.add_row(kind, _time(time_ns), percent(time_ns / whole_ns))
    runs = runs_of(path)
    ranks = runs.rank[runs.rank >= 0]
    changes = int((ranks[1:] != ranks[:-1]).sum())
    num_waited = int((path.resource >= 0).sum())
    sentence = (
        f"{len(path):,} tasks in {len(runs):,} runs, {changes:,} changes of pipeline rank; "
        f"{num_waited:,} tasks started when another gave a resource free\n"
    )
    return [shown, Text(sentence, style="dim")]


def _time(time_ns: int) -> str:
    seconds = time_ns / NS_PER_S
    return f"{seconds:.2f} s" if 10 <= seconds < 1000 else format_seconds(seconds)
