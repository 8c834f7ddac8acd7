"""What a contracted replay knows of templates before any schedule: heads, gates, resources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.engine.contraction_kernel import Pipeline, inherit
from flexsim.engine.contraction_store import Store
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.templates import Templates

_MOST_INPUTS = 62
"""Tasks and gates outside that the tasks of one template may wait for: bits of a number."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Templates as the kernel takes them, with their kinds in a store."""

    pipeline: Pipeline
    most_members: int
    most_key: int


@dataclass(frozen=True, eq=False)
class Question:
    """Templates and how a schedule places and joins them."""

    templates: Templates
    rank_of_stage: Int64
    blocking: bool

    @cached_property
    def num_repeated(self) -> int:
        """Templates of forwards and backwards; those of updates follow."""
        return 2 * self.templates.num_stages

    @cached_property
    def num_members(self) -> int:
        """Members of forwards and backwards."""
        return int(self.templates.offsets[self.num_repeated])

    @cached_property
    def rank_of_template(self) -> Int64:
        """Pipeline rank of every forward and backward."""
        return np.repeat(np.asarray(self.rank_of_stage, np.int64), 2)

    @cached_property
    def edges(self) -> tuple[Int64, Int64]:
        """Data edges into forwards and backwards."""
        inside = self.templates.targets < self.num_members
        return self.templates.sources[inside], self.templates.targets[inside]

    @cached_property
    def local(self) -> Int64:
        """Number inside its template of every member."""
        members = np.arange(len(self.templates.duration_ns))
        return members - self.templates.offsets[self.templates.template_of_member]

    @cached_property
    def held(self) -> tuple[Int64, Int64, Int64]:
        """Template, resource and number inside the template of all that members hold."""
        held = self.templates.held
        last = held.offsets[self.num_members]
        template = self.templates.template_of_member[held.rows[:last]]
        return template, held.values[:last].astype(np.int64), held.rows[:last]


def outline_of(question: Question, store: Store) -> Outline | str:
    """Return the outline of templates, or why they cannot be contracted, in a sentence."""
    reason = _why_not(question)
    if reason:
        return reason
    resources, first_resource, local_resource = _resources(question)
    gates = _Gates.of(question)
    groups = _groups(question, gates)
    if isinstance(groups, str):
        return groups
    group_of_member, first_group, first_source, sources, first_gate, waits = groups
    kinds = _kinds(question, store, local_resource, (group_of_member, first_group, first_resource))
    rows = [kinds, first_resource[:-1], first_group[:-1], gates.first_of_template[:-1]]
    rows.append(question.rank_of_template)
    templates = np.zeros((question.num_repeated + 1, 5), np.int64)
    templates[:-1] = np.stack(rows, 1)
    templates[-1, 3] = gates.first_of_template[-1]
    pipeline = Pipeline(
        templates=templates,
        resources=resources,
        first_source=first_source,
        sources=sources,
        first_gate=first_gate,
        gates=waits,
        first_exit=gates.first_exit,
        exits=gates.exits,
        gate_of_rank=gates.first_of_rank,
    )
    sizes = np.diff(question.templates.offsets)
    return Outline(
        pipeline,
        int(sizes.max(initial=0)),
        int(np.diff(first_group).max() + np.diff(first_resource).max()) + 2,
    )


def _why_not(question: Question) -> str:
    templates, (sources, _) = question.templates, question.edges
    if (sources >= question.num_members).any():
        return "an update feeds a forward or a backward"
    if templates.duration_ns.min(initial=1) < 1:
        return "a task lasts less than a nanosecond"
    template, resource, member = question.held
    if len(np.unique(member * len(templates.resource_table.kind) + resource)) < len(member):
        return "a task holds a resource twice"
    if np.diff(templates.offsets[: question.num_repeated + 1]).min(initial=1) < 1:
        return "an action has no tasks"
    rank = question.rank_of_template[template]
    owner = np.full(len(templates.resource_table.kind), -1, np.int64)
    owner[resource] = rank
    if (owner[resource] != rank).any():
        return "two pipeline ranks share a resource"
    return ""


def _resources(question: Question) -> tuple[Int64, Int64, Int64]:
    """Return the resources of each template (values, offsets) and what members hold by number."""
    template, resource, _ = question.held
    num_resources = len(question.templates.resource_table.kind)
    distinct, inverse = np.unique(template * num_resources + resource, return_inverse=True)
    offsets = np.searchsorted(distinct, np.arange(question.num_repeated + 1) * num_resources)
    return distinct % num_resources, offsets, inverse.reshape(-1) - offsets[template]


@dataclass(frozen=True, eq=False)
class _Gates:
    """A gate for each device of a rank: what its last action must end before the next starts.

    ``codes`` are rank · number of devices + device, sorted: the gates of a rank are neighbours.
    A row (template, gate of its rank) has ``exits[first_exit[row]:first_exit[row + 1]]``.
    """

    codes: Int64
    num_devices: int
    first_of_rank: Int64
    first_of_template: Int64
    first_exit: Int64
    exits: Int64

    @classmethod
    def of(cls, question: Question) -> _Gates:
        """Number the gates and list the members that open them."""
        ends = question.templates.ends[: question.num_repeated]
        sides = [(t, each.exits) for t, each in enumerate(ends)]
        if question.blocking:
            sides += [(t, each.sends) for t, each in enumerate(ends)]
        template = np.repeat([t for t, _ in sides], [len(side.members) for _, side in sides])
        members = np.concatenate([side.members for _, side in sides])
        devices = np.concatenate([side.devices for _, side in sides])
        num_devices = _num_devices(question)
        code = question.rank_of_template[template] * num_devices + devices
        codes = np.unique(code)
        ranks = np.arange(int(question.rank_of_template.max()) + 2)
        first_of_rank = np.searchsorted(codes, ranks * num_devices)
        counts = np.diff(first_of_rank)[question.rank_of_template]
        first_of_template = np.concatenate([[0], np.cumsum(counts)])
        gate = np.searchsorted(codes, code)
        row = first_of_template[template] + gate
        row -= first_of_rank[question.rank_of_template[template]]
        exits = Csr.from_pairs(int(first_of_template[-1]), row, members)
        return cls(codes, num_devices, first_of_rank, first_of_template, exits.offsets, exits.values)

    def atoms(self, question: Question) -> tuple[Int64, Int64]:
        """Return the members that wait for a gate, and which: -1 - gate."""
        ends = question.templates.ends[: question.num_repeated]
        counts = [len(each.entries.members) for each in ends]
        template = np.repeat(np.arange(len(ends)), counts)
        members = np.concatenate([each.entries.members for each in ends])
        devices = np.concatenate([each.entries.devices for each in ends])
        code = question.rank_of_template[template] * self.num_devices + devices
        gate = np.searchsorted(self.codes, code)
        known = self.codes[np.minimum(gate, len(self.codes) - 1)] == code
        return (members + question.templates.offsets[template])[known], -1 - gate[known]


def _num_devices(question: Question) -> int:
    table = question.templates.resource_table
    return 1 + int(max(table.device.max(initial=0), table.peer.max(initial=0)))


def _groups(question: Question, gates: _Gates) -> tuple[Int64, ...] | str:
    """Group the members of a template that wait for the same tasks and gates outside.

    Return the group of every member inside its template (-1: waits for tasks inside only), and
    the tables of groups. What a task before it in the template waits for is left out.
    """
    templates, (sources, targets) = question.templates, question.edges
    place = templates.template_of_member
    inside = place[sources] == place[targets]
    gated, gate = gates.atoms(question)
    member = np.concatenate([targets[~inside], gated])
    code = np.concatenate([sources[~inside], gate])
    span = len(templates.duration_ns) + len(gates.codes)
    atom = place[member] * span + code + len(gates.codes)
    distinct, number = np.unique(atom, return_inverse=True)
    number = number.reshape(-1) - np.searchsorted(distinct, place[member] * span)
    if number.max(initial=0) >= _MOST_INPUTS:
        return "an action waits for too many tasks of others"
    own = np.zeros(question.num_members, np.int64)
    np.bitwise_or.at(own, member, 1 << number)
    before = _inherited(own, sources[inside], targets[inside])
    needed = (before[member] >> number) & 1 == 0
    own &= ~before
    has_none = own == 0
    has_none[targets[inside]] = False
    heads = np.flatnonzero((own != 0) | has_none)
    rows = np.stack([place[heads], own[heads]], 1)
    groups, group = np.unique(rows, axis=0, return_inverse=True)
    first_group = np.searchsorted(groups[:, 0], np.arange(question.num_repeated + 1))
    of_member = np.full(question.num_members, -1, np.int64)
    of_member[heads] = group.reshape(-1)
    pairs = np.unique(np.stack([of_member[member[needed]], code[needed]], 1), axis=0)
    of_member[heads] -= first_group[place[heads]]
    from_task = pairs[:, 1] >= 0
    waited = pairs[from_task, 1]
    lines = np.arange(len(groups) + 1)
    return (
        of_member,
        first_group,
        np.searchsorted(pairs[from_task, 0], lines),
        np.stack([place[waited], question.local[waited]], 1).reshape(-1, 2),
        np.searchsorted(pairs[~from_task, 0], lines),
        -1 - pairs[~from_task, 1],
    )


def _inherited(own: Int64, sources: Int64, targets: Int64) -> Int64:
    """Return what tasks before each one in its template wait for, as far as edges run upwards."""
    before = np.zeros_like(own)
    if (sources >= targets).any():
        return before
    order = np.argsort(targets, kind="stable")
    inherit(own, sources[order], targets[order], before)
    return before


def _kinds(
    question: Question, store: Store, local_resource: Int64, tables: tuple[Int64, Int64, Int64]
) -> Int64:
    """Return the kind of every template in the store."""
    group_of_member, first_group, first_resource = tables
    templates, (sources, targets) = question.templates, question.edges
    place, offsets = templates.template_of_member, templates.offsets
    inside = place[sources] == place[targets]
    sources, targets = sources[inside], targets[inside]
    following = Csr.from_pairs(question.num_members, sources, question.local[targets])
    columns = np.stack(
        [
            templates.duration_ns[: question.num_members],
            np.diff(templates.held.offsets[: question.num_members + 1]),
            following.counts,
            np.bincount(targets, minlength=question.num_members),
            group_of_member,
        ],
        1,
    )
    held_offsets = templates.held.offsets
    found = []
    for template in range(question.num_repeated):
        low, high = offsets[template], offsets[template + 1]
        content = (
            columns[low:high],
            local_resource[held_offsets[low] : held_offsets[high]],
            following.values[following.offsets[low] : following.offsets[high]],
        )
        counts = (
            int(first_resource[template + 1] - first_resource[template]),
            int(first_group[template + 1] - first_group[template]),
        )
        found.append(store.kind(content, counts))
    return np.array(found, np.int64)
