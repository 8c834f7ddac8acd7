"""The critical path: by hand, without gaps on random graphs, and the same however replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpt import simulate_small

from flexsim.engine import compiled, event
from flexsim.errors import FlexSimError
from flexsim.timeline.critical_path import REASONS, critical_path
from flexsim.timeline.critical_path_table import (
    critical_path_table,
    critical_run_table,
    resource_name,
    runs_of,
    write_critical_path,
)
from flexsim.timeline.spans import Timeline

STREAMS = [("compute", 0, -1), ("compute", 1, -1), ("tensor", 0, -1), ("pipeline", 0, 1)]


@pytest.fixture
def by_hand():
    """Two ranks: the last task waits for the stream that a task of another chain holds."""
    return event.simulate(
        make_task_graph(
            [
                (10, [0], []),  # 0F0: 0-10
                (4, [2], [0]),  # its collective: 10-14
                (6, [0], [1]),  # 14-20
                (5, [3], [2]),  # to the next rank: 20-25
                (30, [1], []),  # 1F1, of another chain: 0-30
                (7, [1], [3]),  # 1F0 is ready at 25, but the stream is not free: 30-37
            ],
            kinds=["forward", "tensor", "forward", "pipeline", "forward", "forward"],
            resources=STREAMS,
            actions=[("F", 0, 0, 0), ("F", 1, 1, 1), ("F", 1, 0, 1)],
            action=[0, 0, 0, 0, 1, 2],
        )
    )


def test_waits_for_a_resource(by_hand):
    path = critical_path(by_hand)
    assert path.task.tolist() == [4, 5]
    assert [REASONS[code] for code in path.reason] == ["start", "resource"]
    assert path.resource.tolist() == [-1, 1]
    assert path.time_by_kind() == {"forward": 37}
    table = critical_path_table(path)
    assert table["waited_for"].tolist() == ["", "device 1 compute"]


def test_follows_predecessors_across_ranks(by_hand):
    graph = by_hand.task_graph
    shorter = replace(graph, duration_ns=np.array([10, 4, 6, 5, 3, 7]))
    path = critical_path(event.simulate(shorter))
    assert path.task.tolist() == [0, 1, 2, 3, 5]
    assert path.time_by_kind() == {"forward": 23, "tensor": 4, "pipeline": 5}
    runs = critical_run_table(path)
    columns = ["action", "kind", "start_ns", "end_ns", "compute_ns", "num_tasks", "rank", "device"]
    assert [tuple(row) for row in runs[columns].itertuples(index=False)] == [
        ("0F0", "forward", 0, 20, 16, 3, 0, 0),
        ("0F0", "pipeline", 20, 25, 0, 1, 0, 0),
        ("1F0", "forward", 25, 32, 7, 1, 1, 1),
    ]
    assert runs["reason"].tolist() == ["start", "predecessor", "predecessor"]
    assert runs["operator"].tolist() == ["op 0", "op 3", "op 5"]
    assert runs["last_operator"].tolist() == ["op 2", "op 3", "op 5"]


def test_a_graph_without_tasks_has_an_empty_path(by_hand):
    empty = event.simulate(make_task_graph([], resources=STREAMS))
    path = critical_path(empty)
    assert len(path) == len(runs_of(path)) == len(critical_path_table(path)) == 0


def test_a_timeline_with_a_gap_is_refused(by_hand):
    late = Timeline(by_hand.task_graph, by_hand.start_ns + 1, by_hand.end_ns + 1)
    with pytest.raises(FlexSimError, match=r"^1F1 op 4 starts at 1 ns, when nothing that it waits"):
        critical_path(late)


@st.composite
def graphs(draw):
    tasks = []
    for task in range(draw(st.integers(1, 25))):
        held = draw(st.sets(st.integers(0, 3), min_size=1, max_size=3))
        predecessors = draw(st.sets(st.integers(0, max(task - 1, 0)), max_size=min(task, 3)))
        tasks.append((draw(st.integers(1, 4)), sorted(held), sorted(predecessors)))
    return make_task_graph(tasks, resources=STREAMS)


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_every_step_abuts_and_has_its_cause(graph):
    timeline = event.simulate(graph)
    path = critical_path(timeline)
    assert path.start_ns[0] == 0 and path.end_ns[-1] == timeline.makespan_ns
    assert (path.start_ns[1:] == path.end_ns[:-1]).all()
    assert sum(path.time_by_kind().values()) == timeline.makespan_ns
    steps = zip(path.task[:-1], path.task[1:], path.reason[1:], path.resource[1:], strict=True)
    for before, task, reason, resource in steps:
        if REASONS[reason] == "predecessor":
            assert task in graph.successors.row(before) and resource == -1
        else:
            assert resource in graph.resources.row(before) and resource in graph.resources.row(task)
    runs = runs_of(path)
    assert int((runs.end_ns - runs.start_ns).sum()) == timeline.makespan_ns
    assert int(runs.num_tasks.sum()) == len(path)


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_engines_give_one_path(graph):
    paths = [critical_path(engine.simulate(graph)) for engine in (event, compiled)]
    assert (paths[0].task == paths[1].task).all()
    assert (paths[0].reason == paths[1].reason).all()


def test_contracted_and_plain_replays_give_one_path():
    plain = simulate_small(simulation={"engine": "event"}).critical_path()
    contracted = simulate_small(simulation={"engine": "compiled"}).critical_path()
    assert (plain.task == contracted.task).all() and (plain.start_ns == contracted.start_ns).all()


@pytest.mark.parametrize("network", ["links", "fair"])
def test_paths_through_flows_have_no_gaps(network):
    result = simulate_small(simulation={"network": network}, training={"global_batch": 4})
    path = result.critical_path()
    assert path.start_ns[0] == 0 and path.end_ns[-1] == result.timeline.makespan_ns
    assert (path.start_ns[1:] == path.end_ns[:-1]).all()
    assert (path.start_ns >= result.timeline.start_ns[path.task]).all()
    assert (path.end_ns <= result.timeline.end_ns[path.task]).all()
    assert {"forward", "tensor", "pipeline"} <= set(path.time_by_kind())


def test_links_are_named():
    assert resource_name(-1, 0, 5) == "link 5"


def test_file_holds_runs_or_tasks(by_hand, tmp_path):
    path = critical_path(by_hand)
    for detail, rows in (("blocks", 2), ("operators", 2)):
        write_critical_path(path, tmp_path / "critical_path.csv", detail)
        table = pd.read_csv(tmp_path / "critical_path.csv")
        assert len(table) == rows and table["duration_ns"].sum() == 37
        assert ("num_tasks" in table) == (detail == "blocks")
