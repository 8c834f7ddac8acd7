"""The reference engine: a task graph replayed by SimPy events.

A task is ready at the latest end of its predecessors, joins the queue of each of its
resources in order of (ready time, id), starts when it heads all of them, holds them for its
duration, and is never pre-empted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from simpy.core import Environment
from simpy.events import Event, Timeout

from flexsim.engine.deadlock import check_durations, check_finished
from flexsim.ragged import Csr
from flexsim.task_graph.columns import TaskGraph
from flexsim.timeline.spans import Timeline

Progress = Callable[[int, int], None]
"""Told from time to time how many tasks have become ready, of how many."""

_NUM_REPORTS = 200


def simulate(task_graph: TaskGraph, progress: Progress | None = None) -> Timeline:
    """Return the timeline of ``task_graph``; ``progress`` is told how far the replay is.

    Raise :class:`~flexsim.errors.DeadlockError` naming one cycle where tasks wait for each
    other, and :class:`~flexsim.errors.FlexSimError` for a task shorter than 1 ns.
    """
    check_durations(task_graph)
    start_ns = np.array(Replay(task_graph, progress).run(), np.int64)
    check_finished(task_graph, start_ns)
    return Timeline(task_graph, start_ns, start_ns + task_graph.duration_ns)


class Replay:
    """The state of one replay; its columns are plain lists, which Python reads fastest."""

    def __init__(self, graph: TaskGraph, progress: Progress | None) -> None:
        self.environment = Environment()
        self.progress = progress
        self.num_ready = 0
        self.next_report = 0
        self.duration_ns = graph.duration_ns.tolist()
        self.first_held, self.held = _lists(graph.resources)
        self.first_next, self.following = _lists(graph.successors)
        self.num_missing = graph.in_degree.tolist()
        self.num_queued_behind = [0] * graph.num_tasks
        self.start_ns: list[float] = [-1] * graph.num_tasks
        self.queues: list[deque[int]] = [deque() for _ in range(graph.num_resources)]
        self.ready = [task for task, missing in enumerate(self.num_missing) if missing == 0]

    def run(self) -> list[float]:
        """Return the start of every task in whole nanoseconds, -1 for a task that never starts."""
        Timeout(self.environment, 0).callbacks.append(self._join)
        self.environment.run()
        return self.start_ns

    def _join(self, _: Event) -> None:
        """Queue the tasks that became ready at this instant, in id order."""
        self.ready.sort()
        for task in self.ready:
            behind = 0
            for resource in self.held[self.first_held[task] : self.first_held[task + 1]]:
                queue = self.queues[resource]
                behind += 1 if queue else 0
                queue.append(task)
            self.num_queued_behind[task] = behind
            if behind == 0:
                self._start(task)
        self.num_ready += len(self.ready)
        if self.progress is not None and self.num_ready >= self.next_report:
            self._report(self.progress)
        self.ready.clear()

    def _report(self, progress: Progress) -> None:
        num_tasks = len(self.start_ns)
        progress(self.num_ready, num_tasks)
        self.next_report = self.num_ready + num_tasks // _NUM_REPORTS

    def _start(self, task: int) -> None:
        environment = self.environment
        self.start_ns[task] = environment.now
        Timeout(environment, self.duration_ns[task], task).callbacks.append(self._finish)

    def _finish(self, event: Event) -> None:
        task: Any = event.value
        self._end(task)

    def _end(self, task: int) -> None:
        """Free what a task holds, and let those that waited for it become ready."""
        self._release(task)
        num_missing = self.num_missing
        for follower in self.following[self.first_next[task] : self.first_next[task + 1]]:
            num_missing[follower] -= 1
            if num_missing[follower] == 0:
                if not self.ready:  # one event an instant gathers all that become ready at it
                    Timeout(self.environment, 0).callbacks.append(self._join)
                self.ready.append(follower)

    def _release(self, task: int) -> None:
        """Hand each resource of ``task`` to the next in line, which starts if it heads all."""
        for resource in self.held[self.first_held[task] : self.first_held[task + 1]]:
            queue = self.queues[resource]
            queue.popleft()
            if queue:
                head = queue[0]
                self.num_queued_behind[head] -= 1
                if self.num_queued_behind[head] == 0:
                    self._start(head)


def _lists(ragged: Csr) -> tuple[list[int], list[int]]:
    return ragged.offsets.tolist(), ragged.values.tolist()
