"""The compiled engine: the same replay as the event engine's, for millions of tasks.

Successors become ready strictly later, so committing tasks in order of (ready time, id), each
at the latest of its ready time and the moments when its resources become free, gives the
timeline that the queues of the event engine give, to the nanosecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.deadlock import check_durations, check_finished
from flexsim.engine.kernel import KEY_BITS, NEVER_NS, Replay, advance
from flexsim.task_graph.columns import TaskGraph
from flexsim.timeline.spans import Timeline

if TYPE_CHECKING:
    from flexsim.engine.event import Progress

_NUM_REPORTS = 200
_LEAST_STEP = 65_536
"""Tasks between two reports, and between two chances to interrupt the replay, at least."""


def simulate(task_graph: TaskGraph, progress: Progress | None = None) -> Timeline:
    """Return the timeline of ``task_graph``; ``progress`` is told how far the replay is.

    ``progress`` gets the number of tasks placed, of how many. The first use compiles, which a
    log message says. Raise the errors that the event engine raises.
    """
    check_durations(task_graph)
    replay = _replay(task_graph)
    if _run(replay, task_graph.num_tasks, progress) < task_graph.num_tasks:
        replay.start_ns[replay.num_missing > 0] = -1
    check_finished(task_graph, replay.start_ns)
    return Timeline(task_graph, replay.start_ns, replay.start_ns + replay.duration_ns)


def _run(replay: Replay, num_tasks: int, progress: Progress | None) -> int:
    """Return how many tasks were committed."""
    shift = max(1, (num_tasks - 1).bit_length())
    window_ns = 1 << (KEY_BITS - shift)
    step = max(_LEAST_STEP, num_tasks // _NUM_REPORTS)
    num_placed = 0
    while replay.state[0] > 0:
        num_placed += advance(replay, step, shift, window_ns)
        if replay.state[0] == 0:
            _refill(replay, shift, window_ns)
        if progress is not None:
            progress(num_placed, num_tasks)
    return num_placed


def _refill(replay: Replay, shift: int, window_ns: int) -> None:
    """Move the tasks that are ready first into the empty heap, in order, which makes it one."""
    later = replay.later[: replay.state[1]].copy()
    ready_ns = replay.start_ns[later]
    base_ns = ready_ns.min(initial=NEVER_NS)
    fits = ready_ns - base_ns < window_ns
    keys = np.sort((ready_ns[fits] - base_ns) << shift | later[fits])
    replay.heap[: len(keys)] = keys
    replay.later[: len(later) - len(keys)] = later[~fits]
    replay.state[:] = len(keys), len(later) - len(keys), base_ns


def _replay(graph: TaskGraph) -> Replay:
    """Return the columns as the kernel takes them, with the tasks that wait for none queued."""
    num_tasks = graph.num_tasks
    sources = np.flatnonzero(graph.in_degree == 0)
    heap = np.empty(num_tasks + 1, np.int64)
    heap[: len(sources)] = sources
    return Replay(
        duration_ns=_column(graph.duration_ns, np.int64),
        first_held=_column(graph.resources.offsets, np.int64),
        held=_column(graph.resources.values, np.int32),
        first_next=_column(graph.successors.offsets, np.int64),
        following=_column(graph.successors.values, np.int32),
        num_missing=np.array(graph.in_degree, np.int32),
        start_ns=np.full(num_tasks, -1, np.int64),
        free_ns=np.zeros(graph.num_resources, np.int64),
        heap=heap,
        later=np.empty(num_tasks, np.int32),
        state=np.array([len(sources), 0, 0], np.int64),
    )


def _column(values: NDArray[Any], kind: type[np.integer]) -> NDArray[Any]:
    return np.require(values, kind, ["C", "W"])
