"""Notation, orders and sizes of the pipeline schedules."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_shapes import fitting

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules import (
    SCHEDULES,
    Action,
    PipelineShape,
    Schedule,
    build_schedule,
    check,
    format_action,
    parse_action,
)
from flexsim.task_graph.schedules.report import order_text, peak_in_flight

SMALL = st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 4))


def order(name: str, num_ranks: int, num_microbatches: int, num_chunks: int = 1) -> list[str]:
    schedule = build_schedule(name, PipelineShape(num_ranks, num_microbatches, num_chunks))
    return [" ".join(actions) for actions in order_text(schedule).values()]


def test_an_action_is_read_and_written_in_pytorchs_notation():
    assert parse_action("7F3") == Action(7, "F", 3)
    assert parse_action(" 12W0 ") == (12, "W", 0)
    assert format_action(Action(10, "I", 511)) == "10I511"


@given(st.builds(Action, st.integers(0, 999), st.sampled_from("FBIW"), st.integers(0, 999)))
def test_writing_and_reading_an_action_are_inverse(action):
    assert parse_action(format_action(action)) == action


@pytest.mark.parametrize("text", ["", "F3", "7F", "7X3", "7f3", "-1F0", "7F3 8F3", "7F3.0"])
def test_what_is_no_action_is_refused_by_its_text(text):
    with pytest.raises(ScheduleError, match="is not an action") as caught:
        parse_action(text)
    assert repr(text) in str(caught.value)


def test_gpipe_by_hand():
    assert order("gpipe", 2, 3) == [
        "0F0 0F1 0F2 0B0 0B1 0B2",
        "1F0 1F1 1F2 1B0 1B1 1B2",
    ]


def test_1f1b_by_hand():
    assert order("1f1b", 3, 4) == [
        "0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3",
        "1F0 1F1 1B0 1F2 1B1 1F3 1B2 1B3",
        "2F0 2B0 2F1 2B1 2F2 2B2 2F3 2B3",
    ]


def test_1f1b_with_fewer_microbatches_than_ranks_by_hand():
    assert order("1f1b", 4, 2) == [
        "0F0 0F1 0B0 0B1",
        "1F0 1F1 1B0 1B1",
        "2F0 2F1 2B0 2B1",
        "3F0 3B0 3F1 3B1",
    ]


def test_interleaved_1f1b_by_hand():
    assert order("interleaved-1f1b", 2, 4, 2) == [
        "0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 2B2 2B3 0B2 0B3",
        "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3",
    ]


def test_interleaved_1f1b_with_as_many_microbatches_as_ranks_by_hand():
    assert order("interleaved-1f1b", 3, 3, 2) == [
        "0F0 0F1 0F2 3F0 3F1 3F2 3B0 3B1 3B2 0B0 0B1 0B2",
        "1F0 1F1 1F2 4F0 4F1 4F2 4B0 4B1 4B2 1B0 1B1 1B2",
        "2F0 2F1 2F2 5F0 5B0 5F1 5B1 5F2 5B2 2B0 2B1 2B2",
    ]


def megatron_interleaved(num_ranks: int, num_chunks: int, num_microbatches: int) -> list[str]:
    """Return the orders as Megatron-Core's loops make them, action by action."""
    table = [
        (microbatch, chunk)
        for first in range(0, num_microbatches, num_ranks)
        for chunk in range(num_chunks)
        for microbatch in range(first, first + num_ranks)
    ]
    orders = []
    for rank in range(num_ranks):
        forwards = [f"{c * num_ranks + rank}F{m}" for m, c in table]
        backwards = [f"{(num_chunks - 1 - c) * num_ranks + rank}B{m}" for m, c in table]
        warm_up = min((num_ranks - rank - 1) * 2 + (num_chunks - 1) * num_ranks, len(table))
        actions = forwards[:warm_up]
        for k in range(len(table) - warm_up):
            actions += [forwards[k + warm_up], backwards[k]]
        orders.append(" ".join(actions + backwards[len(table) - warm_up :]))
    return orders


@given(SMALL)
def test_interleaved_1f1b_equals_megatrons_loops(sizes):
    num_ranks, num_chunks, groups = sizes
    found = order("interleaved-1f1b", num_ranks, groups * num_ranks, num_chunks)
    assert found == megatron_interleaved(num_ranks, num_chunks, groups * num_ranks)


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=25, deadline=None)
@given(sizes=st.tuples(st.integers(1, 6), st.integers(1, 13), st.integers(1, 3)))
def test_every_schedule_is_complete_and_can_run(name, sizes):
    shape = fitting(name, *sizes)
    schedule = build_schedule(name, shape)
    check(schedule)
    passes = shape.num_stages * shape.num_microbatches
    kinds = Counter(schedule.action(row).kind for row in range(schedule.num_actions))
    assert kinds["F"] == passes
    assert kinds["B"] + kinds["I"] == (0 if name == "forward" else passes)
    assert kinds["I"] == kinds["W"]
    assert schedule.stages_a_lane == shape.num_stages


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_says_what_it_is_and_names_its_paper(name):
    assert "arXiv" in SCHEDULES[name].description


@given(SMALL)
def test_peak_in_flight_is_m_for_gpipe_and_falls_along_the_ranks_for_1f1b(sizes):
    num_ranks, _, num_microbatches = sizes
    shape = PipelineShape(num_ranks, num_microbatches)
    assert peak_in_flight(build_schedule("gpipe", shape)) == [num_microbatches] * num_ranks
    assert peak_in_flight(build_schedule("1f1b", shape)) == [
        min(num_microbatches, num_ranks - rank) for rank in range(num_ranks)
    ]


def test_a_schedule_of_the_users_own_keeps_its_sets():
    sets = [[Action(0, "F", 0)], [Action(0, "F", 1), Action(0, "B", 0)], [Action(0, "B", 1)]]
    schedule = Schedule.from_sets(2, [0], [sets])
    assert schedule.actions(0) == [action for members in sets for action in members]
    assert schedule.step.tolist() == [0, 1, 1, 2]
    check(schedule)


def test_columns_have_their_documented_types():
    schedule = build_schedule("1f1b", PipelineShape(2, 2))
    columns = (schedule.kind, schedule.stage, schedule.microbatch, schedule.step)
    assert [column.dtype for column in columns] == [np.uint8, np.int32, np.int32, np.int32]
    assert schedule.rank_offsets.dtype == np.int64
    assert schedule.rank.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "sizes", "told"),
    [
        ("1f1", (4, 8, 1), ["no schedule '1f1'", "did you mean '1f1b'?", "gpipe"]),
        ("gpipe", (4, 8, 2), ["'gpipe'", "chunks = 2", "chunks = 1", "interleaved-1f1b"]),
        ("1f1b", (4, 8, 3), ["'1f1b'", "chunks = 3"]),
        ("zb-v", (4, 8, 1), ["'zb-v'", "2 stages a rank", "chunks = 1", "choose chunks = 2"]),
        ("v-half", (4, 8, 3), ["'v-half'", "chunks = 3", "choose chunks = 2"]),
        ("dualpipe", (3, 8, 1), ["DualPipe: 3 ranks", "even"]),
        ("dualpipe", (4, 6, 1), ["microbatches = 6", "at least twice the ranks"]),
        ("dualpipe-v", (4, 7, 2), ["microbatches = 7", "8 stages", "choose 8 or more"]),
        ("chimera", (4, 7, 1), ["microbatches = 7", "even"]),
        ("zb-h1", (4, 7, 1, 2), ["'zb-h1'", "warm_up = 2", "1f1b-flexible"]),
        ("1f1b", (4, 7, 1, 0, 3), ["slices = 3", "terapipe"]),
        ("gpipe", (4, 7, 1, 0, 1, 2), ["iterations = 2", "pipedream"]),
        ("1f1b-flexible", (4, 7, 1, -1), ["warm_up = -1"]),
        ("1f1b", (0, 8, 1), ["ranks = 0"]),
        ("1f1b", (4, 0, 1), ["microbatches = 0"]),
        ("1f1b", (4, 8, -1), ["chunks = -1"]),
    ],
)
def test_sizes_that_do_not_fit_are_told_in_one_sentence(name, sizes, told):
    with pytest.raises(ScheduleError) as caught:
        build_schedule(name, PipelineShape(*sizes))
    assert all(part in str(caught.value) for part in told), str(caught.value)
