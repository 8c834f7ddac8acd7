"""Where ranks update their weights: once they have run all, or between passes without a flush."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.schedule import Schedule

_U = ACTION_CODE["U"]
_COMPLETES = [ACTION_CODE["B"], ACTION_CODE["W"]]
"""The passes that complete the gradients of a microbatch."""


class UpdatePlaces(NamedTuple):
    """A row an update: the row of the schedule that it stands before, its rank, its number.

    The number is -1 where there is one update only. ``completed`` is the row after which its
    gradients are complete on the rank.
    """

    row: Int64
    rank: Int64
    number: Int64
    completed: Int64

    def chosen(self, kept: NDArray[np.bool_]) -> UpdatePlaces:
        """Return some of the updates."""
        return UpdatePlaces(*(column[kept] for column in self))


def update_places(schedule: Schedule) -> UpdatePlaces:
    """Return where every rank updates its weights, in program order.

    An update comes right behind the pass that completes its gradients or, where forwards take
    older weights, before the rank's next backward.
    """
    ranks = np.arange(schedule.num_ranks)
    every = schedule.microbatches_an_update
    if every is None:
        ends = schedule.rank_offsets[1:]
        return UpdatePlaces(ends, ranks, np.full(len(ranks), -1), ends - 1)
    completes = [_completes(schedule, rank) for rank in range(schedule.num_ranks)]
    last = [rows[every - 1 :: every] for rows in completes]
    rows = [done + 1 for done in last]
    if schedule.updates_behind:
        following = [_behind(schedule, rank, done) for rank, done in enumerate(completes)]
        rows = [each[every - 1 :: every] for each in following]
    return UpdatePlaces(
        np.concatenate(rows),
        np.repeat(ranks, [len(some) for some in rows]),
        np.concatenate([np.arange(len(some)) for some in rows]),
        np.concatenate(last),
    )


def _completes(schedule: Schedule, rank: int) -> Int64:
    """Return the rows of a rank that complete the gradients of a microbatch."""
    first, end = (int(row) for row in schedule.rank_offsets[rank : rank + 2])
    return first + np.flatnonzero(np.isin(schedule.kind[first:end], _COMPLETES))


def _behind(schedule: Schedule, rank: int, completes: Int64) -> Int64:
    """Return which of the rows ``completes`` follows each, or the end of the rank."""
    return np.append(completes[1:], schedule.rank_offsets[rank + 1])


def updates_of(
    schedule: Schedule, kind: NDArray[np.integer], microbatch: NDArray[np.integer]
) -> Int64:
    """Return the number of the update that every action is, or that its gradients are for."""
    every = schedule.microbatches_an_update
    if every is None:
        return np.zeros(len(kind), np.int64)
    return np.where(kind == _U, microbatch, microbatch // every).astype(np.int64)
