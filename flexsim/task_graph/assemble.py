"""Tiling: templates repeated for every action of a schedule, by index arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import ScheduleError
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, TaskGraph
from flexsim.task_graph.kinds import ACTION_KINDS
from flexsim.task_graph.places import Sorted, join, ragged_ranges
from flexsim.task_graph.rows import B, F, U
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.templates import Templates

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
    sizes = np.diff(templates.offsets)[actions.template]
    members = ragged_ranges(templates.offsets[actions.template], sizes)
    held = templates.held
    num_held = held.counts[members]
    resource_offsets = np.concatenate([[0], np.cumsum(num_held)])
    resource_ids = held.values[ragged_ranges(held.offsets[members], num_held)]
    sources, targets = _edges(templates, actions, schedule, overlap)
    num_tasks = len(members)
    return TaskGraph(
        action=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        operator=templates.operator[members],
        kind=templates.kind[members],
        part=templates.part[members],
        duration_ns=templates.duration_ns[members],
        num_bytes=templates.num_bytes[members],
        resources=Csr(resource_offsets, resource_ids),
        successors=Csr.from_pairs(num_tasks, sources, targets.astype(np.int32)),
        in_degree=np.bincount(targets, minlength=num_tasks).astype(np.int32),
        actions=actions.table,
        resource_table=templates.resource_table,
        operator_names=operator_names,
    )


def number_actions(templates: Templates, schedule: Schedule) -> Actions:
    """Append an update to every rank of the schedule and number all tasks."""
    _check_kinds(schedule)
    ranks = np.arange(schedule.num_ranks, dtype=np.int32)
    ends = schedule.rank_offsets[1:]
    kind = np.insert(schedule.kind, ends, U)
    stage = np.insert(schedule.stage, ends, ranks)
    microbatch = np.insert(schedule.microbatch, ends, -1)
    last_step = schedule.step[np.maximum(ends - 1, 0)]
    step = np.insert(schedule.step, ends, last_step + 1)
    rank = np.insert(schedule.rank, ends, ranks)
    template = np.where(
        kind == U, 2 * templates.num_stages + stage, 2 * stage + (kind == B)
    ).astype(np.int64)
    base = np.cumsum(np.diff(templates.offsets)[template])
    base = np.concatenate([[0], base[:-1]])
    first, count = _following(rank, step)
    table = ActionTable(kind, stage, microbatch, rank)
    return Actions(table, template, base, first, count, schedule.num_microbatches)


def _check_kinds(schedule: Schedule) -> None:
    other = np.setdiff1d(schedule.kind, [F, B])
    if len(other):
        raise ScheduleError(
            f"a schedule with actions of kind {ACTION_KINDS[other[0]]!r} cannot be expanded to "
            "operators; choose one with forward (F) and backward (B) actions only"
        )


def _following(rank: NDArray[np.int32], step: NDArray[np.int32]) -> tuple[Int64, Int64]:
    """Return, for every action, the first action and the size of the next set on its rank."""
    starts = np.flatnonzero(np.diff(rank, prepend=-1) | np.diff(step, prepend=-1))
    sizes = np.diff(starts, append=len(rank))
    set_of_action = np.repeat(np.arange(len(starts)), sizes)
    following = np.minimum(set_of_action + 1, len(starts) - 1)
    same_rank = (rank[starts[following]] == rank) & (following > set_of_action)
    return starts[following], np.where(same_rank, sizes[following], 0)


def _edges(
    templates: Templates, actions: Actions, schedule: Schedule, overlap: bool
) -> tuple[Int64, Int64]:
    pairs = [_data_edges(templates, actions), *_order_edges(templates, actions, schedule, overlap)]
    return (
        np.concatenate([source for source, _ in pairs]),
        np.concatenate([target for _, target in pairs]),
    )


def _data_edges(templates: Templates, actions: Actions) -> tuple[Int64, Int64]:
    """Repeat the templates' edges for every microbatch; an update follows the last backward."""
    sources, targets = templates.sources, templates.targets
    where = actions.where(templates.num_templates)
    last = where.max(1)
    from_template = templates.template_of_member[sources]
    to_template = templates.template_of_member[targets]
    source_local = sources - templates.offsets[from_template]
    target_local = targets - templates.offsets[to_template]
    once = to_template >= 2 * templates.num_stages
    many = ~once
    found = [
        (
            actions.base[last[from_template[once]]] + source_local[once],
            actions.base[last[to_template[once]]] + target_local[once],
        ),
        (
            (actions.base[where[from_template[many]]] + source_local[many, None]).reshape(-1),
            (actions.base[where[to_template[many]]] + target_local[many, None]).reshape(-1),
        ),
    ]
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def _order_edges(
    templates: Templates, actions: Actions, schedule: Schedule, overlap: bool
) -> list[tuple[Int64, Int64]]:
    """Join every action to the next set of its rank, pair of templates by pair of templates."""
    before = np.repeat(np.arange(len(actions.template)), actions.num_next)
    after = ragged_ranges(actions.first_of_next, actions.num_next)
    num_templates = templates.num_templates
    codes = actions.template[before] * num_templates + actions.template[after]
    found = []
    for code in np.unique(codes).tolist():
        first, second = divmod(code, num_templates)
        chosen = codes == code
        for left, right in _joints(templates, (first, second), schedule, overlap):
            source = actions.base[before[chosen], None] + left
            target = actions.base[after[chosen], None] + right
            found.append((source.reshape(-1), target.reshape(-1)))
    return found


def _joints(
    templates: Templates, pair: tuple[int, int], schedule: Schedule, overlap: bool
) -> list[tuple[Int64, Int64]]:
    """Return the order edges, by local number, from one template to the next on its rank."""
    first, second = pair
    updates = second >= 2 * templates.num_stages
    before, after = templates.ends[first], templates.ends[second]
    sides: list[tuple[Sorted, Sorted]] = [(before.exits, after.entries)]
    if updates and not overlap:
        sides = [(before.tails, after.heads)]
    if schedule.blocking_transfers:
        sides.append((before.sends, after.entries))
    return [join(left, right) for left, right in sides]
