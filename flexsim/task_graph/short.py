"""Short pipelines: every kind of stage that a long one has, each once.

Stages of a uniform pipeline differ by what stands before and behind them only: five tell all.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.task_graph.columns import Int64, ResourceTable
from flexsim.task_graph.growth import Grown, likes
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_KINDS
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.site import Site
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
    """A short pipeline of one stage a rank, with messages priced as on one rank of a long one."""

    def __init__(self, seed: Seed, layers_per_stage: int, num_stages: int, priced: Int64) -> None:
        """Take the price of every message."""
        ranks = np.arange(num_stages, dtype=np.int32)[:, None]
        site = Site(ranks, 1, 1, cast(Communication, None))
        super().__init__(seed, site, layers_per_stage)
        self._priced = priced

    @cached_property
    def prices(self) -> Int64:
        """The price of every message at every stage."""
        return np.repeat(self._priced[:, None], self.site.num_stages, axis=1)

    @property
    def labels(self) -> Int64:
        """Equal numbers, from 1, for members that are one task of the small pipeline."""
        sizes = [
            self.strips[stage, action].num_tasks
            for stage in range(self.seed.num_stages)
            for action in (F, B)
        ]
        first = 1 + np.cumsum([0, *sizes])
        keys = [2 * self.like(stage) + action for stage, action in self.order]
        return np.concatenate([np.arange(first[key], first[key + 1]) for key in keys])


def durations_of(seed: Seed, layers_per_stage: int, num_stages: int, priced: Int64) -> Int64:
    """Return what the members of a short pipeline's templates last, with messages priced."""
    strips = seed.stretched(layers_per_stage - seed.num_blocks)
    likes_of = likes(num_stages, seed).tolist()
    rows = [strips[like, action].duration_ns for like in likes_of for action in (F, B)]
    duration_ns = np.concatenate(rows)
    symbolic = np.flatnonzero(duration_ns >= SYMBOL)
    duration_ns[symbolic] = priced[duration_ns[symbolic] - SYMBOL]
    return duration_ns


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
