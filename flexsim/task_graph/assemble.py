"""The task graph of an iteration: templates repeated for every action of a schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, TaskGraph
from flexsim.task_graph.rows import U
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.schedules.updates import UpdatePlaces, update_places, updates_of
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.tiling import tile

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Actions:
    """All actions in program order (rank, position), with updates between or behind them.

    ``base`` is the id of an action's first task; ``first_of_next`` and ``num_next`` tell which
    actions form the set that follows on the same rank. ``update`` is the number of the update that
    an action's gradients are for, or that it is.
    """

    table: ActionTable
    template: Int64
    base: Int64
    first_of_next: Int64
    num_next: Int64
    num_microbatches: int
    update: Int64
    completing: tuple[Int64, Int64]
    """Actions that complete the gradients of an update that does not follow at once, and it."""

    def where(self, num_templates: int) -> Int64:
        """Return the action of every (template, microbatch), -1 where there is none."""
        index = np.full((num_templates, self.num_microbatches), -1, np.int64)
        microbatch = np.maximum(self.table.microbatch, 0)
        index[self.template, microbatch] = np.arange(len(self.template))
        return index

    @property
    def is_update(self) -> NDArray[np.bool_]:
        """Whether each action is an update."""
        updates: NDArray[np.bool_] = self.table.kind == U
        return updates

    def last(self, num_templates: int) -> Int64:
        """Return the last action of every (template, number of an update), -1 for none."""
        index = np.full((num_templates, int(self.update.max(initial=0)) + 1), -1, np.int64)
        np.maximum.at(index, (self.template, self.update), np.arange(len(self.template)))
        return index


def assemble(
    templates: Templates,
    actions: Actions,
    schedule: Schedule,
    operator_names: tuple[str, ...],
    overlap: bool,
) -> TaskGraph:
    """Return the task graph of one iteration.

    Without ``overlap`` the update starts only when its rank's backward is over.
    """
    tasks = tile(templates, actions, schedule, overlap)
    return TaskGraph(
        action=tasks.action,
        operator=tasks.operator,
        kind=tasks.kind,
        part=tasks.part,
        duration_ns=tasks.duration_ns,
        num_bytes=tasks.num_bytes,
        resources=Csr(tasks.first_held, tasks.held),
        successors=Csr(tasks.first_next, tasks.following),
        in_degree=tasks.in_degree,
        actions=actions.table,
        resource_table=templates.resource_table,
        operator_names=operator_names,
    )


def number_actions(templates: Templates, schedule: Schedule) -> Actions:
    """Put updates into the schedule's order and number all tasks.

    An update without tasks is only noted at the end of its rank.
    """
    place = _with_tasks(templates, schedule, update_places(schedule))
    kind = np.insert(schedule.kind, place.row, U)
    stage = np.insert(schedule.stage, place.row, place.rank)
    microbatch = np.insert(schedule.microbatch, place.row, place.number)
    step = np.insert(2 * schedule.step, place.row, 2 * schedule.step[place.row - 1] + 1)
    rank = np.insert(schedule.rank, place.row, place.rank)
    template = templates.numbers(kind, stage)
    base = np.cumsum(np.diff(templates.offsets)[template])
    base = np.concatenate([[0], base[:-1]])
    first, count = _following(rank, step)
    table = ActionTable(kind, stage, microbatch, rank)
    return Actions(
        table,
        template,
        base,
        first,
        count,
        schedule.num_microbatches,
        updates_of(schedule, kind, microbatch),
        _completing(place),
    )


def _with_tasks(templates: Templates, schedule: Schedule, place: UpdatePlaces) -> UpdatePlaces:
    sizes = np.diff(templates.offsets)[templates.num_passes :]
    return place.chosen(
        (sizes[place.rank] > 0) | (place.row == schedule.rank_offsets[place.rank + 1])
    )


def _completing(place: UpdatePlaces) -> tuple[Int64, Int64]:
    """Return the action that completes the gradients of each update that does not follow at once,
    and the update."""
    update = place.row + np.arange(len(place.row))
    before = place.completed + np.searchsorted(place.row, place.completed, "right")
    apart = before + 1 < update
    return before[apart], update[apart]


def _following(rank: NDArray[np.int32], step: NDArray[np.int32]) -> tuple[Int64, Int64]:
    """Return, for every action, the first action and the size of the next set on its rank."""
    starts = np.flatnonzero(np.diff(rank, prepend=-1) | np.diff(step, prepend=-1))
    sizes = np.diff(starts, append=len(rank))
    set_of_action = np.repeat(np.arange(len(starts)), sizes)
    following = np.minimum(set_of_action + 1, len(starts) - 1)
    same_rank = (rank[starts[following]] == rank) & (following > set_of_action)
    return starts[following], np.where(same_rank, sizes[following], 0)
