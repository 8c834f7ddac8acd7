"""ZB-V: two stages a rank, the second on the way back, without a bubble in memory of 1F1B's."""

from __future__ import annotations

from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.passes import RankOrder
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule


def zb_v(shape: PipelineShape) -> Schedule:
    """Return ZB-V (Qi et al. 2023, arXiv 2401.10241, §6), as PyTorch's ``ScheduleZBVZeroBubble``.

    At most 2p of its half-size stages' activations are held, as much as p microbatches of 1F1B.
    Fewer than 2p − 1 microbatches run as the first of that many would.
    """
    orders = [_zb_v_order(rank, shape) for rank in range(shape.num_ranks)]
    return Schedule.from_orders(shape.num_microbatches, v_placement(shape), orders)


def v_placement(shape: PipelineShape) -> list[int]:
    """Return the ranks of the stages: there and back."""
    there = list(range(shape.num_ranks))
    return there + there[::-1]


def _zb_v_order(rank: int, shape: PipelineShape) -> list[Action]:
    num_ranks = shape.num_ranks
    num_passes = max(2 * num_ranks - 1, shape.num_microbatches)
    order = RankOrder((rank, 2 * num_ranks - 1 - rank))
    order.add(*["F0"] * (2 * (num_ranks - rank) - 1))
    order.add(*["F1", "F0"] * rank)
    order.add(*["F1", "I1", "W1"] * (num_ranks - rank))
    while order.count["F1"] < num_passes:
        order.add(*["F0"] * (order.count["F0"] < num_passes))
        order.add("I0", "W0", "F1", "I1", "W1")
    order.add(*["I0", "I1"] * rank)
    order.add(*["I0", "W0"] * (num_ranks - rank))
    order.add(*["W1"] * (num_passes - order.count["W1"]))
    order.add(*["W0"] * (num_passes - order.count["W0"]))
    actions = (action for members in order.sets for action in members)
    return [action for action in actions if action.microbatch < shape.num_microbatches]
