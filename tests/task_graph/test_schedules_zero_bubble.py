"""Split backwards, stages there and back, two directions: closed forms and bounds on memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine.event import simulate
from flexsim.task_graph.schedules import PipelineShape, build_schedule, check
from flexsim.task_graph.schedules.asynchronous import weight_versions
from flexsim.task_graph.schedules.report import (
    order_text,
    peak_activations,
    peak_in_flight,
    schedule_report,
)

RANKS = st.integers(1, 8)


def report(name: str, shape: PipelineShape, *durations: float):
    return schedule_report(build_schedule(name, shape), *durations, simulate)


def order(name: str, *sizes: int, **hints: int) -> list[str]:
    found = order_text(build_schedule(name, PipelineShape(*sizes, **hints)))
    return [" ".join(actions) for actions in found.values()]


def test_zb_h1_by_hand():
    assert order("zb-h1", 2, 3) == [
        "0F0 0F1 0I0 0W0 0F2 0I1 0W1 0I2 0W2",
        "1F0 1I0 1F1 1I1 1W0 1F2 1I2 1W1 1W2",
    ]


def test_zb_h2_by_hand():
    assert order("zb-h2", 2, 4) == [
        "0F0 0F1 0F2 0I0 0F3 0I1 0W0 0I2 0W1 0I3 0W2 0W3",
        "1F0 1I0 1F1 1I1 1F2 1I2 1F3 1I3 1W0 1W1 1W2 1W3",
    ]


def test_looped_bfs_by_hand():
    assert order("looped-bfs", 1, 2, 2) == ["0F0 0F1 1F0 1F1 1B1 1B0 0B1 0B0"]


def test_forward_has_no_backward():
    assert order("forward", 2, 3) == ["0F0 0F1 0F2", "1F0 1F1 1F2"]
    assert order("forward", 1, 4, 2) == ["0F0 1F0 0F1 1F1 0F2 1F2 0F3 1F3"]


def test_interleaving_forms_larger_groups_where_ranks_do_not_divide_the_microbatches():
    first = order("interleaved-1f1b", 4, 6, 2)[3].split()
    assert first[:8] == ["3F0", "3F1", "3F2", "3F3", "3F4", "3F5", "7F0", "7B0"]
    ragged = order("interleaved-1f1b", 2, 5, 2)[0].split()
    forwards = [action for action in ragged if "F" in action]
    assert forwards == ["0F0", "0F1", "0F2", "2F0", "2F1", "2F2", "0F3", "0F4", "2F3", "2F4"]


@settings(max_examples=30, deadline=None)
@given(p=RANKS, m=st.integers(1, 20), f=st.integers(1, 4), b=st.integers(1, 4))
def test_zb_h1_idles_as_its_paper_says_in_the_memory_of_1f1b(p, m, f, b):
    w = min(f, b)
    found = report("zb-h1", PipelineShape(p, max(m, p)), f, b, w, 0)
    assert found.makespan >= (f + b + w) * max(m, p) + (p - 1) * f
    if f == b == w:
        assert found.makespan == (f + b + w) * max(m, p) + (p - 1) * (f + b - w)
    assert max(found.peak_activations) <= p == build_peak("1f1b", p, max(m, p))


def build_peak(name: str, p: int, m: int) -> int:
    return max(peak_in_flight(build_schedule(name, PipelineShape(p, m))))


@settings(max_examples=30, deadline=None)
@given(p=RANKS, more=st.integers(0, 12))
def test_zb_h2_never_waits_between_first_and_last_action_in_twice_the_memory(p, more):
    m = 2 * p + more
    found = report("zb-h2", PipelineShape(p, m), 1, 1, 1, 0)
    assert found.bubble_fraction_of_span == 0
    assert found.makespan == 3 * m + p - 1
    assert max(found.peak_activations) <= 2 * p


@settings(max_examples=30, deadline=None)
@given(p=RANKS, more=st.integers(0, 12))
def test_zb_v_never_waits_in_the_memory_of_1f1b(p, more):
    m = 2 * p - 1 + more
    found = report("zb-v", PipelineShape(p, m, 2), 1, 1, 1, 0)
    assert found.bubble_fraction_of_span == 0
    assert found.makespan == 6 * m + p - 1
    assert max(found.peak_activations) <= 2 * p


@settings(max_examples=20, deadline=None)
@given(p=st.integers(2, 10), m=st.integers(1, 24))
def test_v_half_and_v_min_keep_to_half_and_a_third(p, m):
    shape = PipelineShape(p, m, 2)
    assert max(peak_activations(build_schedule("v-half", shape))) <= p + 2
    assert max(peak_activations(build_schedule("v-min", shape))) <= 2 * (p + 2) / 3 + 2


@pytest.mark.parametrize(("p", "half", "least"), [(4, 6, 4), (6, 8, 6), (8, 10, 8), (12, 14, 10)])
def test_v_half_and_v_min_trade_time_for_memory(p, half, least):
    shape = PipelineShape(p, 4 * p, 2)
    found = {name: report(name, shape, 1, 1, 1, 0) for name in ("zb-v", "v-half", "v-min")}
    peaks = [max(each.peak_activations) for each in found.values()]
    assert peaks == [2 * p, half, least]
    times = [each.makespan for each in found.values()]
    assert times == sorted(times)


@settings(max_examples=20, deadline=None)
@given(half=st.integers(1, 4), units=st.integers(1, 3))
def test_chimera_idles_p_minus_2_slots_and_holds_up_to_p_microbatches(half, units):
    p, m = 2 * half, 2 * half * units
    found = report("chimera", PipelineShape(p, m), 1, 0.5, 0.5, 0)
    assert found.makespan == 2 * m + p - 2
    assert found.peak_in_flight[0] == min(half + 1, m)
    assert max(found.peak_in_flight) <= p


@settings(max_examples=15, deadline=None)
@given(half=st.integers(1, 3), more=st.integers(0, 6))
def test_dualpipe_is_dualpipe_v_of_half_the_ranks_both_ways(half, more):
    m = 4 * half + 2 * more
    both = report("dualpipe", PipelineShape(2 * half, m), 1, 1, 1, 0)
    one = report("dualpipe-v", PipelineShape(half, m // 2, 2), 1, 1, 1, 0)
    assert both.makespan == one.makespan
    assert both.peak_in_flight == both.peak_in_flight[::-1]
    assert both.peak_in_flight[:half][::-1] == one.peak_in_flight[::-1]


def test_dualpipe_puts_forwards_beside_backwards():
    schedule = build_schedule("dualpipe-v", PipelineShape(2, 4, 2))
    together = [members for members in schedule.sets(0) if len(members) == 2]
    assert together
    assert all([each.kind for each in members] == ["F", "B"] for members in together)


@settings(max_examples=20, deadline=None)
@given(p=st.integers(1, 6), m=st.integers(1, 8))
def test_pipedream_has_no_bubble_in_steady_state_and_stashes_weights(p, m):
    shape = PipelineShape(p, max(m, p), num_iterations=4)
    found = report("pipedream", shape, 1, 1, 1, 0)
    assert found.steady_iteration == 3 * max(m, p)
    assert found.weight_versions == [p - rank for rank in range(p)]
    two = report("pipedream-2bw", shape, 1, 1, 1, 0)
    assert two.steady_iteration == 3 * max(m, p)
    assert two.weight_versions == [2] * p


def test_schedules_that_flush_hold_one_version_of_weights():
    assert weight_versions(build_schedule("zb-v", PipelineShape(3, 5, 2))) == [1, 1, 1]


@settings(max_examples=20, deadline=None)
@given(p=st.integers(1, 6), m=st.integers(1, 4), slices=st.integers(1, 4))
def test_terapipe_is_as_fast_as_gpipe_with_slices_for_microbatches(p, m, slices):
    shape = PipelineShape(p, m, num_slices=slices)
    schedule = build_schedule("terapipe", shape)
    check(schedule)
    found = schedule_report(schedule, 1, 1, 1, 0, simulate)
    assert found.makespan == 3 * (m * slices + p - 1)


def test_slices_wait_for_one_another_on_every_stage():
    found = order("terapipe", 1, 2, num_slices=2)
    assert found == ["0F0 0F1 0F2 0F3 0B3 0B2 0B1 0B0"]


@settings(max_examples=20, deadline=None)
@given(p=st.integers(2, 6), v=st.integers(1, 3), more=st.integers(0, 8))
def test_more_warm_up_hides_transfers_and_holds_more(p, v, more):
    shape = PipelineShape(p, 4 * p, v, warm_up=more)
    schedule = build_schedule("1f1b-flexible", shape)
    check(schedule)
    found = schedule_report(schedule, 1, 1, 1, 0.25, simulate)
    name = "interleaved-1f1b" if v > 1 else "1f1b"
    plain = report(name, PipelineShape(p, 4 * p, v), 1, 1, 1, 0.25)
    assert v > 1 or found.makespan <= plain.makespan
    most = v * 4 * p
    assert found.peak_in_flight == [min(each + more, most) for each in plain.peak_in_flight]
