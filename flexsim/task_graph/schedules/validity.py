"""Whether a schedule is complete and can run to its end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import ScheduleError
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE
from flexsim.task_graph.schedules.dependencies import Edges, data_edges, order_edges
from flexsim.task_graph.schedules.notation import Action, format_action
from flexsim.task_graph.schedules.schedule import Schedule


class ActionError(ScheduleError):
    """One action of a schedule is wrong."""

    def __init__(self, message: str, action: Action) -> None:
        super().__init__(message)
        self.action = action


def check(schedule: Schedule) -> None:
    """Raise :class:`ScheduleError` where an action is missing, doubled, misplaced or stuck.

    Every microbatch passes every stage of its lane forward once and, unless no action is a
    backward, backward once: as B, or as I and W. The message names the first action at fault.
    """
    _check_sizes(schedule)
    _check_counts(schedule)
    _check_placement(schedule)
    _check_progress(schedule)


def _check_sizes(schedule: Schedule) -> None:
    for what, column, size in (
        ("stage", schedule.stage, schedule.num_stages),
        ("microbatch", schedule.microbatch, schedule.num_microbatches),
    ):
        outside = np.flatnonzero((column < 0) | (column >= size))
        if len(outside):
            action = schedule.action(outside[0])
            raise ActionError(
                f"action {format_action(action)}: there is no such {what}; there are {size}", action
            )


def _check_counts(schedule: Schedule) -> None:
    count = {kind: _count(schedule, kind) for kind in "FBIW"}
    for kind in "FBIW":
        _refuse_first(kind, count[kind] > 1, "is there more than once")
    here = _passed(schedule, count["F"])
    _refuse_first("F", (count["F"] == 0) & here, "is missing")
    if not np.isin(schedule.kind, [ACTION_CODE[kind] for kind in "BIW"]).any():
        return
    _refuse_first("B", (count["B"] + count["I"] == 0) & here, "is missing")
    _refuse_first("I", count["B"] + count["I"] > 1, "is there beside the full backward")
    _refuse_first("W", count["B"] + count["W"] > 1, "is there beside the full backward")
    _refuse_first("W", count["I"] > count["W"], "is missing")
    for kind in "FBIW":
        _refuse_first(kind, (count[kind] > 0) & ~here, "is in a lane that is not its microbatch's")


def _passed(schedule: Schedule, forwards: Int64) -> NDArray[np.bool_]:
    """Return which stages each microbatch passes: those of the lane that most know it in."""
    by_lane = forwards.reshape(schedule.num_lanes, -1, schedule.num_microbatches).sum(1)
    lane_of_stage = np.arange(schedule.num_stages) // schedule.stages_a_lane
    here: NDArray[np.bool_] = lane_of_stage[:, None] == by_lane.argmax(0)
    return here


def _count(schedule: Schedule, kind: str) -> Int64:
    rows = schedule.kind == ACTION_CODE[kind]
    key = schedule.stage[rows].astype(np.int64) * schedule.num_microbatches
    size = schedule.num_stages * schedule.num_microbatches
    count = np.bincount(key + schedule.microbatch[rows], minlength=size)
    return count.reshape(schedule.num_stages, schedule.num_microbatches)


def _refuse_first(kind: str, wrong: NDArray[np.bool_], complaint: str) -> None:
    if wrong.any():
        stage, microbatch = np.argwhere(wrong)[0].tolist()
        action = Action(stage, kind, microbatch)
        raise ActionError(f"action {format_action(action)} {complaint}", action)


def _check_placement(schedule: Schedule) -> None:
    misplaced = np.flatnonzero(schedule.rank_of_stage[schedule.stage] != schedule.rank)
    if len(misplaced):
        row = misplaced[0]
        home = schedule.rank_of_stage[schedule.stage[row]]
        raise ActionError(
            f"action {_name(schedule, row)} is in the order of rank {schedule.rank[row]}, "
            f"but its stage lies on rank {home}",
            schedule.action(row),
        )


def _check_progress(schedule: Schedule) -> None:
    data = data_edges(schedule)
    stuck = _stuck(schedule.num_actions, data, order_edges(schedule))
    if not stuck.any():
        return
    rows = np.flatnonzero(stuck)
    waiting = rows[np.isin(rows, data[1][stuck[data[0]]])]
    first = waiting[np.lexsort((schedule.rank[waiting], schedule.step[waiting]))[0]]
    cause = int(data[0][(data[1] == first) & stuck[data[0]]][0])
    raise ActionError(
        f"the schedule dead-locks: action {_name(schedule, first)}, number "
        f"{first - schedule.rank_offsets[schedule.rank[first]] + 1} of rank "
        f"{schedule.rank[first]}, waits for {_name(schedule, cause)}, number "
        f"{cause - schedule.rank_offsets[schedule.rank[cause]] + 1} of rank "
        f"{schedule.rank[cause]}, which never runs",
        schedule.action(first),
    )


def _stuck(num_actions: int, *edges: Edges) -> NDArray[np.bool_]:
    """Return which actions never run, by Kahn's topological sort."""
    before = np.concatenate([earlier for earlier, _ in edges])
    after = np.concatenate([later for _, later in edges]).astype(np.int32)
    successors = Csr.from_pairs(num_actions, before, after)
    offsets, values = successors.offsets.tolist(), successors.values.tolist()
    num_missing = np.bincount(after, minlength=num_actions).tolist()
    can_run = [row for row, missing in enumerate(num_missing) if not missing]
    for row in can_run:
        for follower in values[offsets[row] : offsets[row + 1]]:
            num_missing[follower] -= 1
            if not num_missing[follower]:
                can_run.append(follower)
    stuck = np.ones(num_actions, np.bool_)
    stuck[can_run] = False
    return stuck


def _name(schedule: Schedule, row: int | np.integer) -> str:
    return format_action(schedule.action(int(row)))
