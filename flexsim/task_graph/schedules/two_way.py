"""DualPipe and DualPipe-V: forwards of one direction beside backwards of the other."""

from __future__ import annotations

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.passes import RankOrder
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule
from flexsim.task_graph.schedules.v_shaped import v_placement


def dualpipe_v(shape: PipelineShape) -> Schedule:
    """Return DualPipe-V, DualPipe cut in half (DeepSeek-AI 2025, arXiv 2412.19437, §3.2.1).

    Rank r holds the stages r and 2p − 1 − r. In the steady state the forward of one is a set
    with the backward of the other, as in PyTorch's ``ScheduleDualPipeV``.
    """
    num_ranks, num_microbatches = shape.num_ranks, shape.num_microbatches
    if num_microbatches < 2 * num_ranks:
        raise ScheduleError(
            f"DualPipe-V: microbatches = {num_microbatches} are fewer than the {2 * num_ranks} "
            f"stages; choose {2 * num_ranks} or more"
        )
    sets = [
        _sets((rank, num_ranks), (rank, 2 * num_ranks - 1 - rank), num_microbatches, (0, 0))
        for rank in range(num_ranks)
    ]
    return Schedule.from_sets(num_microbatches, v_placement(shape), sets)


def dualpipe(shape: PipelineShape) -> Schedule:
    """Return DualPipe (DeepSeek-AI 2024, arXiv 2412.19437, §3.2.1): two copies, two directions.

    The first half of the microbatches enters at the first rank and passes the stages 0 … p − 1,
    the second enters at the last rank and passes p … 2p − 1. Ranks r and p − 1 − r mirror each
    other.
    """
    num_ranks, num_microbatches = shape.num_ranks, shape.num_microbatches
    if num_ranks % 2 or num_microbatches % 2 or num_microbatches < 2 * num_ranks:
        raise ScheduleError(
            f"DualPipe: {num_ranks} ranks and microbatches = {num_microbatches} do not fit; choose "
            f"an even number of ranks and an even number of microbatches, at least twice the ranks"
        )
    sets = [_dualpipe_sets(rank, shape) for rank in range(num_ranks)]
    there = list(range(num_ranks))
    return Schedule.from_sets(num_microbatches, there + there[::-1], sets, num_lanes=2)


def _dualpipe_sets(rank: int, shape: PipelineShape) -> list[list[Action]]:
    num_ranks, half = shape.num_ranks, shape.num_microbatches // 2
    mirrored = num_ranks - 1 - rank
    there, back = (rank, 0), (num_ranks + mirrored, half)
    near, far = (there, back) if rank < num_ranks // 2 else (back, there)
    place = (min(rank, mirrored), num_ranks // 2)
    return _sets(place, (near[0], far[0]), half, (near[1], far[1]))


def _sets(
    place: tuple[int, int], stages: tuple[int, int], num_passes: int, first: tuple[int, int]
) -> list[list[Action]]:
    """Return the sets of the rank ``place`` = (r, p) counted towards the turn of the V.

    Eight runs, as in DeepSeek's description: F0; F0 F1; I1 W1 F1; F0+B1 F1+B0; B1 F1+B0; B1 B0,
    of which the second half postpones W; W B0; W.
    """
    rank, num_ranks = place
    behind = num_ranks - 1 - rank
    order = RankOrder(stages, first)
    order.add(*["F0"] * (2 * behind), *["F0", "F1"] * (rank + 1))
    for _ in range(behind):
        order.add("I1")
        order.late()
        order.add("F1")
    _steady(order, num_passes - 2 * num_ranks + rank + 1, turns=not behind)
    for _ in range(behind):
        order.add("B1")
        order.together("F1", "B0")
    _drain(order, rank, behind)
    return order.sets


def _steady(order: RankOrder, rounds: int, turns: bool) -> None:
    """Append forwards beside backwards; where the V ``turns`` the first two stay apart."""
    for number in range(rounds):
        if turns and not number:
            order.add("F0", "B1")
        else:
            order.together("F0", "B1")
        order.together("F1", "B0")


def _drain(order: RankOrder, rank: int, behind: int) -> None:
    """Append the last backwards: whole ones first, then input gradients before their weights."""
    kinds = "B" * (rank + 1) + "I" * (rank + 1)
    for number in range(rank + 1):
        order.add(kinds[2 * number] + "1", kinds[2 * number + 1] + "0")
    for _ in range(behind):
        order.late()
        order.add("I0")
    for _ in range(rank + 1):
        order.late()
