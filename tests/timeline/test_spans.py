"""A timeline's makespan and its table."""

from __future__ import annotations

from graphs import make_task_graph

from flexsim.engine.event import simulate


def test_makespan_is_the_last_end():
    assert simulate(make_task_graph([(5, [0], []), (7, [0], [0]), (1, [1], [])])).makespan_ns == 12


def test_frame_row_by_row():
    graph = make_task_graph(
        [(5, [0], []), (2, [1, 2], [0]), (3, [3], [1])],
        kinds=["forward", "tensor", "pipeline"],
        resources=[("compute", 0, -1), ("tensor", 0, -1), ("tensor", 1, -1), ("pipeline", 0, 4)],
        actions=[("F", 7, 3, 0), ("U", 2, -1, 0)],
        action=[0, 1, -1],
    )
    frame = simulate(graph).to_frame()
    assert list(frame.columns) == [
        "id", "device", "kind", "action", "stage", "microbatch", "operator", "part",
        "start_ns", "end_ns", "duration_ns", "num_bytes", "resources",
    ]  # fmt: skip
    assert [tuple(row) for row in frame.itertuples(index=False)] == [
        (0, 0, "forward", "7F3", 7, 3, "op 0", 0, 0, 5, 5, 0, "device 0 compute"),
        (1, 0, "tensor", "2U", 2, -1, "op 1", 0, 5, 7, 2, 100, "device 0 tensor; device 1 tensor"),
        (2, 0, "pipeline", "", -1, -1, "op 2", 0, 7, 10, 3, 100, "device 0 pipeline to 4"),
    ]


def test_sets_of_resources_in_another_order_keep_their_names():
    graph = make_task_graph([(1, [0, 1], []), (1, [1, 0], []), (1, [0, 1], [])])
    assert simulate(graph).to_frame()["resources"].tolist() == [
        "device 0 compute; device 1 compute",
        "device 1 compute; device 0 compute",
        "device 0 compute; device 1 compute",
    ]
