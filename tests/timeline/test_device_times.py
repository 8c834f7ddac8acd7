"""Where time goes: hand-worked splits, exact sums, and a count nanosecond by nanosecond."""

from __future__ import annotations

import numpy as np
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine.event import simulate
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.timeline.device_times import device_times
from flexsim.timeline.intervals import Intervals, difference

STREAMS = [
    ("compute", 0, -1),
    ("compute", 1, -1),
    ("tensor", 0, -1),
    ("tensor", 1, -1),
    ("data", 0, -1),
    ("pipeline", 0, 1),
    ("pipeline", 1, 0),
    ("pipeline", 0, 9),
]
KIND_OF = ["forward", "forward", "tensor", "tensor", "data", "pipeline", "pipeline", "pipeline"]


def test_split_by_hand():
    graph = make_task_graph(
        [
            (10, [0], []),  # device 0: 0-10
            (6, [2, 3], [0]),  # tensor collective on both: 10-16
            (4, [0], []),  # device 0: 10-14, hides most of it
            (5, [4], [0]),  # data on device 0: 10-15, behind compute and tensor
            (3, [5], [1]),  # channel 0 to 1: 16-19, counts on both ends
            (1, [1], [4]),  # device 1: 19-20
        ],
        kinds=["forward", "tensor", "backward", "data", "pipeline", "forward"],
        resources=STREAMS,
    )
    times = device_times(simulate(graph))
    assert times.device.tolist() == [0, 1]
    assert times.compute_ns.tolist() == [14, 1]
    assert {kind: ns.tolist() for kind, ns in times.exposed_ns.items()} == {
        "tensor": [2, 6],
        "data": [0, 0],
        "pipeline": [3, 3],
    }
    assert times.bubble_ns.tolist() == [1, 10]


@st.composite
def timelines(draw):
    tasks, kinds = [], []
    for task in range(draw(st.integers(1, 15))):
        resource = draw(st.integers(0, len(STREAMS) - 1))
        both = [[0, 1], [0, 1], [2, 3], [2, 3]]
        wide = resource < 4 and draw(st.booleans())
        predecessors = draw(st.sets(st.integers(0, max(task - 1, 0)), max_size=min(task, 2)))
        held = both[resource] if wide else [resource]
        tasks.append((draw(st.integers(1, 6)), held, sorted(predecessors)))
        kinds.append(KIND_OF[resource])
    return simulate(make_task_graph(tasks, kinds=kinds, resources=STREAMS))


@settings(max_examples=100, deadline=None)
@given(timelines())
def test_equals_a_count_of_single_nanoseconds(timeline):
    times = device_times(timeline)
    total = times.compute_ns + times.bubble_ns + sum(times.exposed_ns.values())
    assert (total == timeline.makespan_ns).all()
    for row, device in enumerate(times.device):
        counted = _count(timeline, int(device))
        assert counted["compute"] == times.compute_ns[row]
        assert counted["bubble"] == times.bubble_ns[row]
        assert {k: counted[k] for k in times.exposed_ns} == {
            k: ns[row] for k, ns in times.exposed_ns.items()
        }


def _count(timeline, device: int) -> dict[str, int]:
    counted = dict.fromkeys(["compute", "bubble", *TASK_KINDS[NUM_COMPUTE_KINDS:]], 0)
    for now in range(timeline.makespan_ns):
        counted[_what(timeline, device, now)] += 1
    return counted


def _what(timeline, device: int, now: int) -> str:
    graph = timeline.task_graph
    busy = set()
    for task in np.flatnonzero((timeline.start_ns <= now) & (now < timeline.end_ns)):
        for resource in graph.resources.row(task):
            kind, owner, peer = STREAMS[resource]
            if device in (owner, peer):
                busy.add("compute" if kind == "compute" else TASK_KINDS[graph.kind[task]])
    return next((k for k in ["compute", *TASK_KINDS] if k in busy), "bubble")


def _intervals(rows):
    line, start, length = (np.array([r[i] for r in rows], np.int64) for i in range(3))
    return Intervals(line, start, start + length)


def _cells(intervals: Intervals) -> set[tuple[int, int]]:
    rows = zip(intervals.line, intervals.start_ns, intervals.end_ns, strict=True)
    return {(int(n), t) for n, a, b in rows for t in range(int(a), int(b))}


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 6)), max_size=8)


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_difference_cell_by_cell(inside, outside):
    inside, outside = _intervals(inside), _intervals(outside)
    left = difference(inside, outside)
    assert _cells(left) == _cells(inside) - _cells(outside)
    touching = (left.line[1:] == left.line[:-1]) & (left.start_ns[1:] <= left.end_ns[:-1])
    assert not touching.any()
