"""What is wrong with a task graph that cannot run to its end, told in one sentence."""

from __future__ import annotations

import numpy as np

from flexsim.errors import DeadlockError, FlexSimError
from flexsim.task_graph.columns import Int32, Int64, TaskGraph
from flexsim.timeline.names import task_name

_MOST_NAMES = 12
_MOST_TOTAL_NS = 2**62
"""A makespan is at most the sum of all durations, and a column of times holds 63 bits."""


def check_durations(graph: TaskGraph) -> None:
    """Raise :class:`FlexSimError` for a task of less than 1 ns, or times beyond 64 bits."""
    short = np.flatnonzero(graph.duration_ns < 1)
    if len(short):
        task = int(short[0])
        duration_ns = int(graph.duration_ns[task])
        raise FlexSimError(
            f"task {task} ({task_name(graph, task)}): duration_ns = {duration_ns} is not "
            f"positive; a task lasts at least 1 ns"
        )
    if graph.duration_ns.sum(dtype=np.float64) >= _MOST_TOTAL_NS:
        longest = int(graph.duration_ns.argmax())
        raise FlexSimError(
            f"the durations of {graph.num_tasks} tasks add up to 2^62 ns (146 years) or more, "
            f"which cannot be counted in nanoseconds; the longest is task {longest} "
            f"({task_name(graph, longest)}): duration_ns = {int(graph.duration_ns[longest])}"
        )


def check_finished(graph: TaskGraph, start_ns: Int64) -> None:
    """Raise :class:`DeadlockError` naming one cycle where a task has no start (-1)."""
    stuck = np.flatnonzero(start_ns < 0).astype(np.int32)
    if len(stuck):
        raise DeadlockError(_sentence(graph, stuck))


def _sentence(graph: TaskGraph, stuck: Int32) -> str:
    head = f"{len(stuck)} of {graph.num_tasks} tasks can never start: "
    cycle = find_cycle(graph, stuck)
    if not cycle:
        culprit = task_name(graph, int(stuck[0]))
        return f"{head}{culprit} holds a resource twice or counts a predecessor it does not have"
    return f"{head}they wait for each other in a cycle, {_arrows(graph, [*cycle, cycle[0]])}"


def _arrows(graph: TaskGraph, tasks: list[int]) -> str:
    names = [task_name(graph, task) for task in tasks]
    names = [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    if len(names) > _MOST_NAMES:
        half = _MOST_NAMES // 2
        names = [*names[:half], f"({len(names) - 2 * half} more)", *names[-half:]]
    return " → ".join(names)


def find_cycle(graph: TaskGraph, stuck: Int32) -> list[int]:
    """Return one cycle among ``stuck`` tasks, in order of execution, from its lowest id.

    Every stuck task that waits for a predecessor waits for a stuck one, so walking
    backwards from any of them must come round; empty where no task waits for another.
    """
    waits_for = _one_stuck_predecessor(graph, stuck)
    waiting = np.flatnonzero(waits_for >= 0)
    if not len(waiting):
        return []
    seen: dict[int, int] = {}
    task = int(waiting[0])
    while task not in seen and task >= 0:
        seen[task] = len(seen)
        task = int(waits_for[task])
    if task < 0:
        return []
    cycle = list(seen)[seen[task] :][::-1]
    lowest = cycle.index(min(cycle))
    return cycle[lowest:] + cycle[:lowest]


def _one_stuck_predecessor(graph: TaskGraph, stuck: Int32) -> Int32:
    """Return for every task one stuck predecessor, or -1."""
    is_stuck = np.zeros(graph.num_tasks, np.bool_)
    is_stuck[stuck] = True
    source = graph.successors.rows
    target = graph.successors.values
    both = is_stuck[source] & is_stuck[target]
    waits_for = np.full(graph.num_tasks, -1, np.int32)
    waits_for[target[both]] = source[both]
    return waits_for
