"""The task graph of an iteration: templates repeated for every action of a schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, TaskGraph
from flexsim.task_graph.rows import U
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.tiling import tile

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Actions:
    """All actions in program order (rank, position), an update closing every rank.

    ``base`` is the id of an action's first task; ``first_of_next`` and ``num_next`` tell which
    actions form the set that follows on the same rank.
    """

    table: ActionTable
    template: Int64
    base: Int64
    first_of_next: Int64
    num_next: Int64
    num_microbatches: int

    def where(self, num_templates: int) -> Int64:
        """Return the action of every (template, microbatch), -1 where there is none."""
        index = np.full((num_templates, self.num_microbatches), -1, np.int64)
        microbatch = np.maximum(self.table.microbatch, 0)
        index[self.template, microbatch] = np.arange(len(self.template))
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
    """Append an update to every rank of the schedule and number all tasks."""
    ranks = np.arange(schedule.num_ranks, dtype=np.int32)
    ends = schedule.rank_offsets[1:]
    kind = np.insert(schedule.kind, ends, U)
    stage = np.insert(schedule.stage, ends, ranks)
    microbatch = np.insert(schedule.microbatch, ends, -1)
    last_step = schedule.step[np.maximum(ends - 1, 0)]
    step = np.insert(schedule.step, ends, last_step + 1)
    rank = np.insert(schedule.rank, ends, ranks)
    template = templates.numbers(kind, stage)
    base = np.cumsum(np.diff(templates.offsets)[template])
    base = np.concatenate([[0], base[:-1]])
    first, count = _following(rank, step)
    table = ActionTable(kind, stage, microbatch, rank)
    return Actions(table, template, base, first, count, schedule.num_microbatches)


def _following(rank: NDArray[np.int32], step: NDArray[np.int32]) -> tuple[Int64, Int64]:
    """Return, for every action, the first action and the size of the next set on its rank."""
    starts = np.flatnonzero(np.diff(rank, prepend=-1) | np.diff(step, prepend=-1))
    sizes = np.diff(starts, append=len(rank))
    set_of_action = np.repeat(np.arange(len(starts)), sizes)
    following = np.minimum(set_of_action + 1, len(starts) - 1)
    same_rank = (rank[starts[following]] == rank) & (following > set_of_action)
    return starts[following], np.where(same_rank, sizes[following], 0)
