"""The event engine against hand-worked timelines, a list scheduler and invariants."""

from __future__ import annotations

import dataclasses
import itertools

import networkx as nx
import pytest
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from list_scheduler import list_schedule

from flexsim.engine.deadlock import find_cycle
from flexsim.engine.event import simulate
from flexsim.errors import DeadlockError, FlexSimError
from flexsim.task_graph.columns import TaskGraph


def spans(graph: TaskGraph) -> list[tuple[int, int]]:
    timeline = simulate(graph)
    return list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))


def test_two_device_pipeline_by_hand():
    tasks = [
        (10, [0], []),  # forward 0 on device 0
        (10, [0], [0]),  # forward 1 on device 0
        (3, [2], [0]),  # transfer of 0
        (3, [2], [1]),  # transfer of 1
        (20, [1], [2]),  # forward 0 on device 1
        (20, [1], [3, 4]),  # forward 1 on device 1
    ]
    assert spans(make_task_graph(tasks)) == [
        (0, 10), (10, 20), (10, 13), (20, 23), (13, 33), (33, 53),
    ]  # fmt: skip


def test_ties_go_to_the_lower_id():
    tasks = [(5, [0], []), (5, [1], []), (1, [2], [1]), (2, [2], [0]), (4, [2], [0])]
    assert spans(make_task_graph(tasks)) == [(0, 5), (0, 5), (5, 6), (6, 8), (8, 12)]


def test_earlier_ready_beats_lower_id():
    tasks = [(4, [0], []), (3, [1], []), (1, [1], [0]), (9, [2], [1]), (2, [2], [0])]
    assert spans(make_task_graph(tasks)) == [(0, 4), (0, 3), (4, 5), (3, 12), (12, 14)]


def test_a_waiting_collective_reserves_its_streams():
    tasks = [
        (10, [0], []),  # holds stream 0
        (2, [0, 1], []),  # heads queue 1, waits for stream 0
        (3, [1], []),  # free stream 1 is reserved by task 1
    ]
    assert spans(make_task_graph(tasks)) == [(0, 10), (10, 12), (12, 15)]


def test_a_release_and_a_join_at_one_instant_keep_the_queue_order():
    tasks = [(5, [0], []), (7, [0], []), (5, [1], []), (1, [0], [2])]
    assert spans(make_task_graph(tasks)) == [(0, 5), (5, 12), (0, 5), (12, 13)]


def test_no_tasks_no_time():
    assert simulate(make_task_graph([], resources=[("compute", 0, -1)])).makespan_ns == 0


@st.composite
def graphs(draw: st.DrawFn) -> TaskGraph:
    """Random graphs: few distinct durations (ties), several resources a task, fans, chains."""
    num_resources = draw(st.integers(1, 5))
    tasks = []
    for task in range(draw(st.integers(1, 25))):
        held = draw(st.sets(st.integers(0, num_resources - 1), min_size=1, max_size=3))
        predecessors = draw(st.sets(st.integers(0, max(task - 1, 0)), max_size=min(task, 3)))
        tasks.append((draw(st.integers(1, 4)), sorted(held), sorted(predecessors)))
    order = draw(st.permutations(range(len(tasks))))
    return make_task_graph(_renumbered(tasks, order))


def _renumbered(tasks, order):
    """Give task i the id order[i], so that ids do not follow the edges."""
    renamed = [None] * len(tasks)
    for task, (duration, held, predecessors) in enumerate(tasks):
        renamed[order[task]] = (duration, held, sorted(order[p] for p in predecessors))
    return renamed


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_equals_the_list_scheduler(graph: TaskGraph):
    assert spans(graph) == list_schedule(graph)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(2, 9))
def test_invariants(graph: TaskGraph, factor: int):
    result = spans(graph)
    _check_no_overlap(graph, result)
    edges = list(zip(graph.successors.rows, graph.successors.values, strict=True))
    assert all(result[a][1] <= result[b][0] for a, b in edges)
    makespan = max(end for _, end in result)
    assert _critical_path(graph, edges) <= makespan <= graph.duration_ns.sum()
    longer = dataclasses.replace(graph, duration_ns=graph.duration_ns * factor)
    assert spans(longer) == [(start * factor, end * factor) for start, end in result]


def _check_no_overlap(graph: TaskGraph, result: list[tuple[int, int]]) -> None:
    for resource in range(graph.num_resources):
        users = [t for t in range(graph.num_tasks) if resource in graph.resources.row(t)]
        held = sorted(result[t] for t in users)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(held))


def _critical_path(graph: TaskGraph, edges) -> int:
    dag = nx.DiGraph((("in", t), ("out", t)) for t in range(graph.num_tasks))
    for t in range(graph.num_tasks):
        dag.edges[("in", t), ("out", t)]["weight"] = int(graph.duration_ns[t])
    dag.add_edges_from((("out", int(a)), ("in", int(b)), {"weight": 0}) for a, b in edges)
    return nx.dag_longest_path_length(dag)


def test_a_cycle_is_named_as_actions():
    tasks = [(1, [0], []), (1, [0], [0, 3]), (1, [1], [1]), (1, [1], [2]), (1, [1], [3])]
    actions = [("F", 0, 0, 0), ("F", 0, 1, 0), ("F", 1, 1, 1), ("B", 1, 0, 1), ("B", 0, 0, 0)]
    with pytest.raises(DeadlockError) as error:
        simulate(make_task_graph(tasks, actions=actions))
    assert str(error.value) == (
        "4 of 5 tasks can never start: they wait for each other in a cycle, "
        "0F1 op 1 → 1F1 op 2 → 1B0 op 3 → 0F1 op 1"
    )


def test_a_long_cycle_is_shortened():
    tasks = [(1, [0], [(i - 1) % 100]) for i in range(100)]
    with pytest.raises(DeadlockError, match=r"0F5 op 5 → \(89 more\) → 0F95 op 95"):
        simulate(make_task_graph(tasks))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.data())
def test_a_cycle_found_is_a_cycle(graph: TaskGraph, data: st.DataObject):
    edges = list(zip(graph.successors.rows.tolist(), graph.successors.values, strict=True))
    backwards = data.draw(st.sampled_from(edges)) if edges else (0, 0)
    tasks = [(1, [0], [int(a) for a, b in edges if b == t]) for t in range(graph.num_tasks)]
    tasks[backwards[0]][2].append(int(backwards[1]))
    cyclic = make_task_graph(tasks)
    with pytest.raises(DeadlockError):
        simulate(cyclic)
    stuck = [t for t in range(cyclic.num_tasks) if t in _on_or_after_cycle(tasks)]
    cycle = find_cycle(cyclic, stuck)
    assert (
        all(a in tasks[b][2] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        and len(cycle) == len(set(cycle)) > 0
    )


def _on_or_after_cycle(tasks) -> set[int]:
    dag = nx.DiGraph((p, t) for t, (_, _, before) in enumerate(tasks) for p in before)
    loops = [c for c in nx.strongly_connected_components(dag) if len(c) > 1]
    looped = {t for c in loops for t in c} | set(nx.nodes_with_selfloops(dag))
    return looped.union(*(nx.descendants(dag, t) for t in looped))


def test_a_resource_held_twice_is_an_error():
    with pytest.raises(DeadlockError, match="0F0 op 0 holds a resource twice"):
        simulate(make_task_graph([(1, [0, 0], [])]))


def test_a_task_without_duration_is_an_error():
    with pytest.raises(FlexSimError, match=r"task 1 \(0F1 op 1\): duration_ns = 0"):
        simulate(make_task_graph([(1, [0], []), (0, [0], [0])]))
