"""The bare pipeline's task graph, its replay, and the bubbles' closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_scheduler import list_schedule
from schedule_shapes import fitting

from flexsim.engine.event import simulate
from flexsim.errors import ScheduleError
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.task_graph.pipeline import StageDurations, pipeline_task_graph
from flexsim.task_graph.schedules import (
    SCHEDULES,
    PipelineShape,
    Schedule,
    build_schedule,
    parse_action,
)
from flexsim.task_graph.schedules.report import schedule_report

SIZES = {
    "num_ranks": st.integers(1, 6),
    "num_chunks": st.integers(1, 3),
    "groups": st.integers(1, 4),
}


def schedule_of(text: list[str], placement: list[int], num_microbatches: int) -> Schedule:
    sets = [[[parse_action(t) for t in s.split("+")] for s in order.split()] for order in text]
    return Schedule.from_sets(num_microbatches, placement, sets)


def spans(graph: TaskGraph) -> dict[str, tuple[int, int]]:
    """Return start and end of every task, a transfer as its action with an arrow."""
    timeline = simulate(graph)
    frame = timeline.to_frame()
    names = frame["action"].astype(str) + np.where(frame["kind"] == "pipeline", ">", "")
    return dict(zip(names, zip(frame["start_ns"], frame["end_ns"], strict=True), strict=True))


def test_two_ranks_by_hand():
    graph = pipeline_task_graph(
        build_schedule("1f1b", PipelineShape(2, 2)), StageDurations(4, 5, 6, 1)
    )
    assert spans(graph) == {
        "0F0": (0, 4), "0F0>": (4, 5), "0F1": (4, 8), "0F1>": (8, 9),
        "0B0": (21, 32), "0B1": (36, 47),
        "1F0": (5, 9), "1B0": (9, 20), "1B0>": (20, 21), "1F1": (20, 24),
        "1B1": (24, 35), "1B1>": (35, 36),
    }  # fmt: skip


def test_ids_are_program_order_and_a_transfer_holds_its_channel():
    graph = pipeline_task_graph(
        build_schedule("1f1b", PipelineShape(2, 1)), StageDurations(4, 5, 6, 1)
    )
    kinds = [TASK_KINDS[kind] for kind in graph.kind]
    assert kinds == ["forward", "pipeline", "backward", "forward", "backward", "pipeline"]
    assert graph.action.tolist() == [0, 0, 1, 2, 3, 3]
    assert graph.resources.values.tolist() == [0, 2, 0, 1, 1, 3]
    assert graph.resource_table.device.tolist() == [0, 1, 0, 1]
    assert graph.resource_table.peer.tolist() == [-1, -1, 1, 0]
    assert [graph.successors.row(task).tolist() for task in range(6)] == [
        [1, 2], [3], [], [4], [5], [2],
    ]  # fmt: skip
    assert graph.in_degree.tolist() == [0, 1, 2, 1, 1, 1]


def test_a_free_transfer_is_only_an_edge():
    schedule = build_schedule("gpipe", PipelineShape(3, 2))
    graph = pipeline_task_graph(schedule, StageDurations(1, 1, 1, 0))
    assert graph.num_tasks == schedule.num_actions
    assert graph.num_resources == 3


def test_chunks_of_one_rank_exchange_nothing():
    schedule = build_schedule("interleaved-1f1b", PipelineShape(1, 2, 3))
    graph = pipeline_task_graph(schedule, StageDurations(1, 1, 1, 100))
    assert graph.num_tasks == 12
    assert simulate(graph).makespan_ns == 18


def test_between_chunks_the_last_rank_sends_to_the_first():
    schedule = build_schedule("interleaved-1f1b", PipelineShape(3, 3, 2))
    table = pipeline_task_graph(schedule, StageDurations(1, 1, 1, 1)).resource_table
    channels = list(zip(table.device.tolist(), table.peer.tolist(), strict=True))[3:]
    assert channels == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]


def test_members_of_a_set_go_as_they_become_ready_and_the_next_set_waits_for_all():
    text = ["0F0 0B0+0F1 0B1", "1F0 1B0+1F1 1B1"]
    graph = pipeline_task_graph(schedule_of(text, [0, 1], 2), StageDurations(4, 5, 6))
    assert spans(graph) == {
        "0F0": (0, 4), "0F1": (4, 8), "0B0": (19, 30), "0B1": (34, 45),
        "1F0": (4, 8), "1B0": (8, 19), "1F1": (19, 23), "1B1": (23, 34),
    }  # fmt: skip
    assert [graph.successors.row(task).tolist() for task in (0, 1, 2)] == [[1, 2, 4], [3], [3, 6]]


def test_the_input_gradient_alone_is_what_the_stage_before_waits_for():
    text = ["0F0 0I0 0W0", "1F0 1I0 1W0"]
    graph = pipeline_task_graph(schedule_of(text, [0, 1], 1), StageDurations(4, 5, 6, 2))
    assert spans(graph) == {
        "0F0": (0, 4), "0F0>": (4, 6), "1F0": (6, 10), "1I0": (10, 15), "1I0>": (15, 17),
        "1W0": (15, 21), "0I0": (17, 22), "0W0": (22, 28),
    }  # fmt: skip


def test_forward_only_is_inference():
    graph = pipeline_task_graph(
        schedule_of(["0F0 0F1", "1F0 1F1"], [0, 1], 2), StageDurations(4, 0, 0, 1)
    )
    assert simulate(graph).makespan_ns == 13


def test_a_blocking_transfer_holds_up_its_sender_only():
    schedule = build_schedule("1f1b", PipelineShape(2, 2))
    blocking = dataclasses.replace(schedule, blocking_transfers=True)
    found = spans(pipeline_task_graph(blocking, StageDurations(4, 5, 6, 1)))
    assert found["0F1"] == (5, 9)
    assert found["1B0"] == (9, 20)
    assert found["1F1"] == (21, 25)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.tuples(*SIZES.values()),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.integers(0, 3),
)
def test_the_engine_agrees_with_a_list_scheduler(name, sizes, durations, transfer_ns):
    num_ranks, num_chunks, num_microbatches = sizes
    shape = fitting(name, num_ranks, num_microbatches, num_chunks)
    graph = pipeline_task_graph(
        build_schedule(name, shape), StageDurations(*durations, transfer_ns)
    )
    timeline = simulate(graph)
    found = list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))
    assert found == list_schedule(graph)


def report(name: str, shape: PipelineShape, *durations: float):
    return schedule_report(build_schedule(name, shape), *durations, simulate)


@pytest.mark.parametrize("name", ["gpipe", "1f1b"])
@settings(max_examples=25, deadline=None)
@given(p=st.integers(1, 8), m=st.integers(1, 20), backward=st.integers(1, 3))
def test_bubble_of_gpipe_and_1f1b(name, p, m, backward):
    found = report(name, PipelineShape(p, m), 1, backward, 1, 0)
    assert found.bubble_ratio == (p - 1) / m
    assert found.bubble_fraction == (p - 1) / (m + p - 1)
    assert found.makespan == (m + p - 1) * (2 + backward)


@settings(max_examples=25, deadline=None)
@given(**SIZES, backward=st.integers(1, 3))
def test_bubble_of_interleaved_1f1b(num_ranks, num_chunks, groups, backward):
    p, v, m = num_ranks, num_chunks, groups * num_ranks
    found = report("interleaved-1f1b", PipelineShape(p, m, v), 1, backward, 1, 0)
    assert found.bubble_ratio == (p - 1) / (v * m)
    assert found.bubble_fraction == (p - 1) / (v * m + p - 1)
    assert found.makespan == (v * m + p - 1) * (2 + backward)


def test_fractional_durations_are_exact():
    found = report("1f1b", PipelineShape(4, 8), 1, 1, 1, 0.1)
    assert found.makespan == 34.6
    assert report("gpipe", PipelineShape(2, 3), 0.1, 0.1, 0.1, 0.0).makespan == 1.2


def test_a_report_has_order_and_peak():
    found = report("1f1b", PipelineShape(2, 2), 1, 1, 1, 0)
    assert found.order == {"0": ["0F0", "0F1", "0B0", "0B1"], "1": ["1F0", "1B0", "1F1", "1B1"]}
    assert found.peak_in_flight == [2, 1]


@pytest.mark.parametrize(
    ("durations", "told"),
    [
        ((0, 1, 1, 0), "a forward (action F) must last longer than 0"),
        ((1, 0, 0, 0), "a backward (action B) must last longer than 0"),
        ((1, 1, 1, -2), "transfer = -2"),
        ((math.nan, 1, 1, 0), "forward = nan"),
        ((1, math.inf, 1, 0), "input-gradient = inf"),
        ((1, 1, 1e-12, 0), "weight-gradient = 1e-12 is too short"),
        ((1e12, 1, 1, 0), "too long"),
    ],
)
def test_impossible_durations_are_told_in_one_sentence(durations, told):
    with pytest.raises(ScheduleError) as caught:
        report("gpipe", PipelineShape(2, 2), *durations)
    assert told in str(caught.value)


def test_a_weight_gradient_may_be_free_inside_a_full_backward():
    assert report("gpipe", PipelineShape(2, 3), 1, 2, 0, 0).makespan == 12


def test_negative_nanoseconds_are_refused():
    with pytest.raises(ScheduleError, match="transfer_ns = -1"):
        StageDurations(1, 1, 1, -1)
