"""Units: parts of templates as tables, with their heads grouped by what they wait for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_question import Question
from flexsim.engine.contraction_store import Store
from flexsim.numba_cache import kept_on_disk
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64

_MOST_INPUTS = 62
"""Tasks and gates outside that the tasks of one unit may wait for: bits of a number."""


@dataclass(frozen=True, eq=False)
class Units:
    """Tables of a list of units, each a run of members; offsets have one value more."""

    kind: Int64
    first_resource: Int64
    resources: Int64
    first_group: Int64
    first_source: Int64
    sources: Int64
    """Members of other units that a group waits for."""
    first_gate: Int64
    gates: Int64


@kept_on_disk
def _inherit(own: Int64, sources: Int64, targets: Int64, before: Int64) -> None:
    """Set ``before`` to the bits in ``own`` of all tasks before each, edges sorted by target."""
    for edge in range(len(sources)):
        before[targets[edge]] |= before[sources[edge]] | own[sources[edge]]


@dataclass(frozen=True, eq=False)
class _Run:
    """Members of all units, and the unit of each member (-1: of none)."""

    first: Int64
    last: Int64
    unit: Int64
    edges: tuple[Int64, Int64]
    """Data edges into units, sorted by target."""

    @property
    def num_units(self) -> int:
        return len(self.first)


def units_of(question: Question, first: Int64, last: Int64, store: Store) -> Units | str:
    """Return the units with members ``first[u]`` to ``last[u] - 1``, or why there are none."""
    unit = np.full(question.num_members + 1, -1, np.int64)
    for index, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        unit[low:high] = index
    sources, targets = question.edges
    chosen = unit[targets] >= 0
    run = _Run(first, last, unit[:-1], (sources[chosen], targets[chosen]))
    groups = _groups(question, run)
    if isinstance(groups, str):
        return groups
    group_of_member, first_group, first_source, sources, first_gate, gates = groups
    first_resource, resources, number = _resources(question, run)
    kind = _kinds(question, run, store, (group_of_member, first_group, first_resource, number))
    return Units(
        kind,
        first_resource,
        resources,
        first_group,
        first_source,
        sources,
        first_gate,
        gates,
    )


def _resources(question: Question, run: _Run) -> tuple[Int64, Int64, Int64]:
    """Return the resources of each unit (offsets, values), and what members hold by number."""
    members, resources = question.held
    unit = run.unit[members]
    code = unit * question.num_resources + resources
    distinct, inverse = np.unique(code, return_inverse=True)
    offsets = np.searchsorted(distinct, np.arange(run.num_units + 1) * question.num_resources)
    low = int(offsets[0])
    return (
        offsets - low,
        distinct[low:] % question.num_resources,
        inverse.reshape(-1) - offsets[unit],
    )


def _groups(question: Question, run: _Run) -> tuple[Int64, ...] | str:
    """Group the members of a unit that wait for the same tasks and gates outside.

    Return the group of every member inside its unit (-1: waits for tasks inside only), and the
    tables of groups. What a task before it in the unit waits for is left out.
    """
    (sources, targets), unit = run.edges, run.unit
    inside = unit[sources] == unit[targets]
    waiting, gate = question.gates.waiting
    member = np.concatenate([targets[~inside], waiting])
    code = np.concatenate([sources[~inside], -1 - gate])
    known = unit[member] >= 0
    member, code = member[known], code[known]
    number = _numbers(question, unit[member], member, code)
    if number.max(initial=0) >= _MOST_INPUTS:
        return "an action waits for too many tasks of others"
    own = np.zeros(question.num_members, np.int64)
    np.bitwise_or.at(own, member, 1 << number)
    before = _inherited(own, sources[inside], targets[inside])
    needed = (before[member] >> number) & 1 == 0
    own &= ~before
    is_head = np.ones(question.num_members, bool)
    is_head[targets[inside]] = False
    heads = np.flatnonzero((unit >= 0) & (is_head | (own != 0)))
    groups, group = np.unique(np.stack([unit[heads], own[heads]], 1), axis=0, return_inverse=True)
    first_group = np.searchsorted(groups[:, 0], np.arange(run.num_units + 1))
    of_member = np.full(question.num_members, -1, np.int64)
    of_member[heads] = group.reshape(-1)
    pairs = np.unique(np.stack([of_member[member[needed]], code[needed]], 1), axis=0)
    of_member[heads] -= first_group[unit[heads]]
    from_task = pairs[:, 1] >= 0
    lines = np.arange(len(groups) + 1)
    return (
        of_member,
        first_group,
        np.searchsorted(pairs[from_task, 0], lines),
        pairs[from_task, 1],
        np.searchsorted(pairs[~from_task, 0], lines),
        -1 - pairs[~from_task, 1],
    )


def _numbers(question: Question, unit: Int64, member: Int64, code: Int64) -> Int64:
    """Number what the members of each unit wait for; all that one member alone does share one."""
    least = int(code.min(initial=0))
    span = len(question.templates.duration_ns) - least
    _, one, times = np.unique(unit * span + code - least, return_inverse=True, return_counts=True)
    alone = times[one.reshape(-1)] == 1
    width = span + question.num_members
    code = unit * width + np.where(alone, span + member, code - least)
    distinct, number = np.unique(code, return_inverse=True)
    numbers: Int64 = number.reshape(-1) - np.searchsorted(distinct, unit * width)
    return numbers


def _inherited(own: Int64, sources: Int64, targets: Int64) -> Int64:
    """Return what tasks before each one in its unit wait for, as far as edges run upwards."""
    before = np.zeros_like(own)
    if not (sources >= targets).any():
        _inherit(own, sources, targets, before)
    return before


def _kinds(
    question: Question, run: _Run, store: Store, tables: tuple[Int64, Int64, Int64, Int64]
) -> Int64:
    """Return the kind of every unit in the store."""
    group_of_member, first_group, first_resource, number = tables
    templates, (sources, targets) = question.templates, run.edges
    inside = run.unit[sources] == run.unit[targets]
    sources, targets = sources[inside], targets[inside]
    local = targets - run.first[run.unit[targets]]
    successors = Csr.from_pairs(question.num_members, sources, local.astype(np.int32))
    offsets, following = successors.offsets, successors.values.astype(np.int64)
    held = templates.held.offsets
    columns = np.stack(
        [
            templates.duration_ns[: question.num_members],
            np.diff(held[: question.num_members + 1]),
            successors.counts,
            np.bincount(targets, minlength=question.num_members),
            group_of_member,
        ],
        1,
    )
    counts = np.stack([np.diff(first_resource), np.diff(first_group)], 1).tolist()
    none = store.kind((columns[:0], number[:0], following[:0]), 0, 0)
    found = np.full(run.num_units, none, np.int64)
    for unit in np.flatnonzero(run.last > run.first).tolist():
        low, high = run.first[unit], run.last[unit]
        content = (
            columns[low:high],
            number[held[low] : held[high]],
            following[offsets[low] : offsets[high]],
        )
        found[unit] = store.kind(content, *counts[unit])
    return found
