"""Blocks and busy rows against plain loops over tasks."""

from __future__ import annotations

import numpy as np
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.timeline.blocks import Blocks, resource_blocks
from flexsim.timeline.intervals import busy_rows
from flexsim.timeline.spans import Timeline

RESOURCES = [("compute", 0, -1), ("compute", 3, -1), ("tensor", 0, -1), ("pipeline", 0, 3)]
ACTIONS = [("F", 0, m, 0) for m in range(4)]
KINDS = ["forward", "recompute", "tensor", "pipeline"]


@st.composite
def timelines(draw):
    """Spans at random: ids of one action need not adjoin, and starts follow no order."""
    num = draw(st.integers(0, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    held = [rng.permutation(4)[: rng.integers(1, 3)].tolist() for _ in range(num)]
    graph = make_task_graph(
        [(int(rng.integers(1, 9)), each, []) for each in held],
        kinds=[KINDS[rng.integers(0, 4)] for _ in held],
        resources=RESOURCES,
        actions=ACTIONS,
        action=[int(rng.integers(-1, 4)) for _ in held],
    )
    start_ns = rng.integers(0, 60, num)
    return Timeline(graph, start_ns, start_ns + graph.duration_ns)


def summed(timeline: Timeline, places) -> list[tuple[int, ...]]:
    """Return the blocks by a plain loop; ``places`` gives those of a task's resources."""
    graph, found = timeline.task_graph, {}
    for task in range(graph.num_tasks):
        start, end = int(timeline.start_ns[task]), int(timeline.end_ns[task])
        for place in places(graph.resources.row(task).tolist()):
            key = (place, int(graph.action[task]), int(graph.kind[task]))
            old = found.get(key, (start, end, 0, 0, 0))
            found[key] = (
                min(old[0], start),
                max(old[1], end),
                old[2] + end - start,
                old[3] + 1,
                old[4] + int(graph.num_bytes[task]),
            )
    return [(*key, *found[key]) for key in sorted(found)]


def rows(blocks: Blocks) -> list[tuple[int, ...]]:
    columns = (column.tolist() for column in vars(blocks).values())
    return list(zip(*columns, strict=True))


@settings(max_examples=60, deadline=None)
@given(timelines())
def test_blocks_sum_what_a_plain_loop_sums(timeline):
    device_of = [device for _, device, _ in RESOURCES]
    assert rows(resource_blocks(timeline)) == summed(timeline, lambda held: held)
    assert rows(timeline.device_blocks) == summed(timeline, lambda held: [device_of[held[0]]])


@settings(max_examples=200, deadline=None)
@given(timelines())
def test_busy_rows_are_all_there_and_in_order_of_start(timeline):
    found, graph = busy_rows(timeline), timeline.task_graph
    expected: list[list[int]] = [[], []]
    for task in range(graph.num_tasks):
        for resource in graph.resources.row(task).tolist():
            kind, device, peer = RESOURCES[resource]
            for end in (device, peer):
                if end >= 0:
                    computes = kind == "compute" and graph.is_compute[task]
                    expected[[0, 3].index(end)].append(~task if computes else task)
    for line, wanted in enumerate(expected):
        mine = found.row[found.first[line] : found.first[line + 1]].tolist()
        assert sorted(mine) == sorted(wanted)
        starts = timeline.start_ns[[max(row, ~row) for row in mine]]
        assert (np.diff(starts) >= 0).all()
