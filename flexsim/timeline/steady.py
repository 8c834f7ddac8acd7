"""The steady part of a timeline whose iterations follow one another without a flush."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.ragged import Csr, rows_of
from flexsim.task_graph.columns import Iterations
from flexsim.timeline.memory import action_spans_ns
from flexsim.timeline.spans import Timeline

_COLUMNS = ("action", "operator", "kind", "part")


@dataclass(frozen=True, eq=False)
class SteadyPart:
    """What runs while the steady iterations end, from 0 on, and how many they are."""

    timeline: Timeline
    num_iterations: int


def steady_part(timeline: Timeline) -> SteadyPart:
    """Return the steady part of a timeline: all of it where its one iteration flushes.

    It lasts from the end of the last iteration that fills the pipeline to that of the last one
    before it empties; what runs across these moments is cut off there, and its bytes count where
    it ends.
    """
    iterations = timeline.task_graph.iterations
    if iterations is None:
        return SteadyPart(timeline, 1)
    ends_ns = iteration_ends_ns(timeline, iterations)
    first, count = iterations.num_left_out, iterations.num_steady
    return SteadyPart(_between(timeline, ends_ns[first - 1], ends_ns[first + count - 1]), count)


def iteration_ends_ns(timeline: Timeline, iterations: Iterations) -> list[int]:
    """Return when the last task of every iteration ends, never before the one before it."""
    ends_ns = np.zeros(iterations.number, np.int64)
    np.maximum.at(ends_ns, iterations.of_action, action_spans_ns(timeline)[1])
    found: list[int] = np.maximum.accumulate(ends_ns).tolist()
    return found


def _between(timeline: Timeline, begin_ns: int, end_ns: int) -> Timeline:
    """Return what runs between two moments, which become 0 and the makespan; without its edges."""
    graph = timeline.task_graph
    start, end = (np.clip(ns, begin_ns, end_ns) for ns in (timeline.start_ns, timeline.end_ns))
    rows = np.flatnonzero(start < end)
    start, end = start[rows] - begin_ns, end[rows] - begin_ns
    columns = {name: getattr(graph, name)[rows] for name in _COLUMNS}
    chosen = replace(
        graph,
        **columns,
        duration_ns=end - start,
        num_bytes=np.where(timeline.end_ns[rows] <= end_ns, graph.num_bytes[rows], 0),
        resources=rows_of(graph.resources, rows),
        successors=Csr.from_pairs(len(rows), np.zeros(0, np.int64), np.zeros(0, np.int32)),
        in_degree=np.zeros(len(rows), np.int32),
        iterations=None,
    )
    return Timeline(chosen, start, end)
