"""Short pipelines: every kind of stage that a long one has, each once.

Stages of a uniform pipeline differ by what stands before and behind them only: five tell all.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.task_graph.columns import Int64, ResourceTable
from flexsim.task_graph.enquiry import KERNEL
from flexsim.task_graph.growth import Grown, likes
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.site import Site
from flexsim.task_graph.stretch import stretched_order
from flexsim.task_graph.strips import Strip
from flexsim.task_graph.symbolic import SYMBOL
from flexsim.task_graph.uniform import Seed

_STAGES = 5
_ON, _BACK = len(TASK_KINDS), len(TASK_KINDS) + 1
RESOURCES_A_RANK = _BACK + 1
"""Streams by kind (0: compute), and the channels to the next rank and to the one before."""


def num_short(num_stages: int) -> int:
    """Return how many stages the short pipeline has."""
    return num_stages if num_stages < _STAGES - 1 else _STAGES


def places_in_short(num_stages: int) -> Int64:
    """Return the stage of the short pipeline that each stage of a long one is like."""
    stages = np.arange(num_stages)
    if num_stages < _STAGES - 1:
        return stages
    return np.where(stages < 2, stages, np.maximum(2, stages - num_stages + _STAGES))


class Short(Grown):
    """A short pipeline of one stage a rank, whose tasks have labels in place of durations."""

    def __init__(self, seed: Seed, layers_per_stage: int, num_stages: int) -> None:
        """Grow a seed to so many stages."""
        ranks = np.arange(num_stages, dtype=np.int32)[:, None]
        site = Site(ranks, 1, 1, cast(Communication, None))
        super().__init__(seed, site, layers_per_stage)

    def _durations_ns(self, strips: list[Strip]) -> Int64:
        """Return equal numbers, from 1, for members that are one task of the small pipeline."""
        sizes = [
            self.strips[stage, action].num_tasks
            for stage in range(self.seed.num_stages)
            for action in (F, B)
        ]
        first = 1 + np.cumsum([0, *sizes])
        keys = [2 * self.like(stage) + action for stage, action in self.order]
        return np.concatenate([np.arange(first[key], first[key + 1]) for key in keys])


def codes_of(seed: Seed, layers_per_stage: int, num_stages: int) -> Int64:
    """Return, for all members of a short pipeline's templates, what they last by number.

    Questions of the seed come first, then its messages: see :func:`durations_of`.
    """
    extra, strips = layers_per_stage - seed.num_blocks, seed.strips.of
    symbols = {key: _stretched_symbols(strip, extra) for key, strip in strips.items()}
    likes_of = likes(num_stages, seed).tolist()
    symbol = np.concatenate([symbols[like, action] for like in likes_of for action in (F, B)])
    return np.where(symbol < SYMBOL, symbol - KERNEL, symbol - SYMBOL + len(seed.questions))


def _stretched_symbols(strip: Strip, extra: int) -> Int64:
    return strip.duration_ns[stretched_order(strip, extra)]


def durations_of(codes: Int64, kernels_ns: Int64, priced: Int64) -> Int64:
    """Return what members last, from the answers to all questions and prices of all messages."""
    return np.concatenate([kernels_ns, priced])[codes]


def resources_in_rank(table: ResourceTable, is_pair: bool) -> Int64:
    """Return the number of every resource of a short pipeline within its rank.

    Where a long pipeline goes round a pair of ranks (``is_pair``) both channels are one.
    """
    back = _ON if is_pair else _BACK
    channel = np.where(table.peer > table.device, _ON, back)
    return np.where(table.peer >= 0, channel, stream_in_rank(table.kind.astype(np.int64)))


def stream_in_rank(kind: Int64) -> Int64:
    """Return the number within a rank of the stream that tasks of a kind hold."""
    return np.where(kind < NUM_COMPUTE_KINDS, 0, kind)
