"""The updates of a plan, replayed together as the last action of all ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_small import Tasks
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.places import Sorted, join
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.tiling import meeting


@dataclass(frozen=True, eq=False)
class Update:
    """All updates as one group of tasks, and the edges into it from last forwards and backwards.

    Resources are numbered as in the plan.
    """

    tasks: Tasks
    source_template: Int64
    source: Int64
    """Members, numbered as in the plan."""
    target: Int64


def update_of(plan: Plan, last_template: Int64) -> Update:
    """Return the updates of a plan whose ranks end with actions of these templates."""
    templates = plan.templates
    first = templates.num_passes
    begin = int(templates.offsets[first])
    late = (templates.targets >= begin) & (templates.sources < begin)
    members, followers = join(*_sides(plan, last_template))
    sources = np.concatenate([templates.sources[late], members])
    place = templates.template_of_member[sources]
    return Update(
        _tasks(templates, begin),
        place,
        sources,
        np.concatenate([templates.targets[late], followers]) - begin,
    )


def _sides(plan: Plan, last_template: Int64) -> tuple[Sorted, Sorted]:
    """Return what is joined by device from the last actions of ranks to their updates.

    Devices are numbered anew for every two sides that meet, so that all are joined at once.
    """
    templates, table = plan.templates, plan.templates.resource_table
    width = 1 + int(max(table.device.max(initial=0), table.peer.max(initial=0)))
    sides: list[tuple[Sorted, Sorted]] = []
    for rank, before in enumerate(last_template.tolist()):
        after = templates.num_passes + rank
        if before < templates.num_passes:  # else a rank without actions
            pair = before, after
            for left, right in meeting(templates, pair, plan.schedule, plan.overlap_gradients):
                shift = len(sides) * width
                one = Sorted(left.devices + shift, left.members + templates.offsets[before])
                other = Sorted(right.devices + shift, right.members + templates.offsets[after])
                sides.append((one, other))
    return _below([side for side, _ in sides]), _below([side for _, side in sides])


def _below(sides: list[Sorted]) -> Sorted:
    none = np.zeros(0, np.int64)
    return Sorted(
        np.concatenate([none, *(side.devices for side in sides)]),
        np.concatenate([none, *(side.members for side in sides)]),
    )


def _tasks(templates: Templates, begin: int) -> Tasks:
    inside = templates.sources >= begin
    edges = templates.sources[inside] - begin, templates.targets[inside] - begin
    offsets = templates.held.offsets[begin:]
    held = Csr(offsets - offsets[0], templates.held.values[offsets[0] :])
    num_resources = len(templates.resource_table.kind)
    return Tasks.of(templates.duration_ns[begin:], held, num_resources, edges)
