"""The order of a strategy's passes: the schedule that it names, or one that is given."""

from __future__ import annotations

from dataclasses import replace

from flexsim.errors import StrategyError
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.asynchronous import check_iterations
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, Schedule, build_schedule
from flexsim.task_graph.schedules.asynchronous import steady_iterations
from flexsim.task_graph.schedules.slices import in_lanes_of_slices


def schedule_of(strategy: Strategy, order: Schedule | None = None) -> Schedule:
    """Return the order in which a strategy's passes run; ``order`` stands for the named one.

    Raise :class:`StrategyError` where its stages lie on other ranks than the strategy's.
    """
    schedule = in_lanes_of_slices(named_schedule(strategy) if order is None else order)
    if schedule.rank_of_stage.tolist() != list(strategy.rank_of_stage):
        wanted, given = schedule.rank_of_stage.tolist(), list(strategy.rank_of_stage)
        raise StrategyError(
            f"schedule {strategy.schedule!r} wants its stages on the ranks {wanted}, but strategy "
            f"{strategy.name!r} has them on {given}"
        )
    return replace(schedule, blocking_transfers=strategy.blocking_transfers)


def named_schedule(strategy: Strategy) -> Schedule:
    """Return the schedule that a strategy names, of its ranks and microbatches.

    Where microbatches never flush it has as many iterations as the strategy says, or as show the
    steady state.
    """
    ranks, microbatches = strategy.num_ranks, strategy.num_microbatches
    entry = SCHEDULES.get(strategy.schedule)
    iterations = strategy.num_iterations
    if iterations is None:
        flushes = entry is None or entry.flushes
        iterations = 1 if flushes else steady_iterations(ranks, microbatches)
    shape = PipelineShape(
        num_ranks=ranks,
        num_chunks=strategy.num_chunks,
        num_microbatches=microbatches,
        num_slices=strategy.num_slices,
        num_iterations=iterations,
    )
    schedule = build_schedule(strategy.schedule, shape)
    check_iterations(schedule)
    return schedule
