"""What devices communicate: how much of each kind, for how long, and how much of it is exposed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.timeline.intervals import devices_of
from flexsim.timeline.metrics import devices_alike
from flexsim.timeline.spans import Timeline
from flexsim.timeline.steady import steady_part
from flexsim.units import NS_PER_S


@dataclass(frozen=True)
class KindOfCommunication:
    """Means over all devices, of one kind of communication in one iteration."""

    kind: str
    num_bytes: float
    """Messages of the collectives that a device takes part in; of transfers what it sends."""
    time_s: float
    """How long its stream is held, or the channels from it and to it."""


def communication_by_kind(timeline: Timeline) -> list[KindOfCommunication]:
    """Return what an average device communicates, the most time first."""
    steady = steady_part(timeline)
    timeline, count = steady.timeline, steady.num_iterations
    graph, blocks = timeline.task_graph, timeline.fine_blocks
    table, devices = graph.resource_table, devices_of(timeline)
    if not len(devices):
        return []
    share = _shares(timeline, devices)
    own = share[table.device[blocks.place // 2]]
    peer = table.peer[blocks.place // 2]
    both = own + np.where(peer >= 0, share[peer], 0.0)
    size = len(TASK_KINDS)
    num_bytes = np.bincount(blocks.kind, blocks.num_bytes * own, size).tolist()
    time_s = (np.bincount(blocks.kind, blocks.busy_ns * both, size) / NS_PER_S).tolist()
    rows = [
        KindOfCommunication(TASK_KINDS[code], num_bytes[code] / count, time_s[code] / count)
        for code in range(NUM_COMPUTE_KINDS, size)
        if time_s[code]
    ]
    return sorted(rows, key=lambda row: -row.time_s)


def _shares(timeline: Timeline, devices: Int64) -> NDArray[np.float64]:
    """Return by device id what it counts in a mean over all devices; 0 for those folded away."""
    table = timeline.task_graph.resource_table
    weights = devices_alike(timeline.task_graph, devices)
    last = max(int(devices[-1]), int(table.peer.max(initial=0)))
    shares = np.zeros(last + 1)
    shares[devices] = weights / weights.sum()
    return shares
