"""The replay written a second time, as a list scheduler, to check engines against."""

from __future__ import annotations

import heapq

from flexsim.task_graph.columns import TaskGraph


def list_schedule(graph: TaskGraph) -> list[tuple[int, int]]:
    """Return (start, end) of every task: commit in (ready, id) order at max(ready, free)."""
    predecessors: list[list[int]] = [[] for _ in range(graph.num_tasks)]
    for task in range(graph.num_tasks):
        for follower in graph.successors.row(task).tolist():
            predecessors[follower].append(task)
    free = [0] * graph.num_resources
    spans: dict[int, tuple[int, int]] = {}
    heap = [(0, task) for task in range(graph.num_tasks) if not predecessors[task]]
    while heap:
        ready, task = heapq.heappop(heap)
        held = graph.resources.row(task).tolist()
        start = max([ready, *(free[r] for r in held)])
        end = start + int(graph.duration_ns[task])
        spans[task] = (start, end)
        for r in held:
            free[r] = end
        for follower in dict.fromkeys(graph.successors.row(task).tolist()):
            if all(p in spans for p in predecessors[follower]):
                latest = max(spans[p][1] for p in predecessors[follower])
                heapq.heappush(heap, (latest, follower))
    return [spans[task] for task in range(graph.num_tasks)]
