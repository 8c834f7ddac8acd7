"""Tiling: what the compiled loop needs to repeat templates for every action, and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.places import Sorted, join, ragged_ranges
from flexsim.task_graph.rows import F
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.templates import Templates

if TYPE_CHECKING:
    from flexsim.task_graph.assemble import Actions
    from flexsim.task_graph.tiling_kernel import Order, Patterns, Tasks

Int64 = NDArray[np.int64]
_Shifted = tuple[Sorted, np.int64, np.int64]
"""What is joined, and by how much its members and its devices are shifted."""


def tile(templates: Templates, actions: Actions, schedule: Schedule, overlap: bool) -> Tasks:
    """Return the columns of all tasks.

    Without ``overlap`` the update starts only when its rank's backward is over.
    """
    from flexsim.task_graph.tiling_kernel import tile_columns, tile_edges

    patterns = _patterns(templates)
    order = _order(templates, actions, schedule, overlap)
    tasks = _room(patterns, order)
    tile_columns(patterns, order, tasks)
    tile_edges(patterns, order, tasks)
    return tasks._replace(following=tasks.following[: tasks.first_next[-1]])


def _patterns(templates: Templates) -> Patterns:
    """Return the templates as the kernel takes them, edges to updates first in every row."""
    from flexsim.task_graph.tiling_kernel import Patterns

    first_update = templates.num_passes
    to_template = templates.template_of_member[templates.targets]
    order = np.lexsort((to_template < first_update, templates.sources))
    to_template, targets = to_template[order], templates.targets[order]
    local = targets - templates.offsets[to_template]
    num_edges = np.bincount(templates.sources, minlength=len(templates.kind))
    return Patterns(
        templates.offsets,
        templates.operator,
        templates.kind,
        templates.part,
        templates.duration_ns,
        templates.num_bytes,
        templates.held.offsets,
        templates.held.values,
        offsets_of(num_edges),
        to_template.astype(np.int32),
        local.astype(np.int32),
        first_update,
    )


def _order(templates: Templates, actions: Actions, schedule: Schedule, overlap: bool) -> Order:
    """Return actions and joints as the kernel takes them, a joint a pair of templates."""
    from flexsim.task_graph.tiling_kernel import Order

    before = np.repeat(np.arange(len(actions.template)), actions.num_next)
    after = ragged_ranges(actions.first_of_next, actions.num_next)
    if not overlap:
        before, after = (
            np.concatenate(pair) for pair in zip((before, after), actions.completing, strict=True)
        )
    num_templates = templates.num_templates
    codes, joint = np.unique(
        actions.template[before] * num_templates + actions.template[after], return_inverse=True
    )
    in_order = np.lexsort((joint, before))
    pairs = [divmod(code, num_templates) for code in codes.tolist()]
    rows, joined = _joint_rows(templates, pairs, schedule, overlap)
    return Order(
        actions.template,
        np.maximum(actions.table.microbatch, 0).astype(np.int64),
        actions.update,
        actions.base,
        actions.where(num_templates),
        actions.last(num_templates),
        offsets_of(np.bincount(before, minlength=len(actions.template))),
        after[in_order],
        joint[in_order],
        rows,
        joined.offsets,
        joined.values,
    )


def _joint_rows(
    templates: Templates, pairs: list[tuple[int, int]], schedule: Schedule, overlap: bool
) -> tuple[Int64, Csr]:
    """Return the first row of every pair's joint, and the joints one below the other.

    All are joined at once: devices are numbered anew for every two sides that meet.
    """
    sizes = np.diff(templates.offsets)
    first_row = offsets_of(sizes[np.array([first for first, _ in pairs], np.int64)])
    table = templates.resource_table
    width = 1 + int(max(table.device.max(initial=0), table.peer.max(initial=0)))
    before: list[_Shifted] = []
    after: list[_Shifted] = []
    for row, pair in enumerate(pairs):
        for left, right in meeting(templates, pair, schedule, overlap):
            before.append((left, first_row[row], np.int64(len(before) * width)))
            after.append((right, np.int64(0), np.int64(len(after) * width)))
    rows, targets = join(_below(before), _below(after))
    return first_row, Csr.from_pairs(int(first_row[-1]), rows, targets.astype(np.int32))


def _below(sides: list[_Shifted]) -> Sorted:
    """Put sides one below the other."""
    none = np.zeros(0, np.int64)
    return Sorted(
        np.concatenate([none, *(side.devices + shift for side, _, shift in sides)]),
        np.concatenate([none, *(side.members + shift for side, shift, _ in sides)]),
    )


def _room(patterns: Patterns, order: Order) -> Tasks:
    """Return columns of the right length for all tasks."""
    from flexsim.task_graph.tiling_kernel import Tasks

    sizes = np.diff(patterns.first_member)[order.template]
    num_tasks = int(sizes.sum())
    num_held = np.diff(patterns.first_held[patterns.first_member])[order.template].sum()
    return Tasks(
        action=np.empty(num_tasks, np.int32),
        operator=np.empty(num_tasks, np.int32),
        kind=np.empty(num_tasks, np.uint8),
        part=np.empty(num_tasks, np.int32),
        duration_ns=np.empty(num_tasks, np.int64),
        num_bytes=np.empty(num_tasks, np.int64),
        first_held=np.zeros(num_tasks + 1, np.int64),
        held=np.empty(num_held, np.int32),
        first_next=np.zeros(num_tasks + 1, np.int64),
        following=np.empty(_num_edges(patterns, order), np.int32),
        in_degree=np.zeros(num_tasks, np.int32),
    )


def _num_edges(patterns: Patterns, order: Order) -> int:
    """Count the data edges of every template's actions and the joints of every two actions."""
    template_of_edge = np.repeat(
        np.repeat(np.arange(len(patterns.first_member) - 1), np.diff(patterns.first_member)),
        np.diff(patterns.first_edge),
    )
    num_actions = np.bincount(order.template, minlength=len(patterns.first_member) - 1)
    num_updates = (order.last >= 0).sum(axis=1)
    once = patterns.edge_template >= patterns.first_update
    repeated = np.where(once, num_updates[template_of_edge], num_actions[template_of_edge])
    joint_sizes = np.diff(order.first_joined[order.joint_row])
    return int(repeated.sum() + joint_sizes[order.joint].sum())


def meeting(
    templates: Templates, pair: tuple[int, int], schedule: Schedule, overlap: bool
) -> list[tuple[Sorted, Sorted]]:
    """Return what is joined by device from one template to the next on its rank.

    An update that is not to overlap waits for all of the backward that completes its gradients;
    of a forward between them it waits as any other action does.
    """
    first, second = pair
    updates = second >= templates.num_passes and templates.kind_of(first) != F
    before, after = templates.ends[first], templates.ends[second]
    sides: list[tuple[Sorted, Sorted]] = [(before.exits, after.entries)]
    if updates and not overlap:
        sides = [(before.tails, after.heads)]
    if schedule.blocking_transfers:
        sides.append((before.sends, after.entries))
    if len(before.leaves.members):
        sides.append((before.leaves, after.entries))
    if len(after.fetches.members):
        gates = before.gates if len(before.gates.members) else before.exits
        sides.append((gates, after.fetches))
    return sides
