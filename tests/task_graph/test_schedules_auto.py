"""Orders made from the stages' times: never behind known ones, within memory, always the same."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine.event import simulate
from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules import Action, PipelineShape, build_schedule, check
from flexsim.task_graph.schedules.automatic import automatic, of_equal_stages
from flexsim.task_graph.schedules.integer_program import improved
from flexsim.task_graph.schedules.list_scheduling import listed, rules
from flexsim.task_graph.schedules.order_problem import (
    OrderProblem,
    Outcome,
    StageCosts,
    outcome,
)
from flexsim.task_graph.schedules.report import schedule_report
from flexsim.task_graph.schedules.zero_bubble_greedy import greedy_orders

TIMES = st.integers(1, 9)
STAGES = st.builds(StageCosts, TIMES, TIMES, TIMES, st.integers(0, 3))


@st.composite
def problems(draw, most_ranks=4, most_microbatches=6, stages=STAGES):
    num_ranks, chunks = draw(st.integers(1, most_ranks)), draw(st.integers(1, 2))
    there = list(range(num_ranks))
    ranks = there + there[::-1] if chunks == 2 else there
    costs = tuple(draw(stages) for _ in ranks)
    limit = draw(st.one_of(st.none(), st.integers(chunks, chunks * num_ranks + 2)))
    num_microbatches = draw(st.integers(1, most_microbatches))
    return OrderProblem(costs, tuple(ranks), num_microbatches, (limit,) * num_ranks)


def orders_of(name: str, problem: OrderProblem) -> list[list[Action]]:
    chunks = len(problem.stages) // problem.num_ranks
    schedule = build_schedule(
        name, PipelineShape(problem.num_ranks, problem.num_microbatches, chunks)
    )
    return [schedule.actions(rank) for rank in range(problem.num_ranks)]


@settings(max_examples=25, deadline=None)
@given(problems(most_microbatches=5))
def test_an_automatic_order_is_complete_fits_and_is_not_behind_any_that_does(problem):
    found = automatic(problem)
    check(found.schedule)
    assert found.outcome.fits(problem)
    one_a_rank = len(problem.stages) == problem.num_ranks
    names = ("gpipe", "1f1b", "zb-h1", "zb-h2") if one_a_rank else ("zb-v", "v-half", "v-min")
    others = [orders_of(name, problem) for name in names]
    others += greedy_orders(problem) if one_a_rank else []
    for orders in others:
        other = outcome(problem, orders)
        assert not other.fits(problem) or found.outcome.makespan_ns <= other.makespan_ns


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 8), st.tuples(TIMES, TIMES, TIMES))
def test_an_outcome_is_what_the_engine_replays(p, m, times):
    found = of_equal_stages(PipelineShape(p, m), StageCosts(*times))
    report = schedule_report(found.schedule, *times, 0, simulate)
    assert report.makespan == found.outcome.makespan_ns
    assert report.peak_activations == list(found.outcome.peak_bytes)


@settings(max_examples=30, deadline=None)
@given(problems(most_microbatches=8), st.data())
def test_every_rule_makes_orders_that_run_and_fit(problem, data):
    rule = data.draw(st.sampled_from(rules(problem)))
    orders = listed(problem, rule)
    if orders is not None:
        check(problem.schedule(orders))
        assert outcome(problem, orders).fits(problem)


def best_by_trying_all(problem: OrderProblem) -> int:
    """Return the least makespan of all orders of all ranks that fit."""
    per_rank = []
    for stages in problem.stages_of_rank:
        actions = [
            Action(stage, kind, m)
            for stage in stages
            for kind in "FIW"
            for m in range(problem.num_microbatches)
        ]
        per_rank.append([list(each) for each in permutations(actions) if in_turn(each)])
    found = (outcome(problem, orders) for orders in product(*per_rank))
    return min(each.makespan_ns for each in found if each is not None and each.fits(problem))


def in_turn(order: tuple[Action, ...]) -> bool:
    place = {action: number for number, action in enumerate(order)}
    return all(
        place[action._replace(kind=before)] < place[action]
        for action in order
        for before in {"F": "", "I": "F", "W": "I"}[action.kind]
    )


@settings(max_examples=12, deadline=None)
@given(st.tuples(STAGES, STAGES), st.sampled_from([1, 2, None]))
def test_small_problems_are_solved_to_the_optimum(stages, limit):
    problem = OrderProblem(stages, (0, 1), 2, (limit, limit))
    assert automatic(problem).outcome.makespan_ns == best_by_trying_all(problem)


def test_the_integer_program_finds_what_the_rules_miss():
    stages = tuple(StageCosts(*each) for each in [(4, 6, 8, 1), (9, 8, 3, 2), (9, 4, 7), (8, 4, 9)])
    problem = OrderProblem(stages, (0, 1, 2, 3), 3, (4,) * 4)
    known = outcome(problem, orders_of("1f1b", problem))
    orders, better = improved(problem, orders_of("1f1b", problem), known)
    check(problem.schedule(orders))
    assert better.makespan_ns < known.makespan_ns
    assert improved(problem, orders, Outcome(1, better.peak_bytes)) is None


@pytest.mark.parametrize(("p", "m", "limit"), [(4, 8, 4), (4, 8, 8), (8, 24, 8)])
def test_equal_stages_end_as_early_as_any_order_can(p, m, limit):
    found = of_equal_stages(PipelineShape(p, m), StageCosts(1, 1, 1), limit)
    assert found.outcome.makespan_ns == 3 * m + p - 1


def test_less_memory_takes_longer_and_a_problem_has_one_answer():
    stages = [StageCosts(20 + rank, 22, 15 - rank, 1) for rank in range(4)]
    found = {
        limit: automatic(OrderProblem(tuple(stages), (0, 1, 2, 3), 10, (limit,) * 4))
        for limit in (1, 2, 4, 8)
    }
    times = [each.outcome.makespan_ns for each in found.values()]
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]
    again = automatic(OrderProblem(tuple(stages), (0, 1, 2, 3), 10, (4,) * 4))
    assert [again.schedule.actions(r) for r in range(4)] == [
        found[4].schedule.actions(r) for r in range(4)
    ]


def test_memory_below_one_microbatch_is_refused():
    with pytest.raises(ScheduleError, match=r"rank 1 has 1 bytes .* takes 2"):
        OrderProblem((StageCosts(1, 1, 1, 0, 1), StageCosts(1, 1, 1, 0, 2)), (0, 1), 3, (1, 1))


def test_a_problem_without_weight_gradients_keeps_backwards_whole():
    problem = OrderProblem((StageCosts(1, 2, 0),) * 3, (0, 1, 2), 5, (3,) * 3)
    found = automatic(problem)
    kinds = {action.kind for rank in range(3) for action in found.schedule.actions(rank)}
    assert kinds == {"F", "B"}
    assert found.outcome.makespan_ns == 3 * (5 + 2)


def test_backwards_stay_whole_where_that_is_shorter():
    """As with tensor parallelism, whose communication weight gradients cover in a whole one."""
    halves, whole = StageCosts(4, 4, 3), StageCosts(4, 4, 3, backward_ns=5)
    split, joined = (
        automatic(OrderProblem((costs,) * 3, (0, 1, 2), 9, (4,) * 3)) for costs in (halves, whole)
    )
    assert joined.outcome.makespan_ns < split.outcome.makespan_ns
    kinds = [action.kind for action in joined.schedule.actions(0)]
    assert kinds.count("B") > 0
    check(joined.schedule)
