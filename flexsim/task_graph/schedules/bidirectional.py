"""Chimera: two copies of the model in opposite directions, each in 1F1B."""

from __future__ import annotations

from flexsim.errors import ScheduleError
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def chimera(shape: PipelineShape) -> Schedule:
    """Return Chimera with one pipeline each way (Li & Hoefler 2021, arXiv 2107.06925, §3.1).

    The first half of the microbatches passes the stages 0 … p − 1 on the ranks in order, the
    second p … 2p − 1 from the last rank. With forwards as long as backwards the two fit into
    each other without a conflict, p microbatches after p (direct concatenation, §3.5), and
    p − 2 slots are idle.
    """
    num_ranks, num_microbatches = shape.num_ranks, shape.num_microbatches
    if num_ranks % 2 or num_microbatches % 2:
        raise ScheduleError(
            f"Chimera: {num_ranks} ranks and microbatches = {num_microbatches} do not split into "
            f"two directions; choose even numbers of both"
        )
    orders = [_order(rank, shape) for rank in range(num_ranks)]
    there = list(range(num_ranks))
    return Schedule.from_orders(num_microbatches, there + there[::-1], orders, num_lanes=2)


def _order(rank: int, shape: PipelineShape) -> list[Action]:
    """Return a rank's actions of both directions by their slots; no two share one."""
    num_ranks, half = shape.num_ranks, shape.num_microbatches // 2
    slots: dict[int, Action] = {}
    for lane, stage in enumerate((rank, num_ranks - 1 - rank)):
        for number in range(half):
            unit, within = divmod(number, num_ranks // 2)
            start = 2 * num_ranks * unit + 2 * within
            place, microbatch = lane * num_ranks + stage, lane * half + number
            slots[start + stage] = Action(place, "F", microbatch)
            slots[start + 2 * num_ranks - 1 - stage] = Action(place, "B", microbatch)
    return [slots[slot] for slot in sorted(slots)]
