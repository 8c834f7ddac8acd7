"""The engine for flows that share links max-min fairly; all else is replayed as ever.

A flow starts as any task does, runs at the speed that :mod:`flexsim.engine.fair_rates` finds for
it, and ends at the first whole nanosecond at which nothing of it is left. Speeds change only
when a flow starts or ends; all that do so at one instant are looked at together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy.events import Event, Timeout

from flexsim.engine.deadlock import check_durations, check_finished
from flexsim.engine.event import Progress, Replay
from flexsim.engine.fair_rates import NEVER_NS, Float64, change, new_shares
from flexsim.network.lowered import Lowered
from flexsim.task_graph.columns import Int32
from flexsim.timeline.sharing import Pieces, SharedTimeline


def simulate_fair(lowered: Lowered, progress: Progress | None = None) -> SharedTimeline:
    """Return the timeline of ``lowered.graph``, whose flows share the links of their routes.

    At every instant the rates are max-min fair: no flow could be faster without making one
    slower that is no faster than itself. Raise :class:`~flexsim.errors.DeadlockError` naming one
    cycle where tasks wait for each other, and :class:`~flexsim.errors.FlexSimError` for a task
    shorter than 1 ns.
    """
    graph = lowered.graph
    check_durations(graph)
    replay = _FairReplay(lowered, progress)
    start_ns = np.array(replay.run(), np.int64)
    check_finished(graph, start_ns)
    end_ns = start_ns + graph.duration_ns
    end_ns[lowered.flow] = replay.end_ns
    return SharedTimeline(graph, start_ns, end_ns, replay.pieces())


class _FairReplay(Replay):
    """The state of one replay in which flows share links."""

    def __init__(self, lowered: Lowered, progress: Progress | None) -> None:
        super().__init__(lowered.graph, progress)
        flow_of = np.full(lowered.graph.num_tasks, -1)
        flow_of[lowered.flow] = np.arange(lowered.num_flows)
        self.flow_of = flow_of.tolist()
        self.task_of = lowered.flow.tolist()
        self.shares = new_shares(
            lowered.routes,
            lowered.wire_ns,
            lowered.flow_bandwidth_bytes_per_s,
            lowered.link_bandwidth_bytes_per_s,
            lowered.own_bandwidth_bytes_per_s,
        )
        self.end_ns = np.zeros(lowered.num_flows, np.int64)
        self.begun: list[int] = []
        self.finished: list[int] = []
        self.changes: list[tuple[int, Int32, Float64]] = []

    def pieces(self) -> Pieces:
        """Return how fast every flow ran and when, in order of flow and time."""
        counts = np.array([len(flows) for _, flows, _ in self.changes], np.int64)
        times = np.array([now for now, _, _ in self.changes], np.int64)
        flow = _joined([flows for _, flows, _ in self.changes]).astype(np.int64)
        speed = _joined([speeds for _, _, speeds in self.changes])
        order = np.argsort(flow, kind="stable")
        flow, start_ns = flow[order], np.repeat(times, counts)[order]
        is_last = np.append(flow[1:] != flow[:-1], True)[: len(flow)]
        end_ns = np.where(is_last, self.end_ns[flow], np.append(start_ns[1:], 0)[: len(flow)])
        return Pieces(flow, start_ns, end_ns, speed[order])

    def _start(self, task: int) -> None:
        flow = self.flow_of[task]
        if flow < 0:
            super()._start(task)
            return
        self.start_ns[task] = self.environment.now
        self._ask_for_rates()
        self.begun.append(flow)

    def _ask_for_rates(self) -> None:
        """Have the rates found anew at this instant, once."""
        if not self.begun and not self.finished:
            Timeout(self.environment, 0).callbacks.append(self._find_rates)

    def _find_rates(self, event: Event) -> None:
        """Find the rates anew after all else that happens at this instant."""
        now = self.environment.now
        if self.environment.peek() == now:
            Timeout(self.environment, 0).callbacks.append(self._find_rates)
            return
        flows = change(self.shares, _ids(self.begun), _ids(self.finished), int(now))
        self.changes.append((int(now), flows, self.shares.speed[flows]))
        self.begun.clear()
        self.finished.clear()
        self._await_end()

    def _await_end(self) -> None:
        """Wake up when the next flow ends, if nothing changes before."""
        running = self.shares.running[: self.shares.counters[0]]
        if len(running):
            next_ns = int(self.shares.end_ns[running].min())
            delay = next_ns - self.environment.now
            Timeout(self.environment, delay, next_ns).callbacks.append(self._end_flows)

    def _end_flows(self, event: Event) -> None:
        """End all flows that end at this instant; none where rates have changed since."""
        now = self.environment.now
        running = self.shares.running[: self.shares.counters[0]]
        ending = np.sort(running[self.shares.end_ns[running] == now]).tolist()
        for flow in ending:
            self.shares.end_ns[flow] = NEVER_NS  # two wake-ups at one instant end it once
            self.end_ns[flow] = now
            self._ask_for_rates()
            self.finished.append(flow)
            self._end(self.task_of[flow])


def _joined(columns: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(columns) if columns else np.zeros(0)


def _ids(flows: list[int]) -> Int32:
    return np.array(sorted(flows), np.int32)
