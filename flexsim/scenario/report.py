"""A result as tables that a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flexsim.scenario.communication_report import communication_parts
from flexsim.scenario.report_cells import percent, report_table
from flexsim.scenario.schema import PublishedTable
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.timeline.links import LinkFacts
from flexsim.timeline.memory import action_spans_ns
from flexsim.timeline.spans import Timeline
from flexsim.units import NS_PER_S, format_bytes, format_seconds

Metrics = Mapping[str, Any]
SpeedRow = tuple[str, float, float | None]
"""Label, simulated and measured value."""

_BAR_WIDTH = 20
_MEMORY_PARTS = {
    "weights": ("weights",),
    "gradients": ("gradients",),
    "optimizer": ("optimizer",),
    "activations": ("activations",),
    "recompute": ("recompute",),
    "temporary": ("gathered", "temporary", "buffers"),
    "overhead": ("overhead",),
}
"""Columns of the table and the parts that each adds up."""
_ALWAYS = 4
"""Columns that are there even if nothing is in them."""
_MOST_STAGES = 16
_LARGE_ERROR = 0.1


class Reportable(Protocol):
    """What a report needs of a result."""

    @property
    def title(self) -> str:
        """What was simulated."""

    @property
    def metrics(self) -> Metrics:
        """The numbers by name."""

    @property
    def task_graph(self) -> TaskGraph:
        """The tasks that were replayed."""

    @property
    def timeline(self) -> Timeline:
        """When each task ran."""

    @property
    def memory_capacity_bytes(self) -> int:
        """Memory of one device."""

    @property
    def samples(self) -> str:
        """What the batch is made of: sequences, images, or samples of another kind."""

    @property
    def engine(self) -> str:
        """Which engine replayed the tasks."""

    @property
    def contraction(self) -> str:
        """What the replay of whole actions saved, or why it was not exact."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how the iteration was planned."""

    @property
    def network(self) -> str:
        """What was replayed on a network of links; empty where messages took a priced time."""

    @property
    def links(self) -> LinkFacts | str:
        """What the links did, or why that was not followed."""

    @property
    def published(self) -> PublishedTable | None:
        """What was measured."""


def summary_table(result: Reportable) -> RenderableType:
    """Return title, speed, shares of time, memory and size of a result, one below the other."""
    metrics = result.metrics
    return Group(
        Text(f"{result.title}\n", style="bold"),
        speed_table(result),
        _source_line(result.published),
        time_table(metrics),
        Text(),
        *communication_parts(result),
        *_memory_parts(metrics, result.memory_capacity_bytes),
        Text(_size_sentence(result), style="dim"),
        Text(),
    )


def speed_table(result: Reportable) -> Table:
    """Return how fast the iteration is, beside what was measured where that is known."""
    published = result.published or PublishedTable()
    speed = _speed_rows(result.metrics, result.samples, published)
    rows = [*speed, *_pass_rows(result.timeline, published)]
    is_compared = any(measured is not None for *_, measured in rows)
    table = report_table("One iteration", "simulated", *(("published", "error") * is_compared))
    for label, value, measured in rows:
        beside = _compared(label, value, measured) if is_compared else ()
        table.add_row(label, _shown(label, value), *beside)
    return table


def time_table(metrics: Metrics) -> Table:
    """Return where an average device's time goes, the largest communication first."""
    table = report_table("Where the time goes", "time a device")
    table.add_column("share", justify="right")
    table.add_column("")
    for label, share, colour in _time_rows(metrics):
        time = format_seconds(share * metrics["iteration_time_s"])
        table.add_row(label, time, percent(share), Text(_bar(share), style=colour))
    return table


def memory_table(metrics: Metrics, capacity_bytes: int) -> Table:
    """Return the peak memory of each stage's fullest device, in red where it does not fit."""
    share = f"of {format_bytes(capacity_bytes)}"
    stages = _fullest(metrics["peak_memory_bytes_per_stage"])
    sums = {name: [_sum(stage, parts) for stage in stages] for name, parts in _MEMORY_PARTS.items()}
    shown = [n for i, (n, each) in enumerate(sums.items()) if i < _ALWAYS or any(each)]
    table = report_table("Peak memory", *shown, "total", share)
    for number, stage in enumerate(stages):
        style = "red" if stage["total"] > capacity_bytes else ""
        cells = [format_bytes(sums[name][number]) for name in shown]
        share = percent(stage["total"] / capacity_bytes)
        total = format_bytes(stage["total"])
        table.add_row(f"stage {stage['stage']}", *cells, total, share, style=style)
    return table


def _sum(stage: Mapping[str, int], parts: tuple[str, ...]) -> int:
    return sum(stage.get(part, 0) for part in parts)


def _memory_parts(metrics: Metrics, capacity_bytes: int) -> list[Table | Text]:
    """Return the table and its verdict; nothing where no memory was followed."""
    if not metrics.get("peak_memory_bytes_per_stage"):
        return []
    style = "green" if metrics["fits_memory"] else "bold red"
    verdict = Text(f"{_fit_sentence(metrics, capacity_bytes)}\n", style=style)
    return [memory_table(metrics, capacity_bytes), verdict]


def _source_line(published: PublishedTable | None) -> Text:
    source = published.source if published else None
    return Text(f"published: {source}\n" if source else "", style="dim")


def _speed_rows(metrics: Metrics, samples: str, published: PublishedTable) -> list[SpeedRow]:
    """Return the rows of speed; tokens count where a sequence is made of them."""
    flops_per_s = metrics["hardware_flops"] / metrics["iteration_time_s"]
    per_device = flops_per_s / metrics["num_devices"] / 1e12
    tokens = ("tokens a second", metrics["tokens_per_s"], published.tokens_per_s)
    return [
        ("iteration time", metrics["iteration_time_s"], published.iteration_time_s),
        *([tokens] if samples == "sequences" or published.tokens_per_s else []),
        (f"{samples} a second", metrics["samples_per_s"], None),
        ("model FLOP utilization (MFU)", metrics["mfu"], published.mfu),
        ("hardware FLOP utilization (HFU)", metrics["hfu"], published.hfu),
        ("executed TFLOP/s a device", per_device, published.tflops_per_device),
    ]


def _pass_rows(timeline: Timeline, published: PublishedTable) -> list[SpeedRow]:
    """Return the mean time of one action's passes, where those were measured."""
    measured = {"F": published.forward_time_s, "B": published.backward_time_s}
    names = {"F": "forward time of a microbatch", "B": "backward time of a microbatch"}
    return [
        (names[kind], _mean_action_s(timeline, kind), time_s)
        for kind, time_s in measured.items()
        if time_s is not None
    ]


def _mean_action_s(timeline: Timeline, kind: str) -> float:
    start_ns, end_ns = action_spans_ns(timeline)
    rows = timeline.task_graph.actions.kind == ACTION_CODE[kind]
    return float((end_ns - start_ns)[rows].mean()) / NS_PER_S if rows.any() else 0.0


def _compared(label: str, value: float, measured: float | None) -> tuple[str, Text]:
    """Return the measured value and the relative error of the simulated one."""
    if measured is None:
        return "", Text("")
    error = value / measured - 1
    style = "yellow" if abs(error) > _LARGE_ERROR else "green"
    return _shown(label, measured), Text(f"{error:+.1%}".replace("%", " %"), style=style)


def _shown(label: str, value: float) -> str:
    if "time" in label:
        return f"{value:.2f} s" if 10 <= value < 1000 else format_seconds(value)
    if "utilization" in label:
        return percent(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _time_rows(metrics: Metrics) -> list[tuple[str, float, str]]:
    """Return (label, share of the iteration, colour); the shares add up to one."""
    total_s = metrics["iteration_time_s"]
    exposed = sorted(metrics["exposed_communication_s"].items(), key=lambda each: -each[1])
    return [
        ("compute", metrics["compute_fraction"], "green"),
        *((f"exposed {kind} communication", s / total_s, "yellow") for kind, s in exposed if s),
        ("pipeline bubble", metrics["bubble_fraction"], "red"),
    ]


def _fullest(stages: list[dict[str, int]]) -> list[dict[str, int]]:
    """Return the fullest stages, in order of stage."""
    fullest = sorted(stages, key=lambda stage: -stage["total"])[:_MOST_STAGES]
    return sorted(fullest, key=lambda stage: stage["stage"])


def _fit_sentence(metrics: Metrics, capacity_bytes: int) -> str:
    peak, capacity = metrics["peak_memory_bytes"], format_bytes(capacity_bytes)
    stages = len(metrics["peak_memory_bytes_per_stage"])
    shown = f"; the {_MOST_STAGES} fullest of {stages} stages" if stages > _MOST_STAGES else ""
    shown += f"; most is held in {moment}" if (moment := metrics.get("peak_memory_at")) else ""
    if metrics["fits_memory"]:
        return f"fits: {format_bytes(peak)} of {capacity}{shown}"
    return f"does not fit: {format_bytes(peak - capacity_bytes)} more than {capacity}{shown}"


def _size_sentence(result: Reportable) -> str:
    metrics = result.metrics
    away = metrics["num_tasks_folded_away"]
    folded = f" ({away:,} folded away)" if away else ""
    sizes = f"{metrics['num_devices']:,} devices, {metrics['num_tasks']:,} tasks{folded}"
    lines = [f"{sizes}, {result.engine} engine", f"folding: {result.task_graph.folding}"]
    if "steady_iterations" in metrics:
        lines.append(_steady_sentence(metrics))
    if result.contraction:
        lines.append(f"contraction: {result.contraction}")
    if result.network:
        lines.append(f"network: {result.network}")
    lines += result.notes
    return "\n".join(lines)


def _steady_sentence(metrics: Metrics) -> str:
    """Return which iterations the numbers are of, where none flushes."""
    versions = ", ".join(map(str, metrics["weight_versions"]))
    return (
        f"steady state: the {metrics['steady_iterations']} iterations in the midst of "
        f"{metrics['simulated_iterations']} without a flush; versions of the weights by stage: "
        f"{versions}"
    )


def _bar(share: float) -> str:
    """Return a bar whose full width is 1, to an eighth of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR_WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
