"""What differs where iterations follow one another without a flush (PipeDream and its kin).

Every rank updates its weights when it can and keeps the versions that its microbatches in flight
began with. So nothing may make all ranks wait for one another once an iteration.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.errors import ScheduleError, StrategyError
from flexsim.strategy.strategy import OPTIMIZER, Strategy
from flexsim.task_graph.assemble import Actions
from flexsim.task_graph.columns import Int32, Int64, Iterations, StaticMemory
from flexsim.task_graph.parts import WeightPart
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.schedules.asynchronous import iterations_until_steady, weight_versions

_OTHERS = "or a schedule that flushes, such as 1f1b"


def check_iterations(schedule: Schedule) -> None:
    """Raise :class:`ScheduleError` where there are too few iterations for a steady state."""
    if schedule.flushes:
        return
    least = 2 * _num_left_out(schedule) + 1
    if schedule.num_iterations < least:
        raise ScheduleError(
            f"{schedule.num_iterations} iterations without a flush have no steady state between "
            f"those that fill and those that empty {schedule.num_ranks} ranks; choose "
            f"simulation.iterations = {least} or more"
        )


def check_stands_alone(strategy: Strategy, schedule: Schedule, parts: list[WeightPart]) -> None:
    """Raise :class:`StrategyError` where ranks could not update their weights each by itself."""
    if schedule.flushes:
        return
    without = f"schedule {strategy.schedule!r} updates the weights of every rank without a flush"
    if strategy.gradient_norm and strategy.num_ranks > 1:
        raise StrategyError(
            f"{without}, but the norm of all gradients would make ranks wait for one another; "
            f"choose strategy.gradient_norm = false, {_OTHERS}"
        )
    if strategy.sharding.axes:
        raise StrategyError(
            f"{without} and keeps versions of them, which is not built for replicas that keep "
            f"shares; choose strategy.zero = 0, {_OTHERS}"
        )
    if OPTIMIZER in strategy.offload:
        raise StrategyError(
            f"{without} between passes, which is not built for an optimizer on the host; leave "
            f"'optimizer' out of training.offload, {_OTHERS}"
        )
    _check_on_one_rank(strategy, parts, without)


def _check_on_one_rank(strategy: Strategy, parts: list[WeightPart], without: str) -> None:
    rank_of: dict[str, int] = {}
    for part in parts:
        rank = strategy.rank_of_stage[part.stage]
        other = rank_of.setdefault(part.name, rank)
        if other != rank:
            first, last = sorted((other, rank))
            raise StrategyError(
                f"{without}, but {part.name!r} lies on the ranks {first} and {last}, which update "
                "at different times; choose strategy.pipeline = 1, model.tied_embedding = false "
                f"if that is the word table, {_OTHERS}"
            )


def with_versions(static: StaticMemory, strategy: Strategy, schedule: Schedule) -> StaticMemory:
    """Return what devices hold, with all versions of their weights.

    An update comes while activations are held, so what its step needs counts as state.
    """
    if schedule.flushes:
        return static
    versions = np.array(weight_versions(schedule))[_ranks_of(static.device, strategy)]
    step = 0 if static.step is None else static.step
    return replace(
        static, weights=static.weights * versions, optimizer=static.optimizer + step, step=None
    )


def _ranks_of(devices: Int32, strategy: Strategy) -> Int64:
    """Return the rank of every device, 0 for those that hold no stage."""
    rank = np.zeros(len(devices), np.int64)
    for stage, meshes in enumerate(strategy.meshes_of_stage):
        for mesh in meshes:
            rank[np.isin(devices, mesh.flat)] = strategy.rank_of_stage[stage]
    return rank


def iterations_of(schedule: Schedule, actions: Actions) -> Iterations | None:
    """Return which iteration every action belongs to; None where there is one that flushes."""
    if schedule.flushes:
        return None
    total, number = schedule.num_microbatches, schedule.num_iterations
    every = schedule.microbatches_an_update or total
    first = np.where(actions.is_update, actions.update * every, actions.table.microbatch)
    return Iterations(
        of_action=(first // (total // number)).astype(np.int32),
        number=number,
        num_left_out=_num_left_out(schedule),
        weight_versions=tuple(weight_versions(schedule)),
    )


def _num_left_out(schedule: Schedule) -> int:
    size = schedule.num_microbatches // schedule.num_iterations
    return iterations_until_steady(schedule.num_ranks, size)
