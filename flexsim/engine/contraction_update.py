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
    first = 2 * templates.num_stages
    begin = int(templates.offsets[first])
    late = (templates.targets >= begin) & (templates.sources < begin)
    source = [templates.sources[late]]
    target = [templates.targets[late] - begin]
    for rank, before in enumerate(last_template.tolist()):
        if before >= first:
            continue  # a rank without actions
        for left, right in _sides(plan, before, first + rank):
            members, followers = join(left, right)
            source.append(members + templates.offsets[before])
            target.append(followers + templates.offsets[first + rank] - begin)
    sources = np.concatenate(source)
    place = templates.template_of_member[sources]
    return Update(
        _tasks(templates, begin),
        place,
        sources,
        np.concatenate(target),
    )


def _sides(plan: Plan, before: int, after: int) -> list[tuple[Sorted, Sorted]]:
    """Return what is joined by device from the last action of a rank to its update."""
    first, last = plan.templates.ends[before], plan.templates.ends[after]
    sides = [(first.exits, last.entries) if plan.overlap_gradients else (first.tails, last.heads)]
    if plan.schedule.blocking_transfers:
        sides.append((first.sends, last.entries))
    return sides


def _tasks(templates: Templates, begin: int) -> Tasks:
    inside = templates.sources >= begin
    edges = templates.sources[inside] - begin, templates.targets[inside] - begin
    offsets = templates.held.offsets[begin:]
    held = Csr(offsets - offsets[0], templates.held.values[offsets[0] :])
    num_resources = len(templates.resource_table.kind)
    return Tasks.of(templates.duration_ns[begin:], held, num_resources, edges)
