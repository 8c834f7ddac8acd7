"""V-Half and V-Min: one microbatch's passes repeat every six slots, then move together.

A building block says in which slot each rank runs the four passes of a microbatch: forward
there (0) and back (1), input gradient there (2) and back (3); the back half is the stage 2p − 1 −
r. How long a block is sets how much memory the repeated blocks need (Qi et al. 2024, arXiv
2405.15362). Free slots take weight gradients, and the passes of warm-up and drain move up into
free slots as far as memory stays below the repeated blocks' own peak ("squeeze", its §3.3).
"""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.schedules.notation import Action
from flexsim.task_graph.schedules.schedule import PipelineShape, Schedule
from flexsim.task_graph.schedules.squeeze import Slots, squeezed
from flexsim.task_graph.schedules.v_shaped import v_placement

PERIOD = 6
"""Slots from one microbatch to the next: F, I and W of two stages."""


def v_half(shape: PipelineShape) -> Schedule:
    """Return V-Half (Qi et al. 2024, arXiv 2405.15362, §3.2): half the activations of 1F1B.

    Ranks hold at most p + 2 activations of its half-size stages, and free them with W.
    """
    num_ranks, rank = shape.num_ranks, np.arange(shape.num_ranks)
    gap = 0 if num_ranks % 2 else 3
    block = [
        2 * rank,
        3 * num_ranks - rank - 2,
        3 * num_ranks + gap + 2 * rank - 1,
        6 * num_ranks + gap - rank - 2,
    ]
    return _repeated(shape, np.stack(block, 1))


def v_min(shape: PipelineShape) -> Schedule:
    """Return V-Min (Qi et al. 2024, arXiv 2405.15362, §3.2): a third of the activations of 1F1B."""
    num_ranks, rank = shape.num_ranks, np.arange(shape.num_ranks)
    gap = 0 if num_ranks % 3 else 2
    block = [
        rank,
        2 * num_ranks - rank - 1,
        2 * num_ranks + gap + rank,
        4 * num_ranks + gap - rank - 1,
    ]
    return _repeated(shape, np.stack(block, 1))


def _repeated(shape: PipelineShape, block: Int64) -> Schedule:
    """Return the schedule that repeats ``block`` (rank, pass) for every microbatch."""
    starts = PERIOD * np.arange(shape.num_microbatches)
    slots = squeezed(block[:, :, None] + starts)
    orders = [_order(rank, shape.num_ranks, each) for rank, each in enumerate(slots)]
    return Schedule.from_orders(shape.num_microbatches, v_placement(shape), orders)


def _order(rank: int, num_ranks: int, slots: Slots) -> list[Action]:
    """Return a rank's actions in the order of their slots."""
    there, back = rank, 2 * num_ranks - 1 - rank
    streams = [(there, "F"), (back, "F"), (back, "I"), (there, "I"), (back, "W"), (there, "W")]
    placed = [
        (slot, Action(stage, kind, microbatch))
        for (stage, kind), column in zip(streams, slots, strict=True)
        for microbatch, slot in enumerate(column)
    ]
    return [action for _, action in sorted(placed, key=lambda each: each[0])]
