"""How many microbatches stages hold at a time, as a schedule's order alone tells."""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.schedule import Schedule


def held_at_most(schedule: Schedule) -> Int64:
    """Return for every global stage the most microbatches whose activations it holds."""
    held = np.zeros(schedule.num_stages, np.int64)
    for rank in range(schedule.num_ranks):
        held = np.maximum(held, _held(schedule, rank).max(axis=0, initial=0))
    return held


def held_when_fullest(schedule: Schedule) -> Int64:
    """Return the same at the moment when a rank holds most in all its stages together."""
    held = np.zeros(schedule.num_stages, np.int64)
    for rank in range(schedule.num_ranks):
        table = _held(schedule, rank)
        if len(table):
            held += table[int(table.sum(axis=1).argmax())]
    return held


def _held(schedule: Schedule, rank: int) -> Int64:
    """Return what a rank holds while each of its actions runs, by global stage.

    A forward adds one; after a backward, or the weight gradient where that runs by itself, it
    is gone.
    """
    rows = slice(schedule.rank_offsets[rank], schedule.rank_offsets[rank + 1])
    kind, stage = schedule.kind[rows], schedule.stage[rows]
    change = np.zeros((len(kind), schedule.num_stages), np.int64)
    row = np.arange(len(kind))
    change[row, stage] += kind == ACTION_CODE["F"]
    ends = np.isin(kind, [ACTION_CODE["B"], ACTION_CODE["W"]])
    change[row[1:], stage[:-1]] -= ends[:-1]
    held: Int64 = np.cumsum(change, axis=0)
    return held
