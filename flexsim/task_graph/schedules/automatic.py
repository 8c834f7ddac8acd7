"""The schedule ``auto``: of many static orders the one that ends first within the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules.catalog import AUTO, SCHEDULES
from flexsim.task_graph.schedules.integer_program import improved
from flexsim.task_graph.schedules.list_scheduling import Orders, listed, rules
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.order_problem import OrderProblem, Outcome, StageCosts, outcome
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule
from flexsim.task_graph.schedules.zero_bubble_greedy import greedy_orders

_MOST_PASSES = 100_000
"""That are ordered by rules; of larger problems only every second, third … rule is tried."""
_MOST_EXACT = 60
"""Up to this many passes the integer program looks for something better."""


@dataclass(frozen=True)
class Found:
    """An order, what it does, and where it comes from."""

    schedule: Schedule
    outcome: Outcome
    source: str


def automatic(problem: OrderProblem) -> Found:
    """Return the order with the least makespan that fits; of equals the one that holds least.

    Known schedules, the Zero Bubble paper's heuristic and list scheduling by several rules are
    replayed with the given durations; small problems go on to an integer program. The answer
    is the same whenever the problem is. Raise :class:`ScheduleError` where none fits.
    """
    found = list(_replayed(problem))
    fitting = [each for each in found if each[1].fits(problem)]
    if not fitting:
        raise ScheduleError(_does_not_fit(problem, [each[1] for each in found]))
    orders, best, source = min(fitting, key=lambda each: (each[1].makespan_ns, each[1].peak_bytes))
    better = improved(problem, orders, best) if _num_passes(problem) <= _MOST_EXACT else None
    if better is not None:
        orders, best, source = *better, "integer program"
    return Found(problem.schedule(orders), best, source)


def of_equal_stages(shape: PipelineShape, costs: StageCosts, limit: int | None = None) -> Found:
    """Return :func:`automatic`'s answer for stages alike; two a rank lie there and back.

    A rank may hold ``limit`` times what a forward of a stage keeps.
    """
    there = list(range(shape.num_ranks))
    turns = [there, there[::-1] if shape.num_chunks == 2 else there]
    ranks = [rank for chunk in range(shape.num_chunks) for rank in turns[chunk % 2]]
    most = None if limit is None else limit * costs.kept_bytes
    problem = OrderProblem(
        (costs,) * shape.num_stages, tuple(ranks), shape.num_microbatches, (most,) * shape.num_ranks
    )
    return automatic(problem)


def _num_passes(problem: OrderProblem) -> int:
    return (2 + problem.splits) * problem.stages_a_lane * problem.num_microbatches


def _replayed(problem: OrderProblem) -> Iterator[tuple[Orders, Outcome, str]]:
    joins = any(costs.shortest_backward_ns < _halves_ns(costs) for costs in problem.stages)
    for source, orders in _candidates(problem):
        for each in [orders, [_joined(order) for order in orders]][: 1 + joins]:
            found = outcome(problem, each)
            if found is not None:
                yield each, found, source


def _halves_ns(costs: StageCosts) -> int:
    return costs.input_gradient_ns + costs.weight_gradient_ns


def _joined(order: list[Action]) -> list[Action]:
    """Return an order with whole backwards where W follows its I at once."""
    joined: list[Action] = []
    for action in order:
        if action.kind == "W" and joined and joined[-1] == action._replace(kind="I"):
            joined[-1] = action._replace(kind="B")
        else:
            joined.append(action)
    return joined


def _candidates(problem: OrderProblem) -> Iterator[tuple[str, Orders]]:
    yield from _known(problem)
    if len(problem.stages) == problem.num_ranks and problem.splits:
        yield from (("zero bubble greedy", orders) for orders in greedy_orders(problem))
    tried = rules(problem)
    every = -(-_num_passes(problem) * len(tried) // _MOST_PASSES)
    for rule in tried[::every]:
        orders = listed(problem, rule)
        if orders is not None:
            yield "list scheduling", orders


def _known(problem: OrderProblem) -> Iterator[tuple[str, Orders]]:
    """Yield the orders of the schedules with these stages on these ranks."""
    chunks = len(problem.stages) // problem.num_ranks
    shape = PipelineShape(problem.num_ranks, problem.num_microbatches, chunks)
    for name, entry in SCHEDULES.items():
        fits = entry.supports_chunks if chunks > 1 else True
        if name == AUTO or not entry.is_like_others or entry.num_lanes > 1 or not fits:
            continue
        if entry.num_chunks not in (None, chunks):
            continue
        try:
            schedule = entry.function(shape)
        except ScheduleError:
            continue
        if _suits(problem, schedule):
            yield name, [schedule.actions(rank) for rank in range(schedule.num_ranks)]


def _suits(problem: OrderProblem, schedule: Schedule) -> bool:
    """Whether a schedule has its stages there, trains, and splits backwards only where they are."""
    kinds = {schedule.action(row).kind for row in range(schedule.num_actions)}
    backward = {"B", "I"} if problem.splits else {"B"}
    sets = len(set(zip(schedule.rank.tolist(), schedule.step.tolist(), strict=True)))
    return (
        tuple(schedule.rank_of_stage.tolist()) == problem.rank_of_stage
        and bool(kinds & backward)
        and not kinds & ({"I"} - backward)
        and sets == schedule.num_actions
    )


def _does_not_fit(problem: OrderProblem, found: list[Outcome]) -> str:
    least = min(found, key=lambda each: max(each.peak_bytes)).peak_bytes
    rank = max(range(len(least)), key=lambda each: least[each] - (problem.limit_bytes[each] or 0))
    return (
        f"no order was found that fits: rank {rank} may hold {problem.limit_bytes[rank]} bytes of "
        f"activations, and the order that holds least takes {least[rank]}"
    )
