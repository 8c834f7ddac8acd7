"""What an action waits for: its rank's previous set, and what other actions compute."""

from __future__ import annotations

import numpy as np

from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.schedule import Schedule

Edges = tuple[Int64, Int64]
"""Rows of the earlier and of the later actions."""


def order_edges(schedule: Schedule) -> Edges:
    """Return an edge from every member of a set to every member of its rank's next set."""
    rank, step = schedule.rank, schedule.step
    begins = (np.diff(rank) != 0) | (np.diff(step) != 0)
    first = np.concatenate([[0], np.flatnonzero(begins) + 1, [schedule.num_actions]])
    following = np.cumsum(np.concatenate([[0], begins])) + 1
    has_next = following < len(first) - 1
    before = np.flatnonzero(has_next)
    before = before[rank[first[following[before]]] == rank[before]]
    sizes = np.diff(first)[following[before]]
    position = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(before, sizes), np.repeat(first[following[before]], sizes) + position


def data_edges(schedule: Schedule) -> Edges:
    """Return F(s) → F(s + 1), B(s + 1) → B(s), F → B on the last stage, and I → W.

    An input gradient I stands for B where the backward is split. No microbatch passes from one
    lane to another. Slices wait for one another on every stage.
    """
    forward, backward = row_table(schedule, "F"), row_table(schedule, "BI")
    inputs, weights = row_table(schedule, "I"), row_table(schedule, "W")
    last = np.arange(schedule.num_lanes) * schedule.stages_a_lane + schedule.stages_a_lane - 1
    follows = np.flatnonzero(np.arange(1, schedule.num_microbatches) % schedule.num_slices)
    pairs = [
        (forward[:-1], forward[1:]),
        (backward[1:], backward[:-1]),
        (forward[last], backward[last]),
        (inputs, weights),
        (forward[:, follows], forward[:, follows + 1]),
        (backward[:, follows + 1], backward[:, follows]),
    ]
    before = np.concatenate([earlier.ravel() for earlier, _ in pairs])
    after = np.concatenate([later.ravel() for _, later in pairs])
    both = (before >= 0) & (after >= 0)
    return before[both], after[both]


def row_table(schedule: Schedule, kinds: str) -> Int64:
    """Return the row of the action of ``kinds`` by (stage, microbatch); -1 where there is none."""
    table = np.full((schedule.num_stages, schedule.num_microbatches), -1, np.int64)
    rows = np.flatnonzero(np.isin(schedule.kind, [ACTION_CODE[kind] for kind in kinds]))
    table[schedule.stage[rows], schedule.microbatch[rows]] = rows
    return table
