"""The critical path: the chain of tasks, each starting when the one before ends, to the makespan.

A task of a replay starts at the end of its last predecessor, or when the task before it in the
queue of one of its resources gives that free. Walking back from the last task thus finds a chain
without gaps from 0 to the makespan; where several causes coincide a predecessor goes before a
resource, and one of the same action before others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flexsim.errors import FlexSimError
from flexsim.task_graph.columns import Int64, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.intervals import rows_of_resources
from flexsim.timeline.names import task_name
from flexsim.timeline.spans import Timeline

if TYPE_CHECKING:
    from flexsim.network.lowered import Lowered

REASONS = ("start", "predecessor", "resource")
"""A task starts with the iteration, after a predecessor, or when a resource becomes free."""


@dataclass(frozen=True, eq=False)
class CriticalPath:
    """The tasks of a critical path in order of time, a value each.

    The first starts at 0, every other when the one before it ends, the last ends at the
    makespan. On a network of links a message is on the path for a part of its time only.
    """

    task_graph: TaskGraph
    resource_table: ResourceTable
    """What ``resource`` points into; a row without a device is a link."""
    task: Int64
    start_ns: Int64
    end_ns: Int64
    reason: Int64
    """Position in :data:`REASONS`."""
    resource: Int64
    """The resource that was waited for; -1 for other reasons."""

    def __len__(self) -> int:
        return len(self.task)

    @property
    def duration_ns(self) -> Int64:
        """How long every task is on the path; together the makespan."""
        return self.end_ns - self.start_ns

    def time_by_kind(self) -> dict[str, int]:
        """Return nanoseconds by kind of task, in the order of kinds; their sum is the makespan."""
        kind = self.task_graph.kind[self.task]
        total_ns = {code: int(self.duration_ns[kind == code].sum()) for code in np.unique(kind)}
        return {TASK_KINDS[code]: ns for code, ns in total_ns.items()}


def critical_path(timeline: Timeline) -> CriticalPath:
    """Return the critical path of a replay, in time linear in the tasks.

    Of a folded graph it runs through the devices that stand for their class, which is a path of
    the whole graph too. Raise :class:`FlexSimError` for a timeline with a gap: no replay has one.
    """
    graph = timeline.task_graph
    rows = _walked(timeline) if graph.num_tasks else np.empty((0, 3), np.int64)
    task, reason, resource = rows[::-1].T
    if (reason < 0).any():
        raise FlexSimError(
            f"{task_name(graph, int(task[0]))} starts at {timeline.start_ns[task[0]]} ns, when "
            f"nothing that it waits for ends: the timeline is no replay of its task graph"
        )
    spans = (timeline.start_ns[task], timeline.end_ns[task])
    return CriticalPath(graph, graph.resource_table, task, *spans, reason, resource)


def _walked(timeline: Timeline) -> Int64:
    from flexsim.timeline.critical_path_kernel import Replayed, last_predecessors, walk_back

    graph, spans = timeline.task_graph, (timeline.start_ns, timeline.end_ns)
    successors = (graph.successors.offsets, graph.successors.values)
    predecessor = last_predecessors(spans, successors, graph.action)
    holders = rows_of_resources(timeline)
    held = (graph.resources.offsets, graph.resources.values)
    replayed = Replayed(*spans, *held, holders.first, holders.row)
    return walk_back(replayed, predecessor, int(np.argmax(timeline.end_ns)))


def raised_path(path: CriticalPath, lowered: Lowered) -> CriticalPath:
    """Return a path through flows as one through the tasks that sent them.

    Rows of one task that follow each other become one, with the reason of the first.
    """
    origin = lowered.origin[path.task]
    first = np.flatnonzero(np.diff(origin, prepend=-1))
    last = np.append(first[1:], len(origin)) - 1
    return CriticalPath(
        task_graph=lowered.original,
        resource_table=path.resource_table,
        task=origin[first],
        start_ns=path.start_ns[first],
        end_ns=path.end_ns[last],
        reason=path.reason[first],
        resource=path.resource[first],
    )
