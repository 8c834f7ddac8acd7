"""The numbers of one iteration; docs/metrics.md defines each and gives its source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.timeline.device_times import DeviceTimes, device_times
from flexsim.timeline.memory import PARTS, PeakMemory, peak_memory
from flexsim.timeline.spans import Timeline
from flexsim.timeline.steady import steady_part
from flexsim.units import NS_PER_S

_MEMORY = (
    "peak_memory_bytes",
    "peak_memory_bytes_per_stage",
    "peak_memory_at",
    "fits_memory",
)
_OF_STAGE = ("stage", "device", *PARTS, "total")


@dataclass(frozen=True)
class IterationFacts:
    """What a timeline cannot know about its iteration; all are sums over all devices."""

    num_devices: int
    sequences: int
    """Global batch."""
    tokens_per_sequence: int
    model_flops: float
    """What the model's mathematics asks for, without recomputation."""
    hardware_flops: float
    """What is executed, recomputation included."""
    peak_flops_per_s: float
    memory_capacity_bytes: int
    """Of one device."""
    notes: tuple[str, ...] = ()
    """What people should know of how the iteration was planned."""


def metrics(timeline: Timeline, facts: IterationFacts) -> dict[str, object]:
    """Return every metric by name: speed, shares of time, memory, sizes."""
    graph = timeline.task_graph
    peak = peak_memory(timeline)
    moment = peak.moment(graph.actions, graph.operator_names) if peak is not None else None
    steady = steady_part(timeline)
    return {
        **speed(steady.timeline.makespan_ns / steady.num_iterations, facts),
        **_shares(steady.timeline, steady.num_iterations),
        **_iterations(graph),
        **memory_metrics(peak, facts.memory_capacity_bytes, moment),
        "num_devices": facts.num_devices,
        "num_tasks": timeline.task_graph.num_tasks,
        "num_tasks_folded_away": timeline.task_graph.num_tasks_folded_away,
    }


def speed(makespan_ns: float, facts: IterationFacts) -> dict[str, object]:
    """Return the metrics of speed of an iteration."""
    iteration_time_s = makespan_ns / NS_PER_S
    samples_per_s = _ratio(facts.sequences, iteration_time_s)
    possible_flops = iteration_time_s * facts.peak_flops_per_s
    return {
        "iteration_time_s": iteration_time_s,
        "tokens_per_s": samples_per_s * facts.tokens_per_sequence,
        "samples_per_s": samples_per_s,
        "model_flops": facts.model_flops,
        "hardware_flops": facts.hardware_flops,
        "mfu": _ratio(facts.model_flops, possible_flops),
        "hfu": _ratio(facts.hardware_flops, possible_flops),
    }


def _iterations(graph: TaskGraph) -> dict[str, object]:
    """Return what there is to say of iterations that follow one another without a flush."""
    found = graph.iterations
    if found is None:
        return {}
    return {
        "simulated_iterations": found.number,
        "steady_iterations": found.num_steady,
        "weight_versions": list(found.weight_versions),
    }


def _shares(timeline: Timeline, num_iterations: int) -> dict[str, object]:
    times = device_times(timeline)
    weights = devices_alike(timeline.task_graph, times.device)
    compute_ns, bubble_ns = _mean(times.compute_ns, weights), _mean(times.bubble_ns, weights)
    makespan_ns = timeline.makespan_ns
    return {
        "bubble_fraction": _ratio(bubble_ns, makespan_ns),
        "bubble_ratio": _ratio(bubble_ns, makespan_ns - bubble_ns),
        "bubble_fraction_of_span": _idle_of_longest_span(timeline, times),
        "compute_fraction": _ratio(compute_ns, makespan_ns),
        "exposed_communication_s": _exposed_s(times, weights, num_iterations),
    }


def _idle_of_longest_span(timeline: Timeline, times: DeviceTimes) -> float:
    """Return the idle share of the longest span between a device's first and last computation.

    Waiting for a pipeline's transfers is idle; other communication is part of a stage's work.
    """
    rows = timeline.busy_rows
    computes = np.flatnonzero(rows.row < 0)
    at = np.searchsorted(computes, rows.first)
    used = np.flatnonzero(np.diff(at))
    if not len(used):
        return 0.0
    first, last = ~rows.row[computes[at[used]]], ~rows.row[computes[at[used + 1] - 1]]
    span_ns = timeline.end_ns[last] - timeline.start_ns[first]
    inside = [exposed for kind, exposed in times.exposed_ns.items() if kind != "pipeline"]
    work_ns = np.sum([times.compute_ns, *inside], axis=0)[used]
    longest = int(span_ns.argmax())
    return max(0.0, 1 - float(work_ns[longest] / span_ns[longest]))


def _exposed_s(times: DeviceTimes, weights: Int64, num_iterations: int) -> dict[str, float]:
    return {
        kind: _mean(ns, weights) / num_iterations / NS_PER_S
        for kind, ns in times.exposed_ns.items()
    }


def devices_alike(graph: TaskGraph, devices: Int64) -> Int64:
    """Return how many devices each of ``devices`` (sorted) stands for."""
    weights, memory = np.ones(len(devices), np.int64), graph.static_memory
    if memory is not None and memory.num_alike is not None:
        known = np.isin(memory.device, devices)
        rows = np.searchsorted(devices, memory.device[known])
        weights[rows] = memory.num_alike[known]
    return weights


def memory_metrics(
    peak: PeakMemory | None, capacity_bytes: int, moment: str | None = None
) -> dict[str, object]:
    """Return the metrics of memory, None where there is none; ``moment`` is that of the peak."""
    if peak is None:
        return dict.fromkeys(_MEMORY)
    return stages_metrics(_per_stage(peak), capacity_bytes, moment)


def stages_metrics(
    stages: list[dict[str, int]], capacity_bytes: int, moment: str | None
) -> dict[str, object]:
    """Return the metrics of memory from those of stages (:func:`stages_of`)."""
    largest = max((stage["total"] for stage in stages), default=0)
    return {
        "peak_memory_bytes": largest,
        "peak_memory_bytes_per_stage": stages,
        "peak_memory_at": moment,
        "fits_memory": largest <= capacity_bytes,
    }


def stages_of(places: Int64, parts: Int64) -> list[dict[str, int]]:
    """Return what pipeline ranks hold, by name.

    A row of ``places`` is a rank and its fullest device, one of ``parts`` what that holds, a
    column each of :data:`~flexsim.timeline.memory.PARTS`.
    """
    total = np.add.reduce(parts, axis=1, keepdims=True)
    rows = np.concatenate([places, parts, total], axis=1).tolist()
    return [dict(zip(_OF_STAGE, row, strict=True)) for row in rows]


def _per_stage(peak: PeakMemory) -> list[dict[str, int]]:
    """Return the parts on the fullest device of every pipeline rank, in order of rank."""
    order = np.lexsort((-peak.total, peak.rank))
    ranks, first = np.unique(peak.rank[order], return_index=True)
    fullest = order[first]
    parts = np.stack([getattr(peak, part)[fullest] for part in PARTS], axis=1)
    return stages_of(np.stack([ranks, peak.device[fullest]], axis=1), parts)


def _mean(values: Int64, weights: Int64) -> float:
    """Return the mean over all devices that ``values`` stand for."""
    return int((values * weights).sum()) / int(weights.sum()) if len(values) else 0.0


def _ratio(above: float, below: float) -> float:
    """Return ``above / below``; 0 for an iteration without any time in it."""
    return above / below if below else 0.0
