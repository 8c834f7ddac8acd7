"""The peak memory of every device, followed through a timeline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import ActivationMemory, Int64, StaticMemory
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.timeline.spans import Timeline

PARTS = ("weights", "gradients", "optimizer", "activations")


@dataclass(frozen=True, eq=False)
class PeakMemory:
    """Bytes at the moment when a device holds most, a row a device; -1 for an unknown rank."""

    device: Int64
    rank: Int64
    weights: Int64
    gradients: Int64
    optimizer: Int64
    activations: Int64

    @property
    def total(self) -> Int64:
        """All parts together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def peak_memory(timeline: Timeline) -> PeakMemory | None:
    """Return the peak of every device, or None for a graph without memory columns.

    At one instant memory is freed before it is allocated.
    """
    graph = timeline.task_graph
    if graph.static_memory is None and graph.activation_memory is None:
        return None
    static = graph.static_memory or _no_static()
    activation = graph.activation_memory or _no_activations()
    found = peak_of_actions(static, activation, action_spans_ns(timeline))
    return replace(found, rank=_rank_of(timeline, found.device))


def peak_of_actions(
    static: StaticMemory, activation: ActivationMemory, spans_ns: tuple[Int64, Int64]
) -> PeakMemory:
    """Return the peak of every device, from the start and the end of every action.

    Ranks are not known from these; they are -1.
    """
    devices = np.union1d(static.device, activation.device).astype(np.int64)
    row = np.searchsorted(devices, static.device)
    return PeakMemory(
        device=devices,
        rank=np.full(len(devices), -1),
        weights=_scattered(len(devices), row, static.weights),
        gradients=_scattered(len(devices), row, static.gradients),
        optimizer=_scattered(len(devices), row, static.optimizer),
        activations=_peak_activations(spans_ns, activation, devices),
    )


def _no_static() -> StaticMemory:
    num_bytes = np.zeros(0, np.int64)
    return StaticMemory(np.zeros(0, np.int32), num_bytes, num_bytes, num_bytes)


def _no_activations() -> ActivationMemory:
    ids, num_bytes = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return ActivationMemory(ids, ids, num_bytes, num_bytes, num_bytes)


def _scattered(length: int, row: NDArray[np.integer], num_bytes: Int64) -> Int64:
    result = np.zeros(length, np.int64)
    np.add.at(result, row, num_bytes)
    return result


def _peak_activations(
    spans_ns: tuple[Int64, Int64], memory: ActivationMemory, devices: Int64
) -> Int64:
    """Return the largest running sum of what actions allocate and free on each device."""
    line, time_ns, change = _changes(spans_ns, memory, devices)
    order = np.lexsort((change > 0, time_ns, line))
    line, held = line[order], np.cumsum(change[order])
    peak = np.zeros(len(devices), np.int64)
    first = np.flatnonzero(np.diff(line, prepend=-1))
    before = np.concatenate([np.zeros(1, np.int64), held])[first]
    if len(first):
        peak[line[first]] = np.maximum(np.maximum.reduceat(held, first) - before, 0)
    return peak


def _changes(
    spans_ns: tuple[Int64, Int64], memory: ActivationMemory, devices: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return (line, time, bytes) of every allocation and release, zeros left out."""
    start_ns, end_ns = spans_ns
    start_ns, end_ns = start_ns[memory.action], end_ns[memory.action]
    line = np.tile(np.searchsorted(devices, memory.device), 4)
    time_ns = np.concatenate([start_ns, end_ns, start_ns, end_ns])
    change = np.concatenate([memory.allocated, -memory.freed, memory.transient, -memory.transient])
    real = change != 0
    return line[real], time_ns[real], change[real]


def action_spans_ns(timeline: Timeline) -> tuple[Int64, Int64]:
    """Return the start of the first and the end of the last task of every action (0, 0: none)."""
    from flexsim.timeline.kernels import span_actions

    graph = timeline.task_graph
    start_ns = np.full(len(graph.actions.kind), np.iinfo(np.int64).max)
    end_ns = np.zeros(len(graph.actions.kind), np.int64)
    span_actions((graph.action, timeline.start_ns, timeline.end_ns), (start_ns, end_ns))
    return np.where(end_ns > 0, start_ns, 0), end_ns


def ranks_of(timeline: Timeline) -> tuple[Int64, Int64]:
    """Return the devices that compute actions, in order, and the pipeline rank of each."""
    blocks = timeline.device_blocks
    computes = (blocks.kind < NUM_COMPUTE_KINDS) & (blocks.action >= 0)
    devices, first = np.unique(blocks.place[computes], return_index=True)
    return devices, timeline.task_graph.actions.rank[blocks.action[computes][first]].astype(
        np.int64
    )


def _rank_of(timeline: Timeline, devices: Int64) -> Int64:
    """Return the pipeline rank whose actions compute on each device; -1 for none."""
    known, rank = ranks_of(timeline)
    last = int(max(known.max(initial=0), devices.max(initial=0)))
    room = np.full(last + 1, -1, np.int64)
    room[known] = rank
    return room[devices]
