"""A pipeline against time as text: a line a rank, a column a unit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexsim.task_graph.kinds import ACTION_KINDS

if TYPE_CHECKING:
    from flexsim.timeline.spans import Timeline

_MOST_COLUMNS = 150
_NARROWEST = 3


def drawing(timeline: Timeline) -> list[str]:
    """Return a line a rank: every action as its kind and microbatch, dots where a rank is idle.

    A column is a share of the makespan, three columns or more to the shortest action where the
    line stays short enough. Where a name has no room its kind stands alone.
    """
    graph = timeline.task_graph
    computes = graph.is_compute.nonzero()[0]
    shortest_ns = int(graph.duration_ns[computes].min())
    makespan_ns = timeline.makespan_ns
    width = min(_MOST_COLUMNS, -(-_NARROWEST * makespan_ns // shortest_ns))
    actions = graph.actions
    lines = [["."] * width for _ in range(int(actions.rank.max()) + 1)]
    for task in computes.tolist():
        row = int(graph.action[task])
        begin = int(timeline.start_ns[task]) * width // makespan_ns
        end = max(begin + 1, int(timeline.end_ns[task]) * width // makespan_ns)
        name = f"{ACTION_KINDS[actions.kind[row]]}{actions.microbatch[row]}"
        text = name if len(name) <= end - begin else name[0]
        lines[int(actions.rank[row])][begin:end] = text.ljust(end - begin, "-")
    label = len(str(len(lines) - 1))
    return [f"rank {rank:{label}} |{''.join(line)}|" for rank, line in enumerate(lines)]
