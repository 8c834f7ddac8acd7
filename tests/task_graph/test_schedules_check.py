"""Schedules that are incomplete, misplaced or dead-lock are refused by the action at fault."""

from __future__ import annotations

import pytest

from flexsim.engine.event import simulate
from flexsim.errors import DeadlockError, ScheduleError
from flexsim.task_graph.pipeline import StageDurations, pipeline_task_graph
from flexsim.task_graph.schedules import Schedule, check, parse_action


def schedule(*orders: str, placement: list[int] | None = None, microbatches: int = 2) -> Schedule:
    """Return the schedule of one rank a text; "0F1+0B0" is a set of two."""
    sets = [[[parse_action(t) for t in s.split("+")] for s in text.split()] for text in orders]
    return Schedule.from_sets(microbatches, placement or list(range(len(orders))), sets)


@pytest.mark.parametrize(
    "orders",
    [
        ("0F0 0F1 0B0 0B1", "1F0 1B0 1F1 1B1"),
        ("0F0 0F1 0B1 0B0", "1F1 1F0 1B1 1B0"),
        ("0F0 0F1 0I0 0I1 0W1 0W0", "1F0 1B0 1F1 1I1 1W1"),
        ("0F0 0F1", "1F1 1F0"),
        ("0F0 0F1 0B0 0B1", "1F0 1F1+1B0 1B1"),
        ("0F0 0F1 0B0 0B1", "1F0 1B1+1F1 1B0"),
    ],
)
def test_what_can_run_passes(orders):
    check(schedule(*orders))


@pytest.mark.parametrize(
    ("orders", "told"),
    [
        (("0F0 0B0 0F1 0B1", "1F1 1B1 1F0 1B0"), "1F1, number 1 of rank 1, waits for 0F1"),
        (("0B0 0F0 0F1 0B1", "1F0 1F1 1B0 1B1"), "0B0, number 1 of rank 0, waits for 1B0"),
        (("0F0 0F1 0B0 0B1", "1F0 1B1 1F1 1B0"), "1B1, number 2 of rank 1, waits for 1F1"),
        (("0F0 0F1 0W0 0I0 0B1", "1F0 1F1 1B0 1B1"), "0W0, number 3 of rank 0, waits for 0I0"),
        (("0F0+0B0 0F1 0B1", "1F1 1F0+1B0 1B1"), "0B0, number 2 of rank 0, waits for 1B0"),
    ],
)
def test_a_dead_lock_names_the_first_action_that_cannot_run(orders, told):
    with pytest.raises(ScheduleError, match="dead-locks") as caught:
        check(schedule(*orders))
    assert told in str(caught.value)


def test_what_check_refuses_the_engine_cannot_run():
    refused = schedule("0F0 0B0 0F1 0B1", "1F1 1B1 1F0 1B0")
    with pytest.raises(DeadlockError, match="cycle"):
        simulate(pipeline_task_graph(refused, StageDurations(1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("orders", "told"),
    [
        (("0F0 0B0 0B1", "1F0 1F1 1B0 1B1"), "0F1 is missing"),
        (("0F0 0F1 0B0", "1F0 1F1 1B0 1B1"), "0B1 is missing"),
        (("0F0 0F1 0F1 0B0 0B1", "1F0 1F1 1B0 1B1"), "0F1 is there more than once"),
        (("0F0 0F1 0I0 0B0 0W0 0B1", "1F0 1F1 1B0 1B1"), "0I0 is there beside the full"),
        (("0F0 0F1 0B0 0W0 0B1", "1F0 1F1 1B0 1B1"), "0W0 is there beside the full"),
        (("0F0 0F1 0B0 0B1", "1F0 1F1 1I0 1B1"), "1W0 is missing"),
        (("0F0 0F1 0B0 0B1", "1F0 1F1 1W0 1B1"), "1B0 is missing"),
        (("0F0 0F1 0B0 0B1", "1F0 1F1 1B0 2B1"), "2B1: there is no such stage; there are 2"),
        (("0F0 0F2 0B0 0B1", "1F0 1F1 1B0 1B1"), "0F2: there is no such microbatch"),
        (("0F0 1F1 0B0 0B1", "1F0 0F1 1B0 1B1"), "1F1 is in the order of rank 0"),
    ],
)
def test_what_is_incomplete_or_misplaced_is_refused_by_its_action(orders, told):
    with pytest.raises(ScheduleError) as caught:
        check(schedule(*orders))
    assert told in str(caught.value), str(caught.value)


def test_a_stage_may_lie_on_any_rank():
    orders = ("0F0 3F0 3B0 0B0", "1F0 2F0 2B0 1B0")
    check(schedule(*orders, placement=[0, 1, 1, 0], microbatches=1))
    with pytest.raises(ScheduleError, match="3F0 is in the order of rank 0, but its stage lies on"):
        check(schedule(*orders, placement=[0, 1, 0, 1], microbatches=1))


def two_lanes(first: str, second: str) -> Schedule:
    """Return two microbatches through one rank with a stage of either lane."""
    orders = [[parse_action(text) for text in f"{first} {second}".split()]]
    return Schedule.from_orders(2, [0, 0], orders, num_lanes=2)


def test_a_microbatch_passes_the_stages_of_its_lane():
    check(two_lanes("0F0 0B0", "1F1 1B1"))


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("1F1", "1B1 is missing"),
        ("1F1 1B1 1B0", "1B0 is in a lane that is not its microbatch's"),
        ("1B1", "is missing"),
    ],
)
def test_what_a_lane_lacks_or_has_too_much_is_named(second, told):
    with pytest.raises(ScheduleError, match=told):
        check(two_lanes("0F0 0B0", second))
