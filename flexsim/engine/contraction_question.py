"""What a contracted replay asks of templates: their ranks, edges, gates and inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.places import Sorted
from flexsim.task_graph.templates import Templates


@dataclass(frozen=True, eq=False)
class Question:
    """Templates of forwards and backwards, and how a schedule places and joins them."""

    templates: Templates
    rank_of_stage: Int32
    blocking: bool
    resource_in_rank: Int64 | None = None
    """Number of every resource within its rank, where ranks that are alike share units."""

    @cached_property
    def num_templates(self) -> int:
        """Templates of forwards and backwards; those of updates follow."""
        return self.templates.num_passes

    @cached_property
    def num_members(self) -> int:
        """Members of forwards and backwards."""
        return int(self.templates.offsets[self.num_templates])

    @cached_property
    def num_resources(self) -> int:
        """Resources of the plan."""
        return len(self.templates.resource_table.kind)

    @cached_property
    def rank(self) -> Int64:
        """Pipeline rank of every template."""
        return np.repeat(np.asarray(self.rank_of_stage, np.int64), len(self.templates.passes))

    @cached_property
    def place(self) -> Int64:
        """Template of every member."""
        return self.templates.template_of_member

    @cached_property
    def edges(self) -> tuple[Int64, Int64]:
        """Data edges into forwards and backwards, sorted by target."""
        inside = self.templates.targets < self.num_members
        sources, targets = self.templates.sources[inside], self.templates.targets[inside]
        order = np.argsort(targets, kind="stable")
        return sources[order], targets[order]

    @cached_property
    def held(self) -> tuple[Int64, Int64]:
        """Members and the resources that they hold."""
        held = self.templates.held
        last = held.offsets[self.num_members]
        return held.rows[:last], held.values[:last].astype(np.int64)

    @cached_property
    def crossing(self) -> tuple[Int64, Int64]:
        """Data edges from other templates."""
        sources, targets = self.edges
        crosses = self.place[sources] != self.place[targets]
        return sources[crosses], targets[crosses]

    @cached_property
    def sides(self) -> dict[str, tuple[Int64, Int64, Int64]]:
        """Templates, members (numbered as in the plan) and devices of exits, sends and entries."""
        return {name: self._side(name) for name in ("exits", "sends", "entries")}

    def _side(self, name: str) -> tuple[Int64, Int64, Int64]:
        ends: list[Sorted] = [
            getattr(each, name) for each in self.templates.ends[: self.num_templates]
        ]
        template = np.repeat(np.arange(len(ends)), [len(side.members) for side in ends])
        members = np.concatenate([side.members for side in ends])
        devices = np.concatenate([side.devices for side in ends])
        return template, members + self.templates.offsets[template], devices

    def content(self) -> bytes:
        """Return all that the answer depends on: equal for templates that are alike."""
        count, templates = self.num_members, self.templates
        held = templates.held.offsets[: count + 1]
        parts = [
            np.array([self.blocking]),
            np.asarray(self.rank_of_stage),
            templates.offsets[: self.num_templates + 1],
            templates.duration_ns[:count],
            templates.kind[:count],
            held,
            templates.held.values[: held[-1]],
            *self.edges,
            *(column for side in self.sides.values() for column in side),
        ]
        lengths = np.array([part.nbytes for part in parts])
        return b"".join(part.tobytes() for part in (lengths, *parts))

    @cached_property
    def gates(self) -> Gates:
        """What the next action of a rank waits for."""
        return _gates(self)

    @cached_property
    def inputs(self) -> tuple[Int64, Int64]:
        """Members that wait for something outside their action, and what: a member or -1 - gate."""
        sources, targets = self.crossing
        member, gate = self.gates.waiting
        return np.concatenate([targets, member]), np.concatenate([sources, -1 - gate])


@dataclass(frozen=True, eq=False)
class Gates:
    """A gate for each device of a rank: what its last action must end before the next starts.

    The gates of a rank are neighbours. Row (template, gate of its rank) of ``first_exit`` tells
    which ``exits`` (members) open it.
    """

    first_of_rank: Int64
    first_of_template: Int64
    first_exit: Int64
    exits: Int64
    waiting: tuple[Int64, Int64]
    """Members that wait for a gate of the action before, and the gate."""


def _gates(question: Question) -> Gates:
    template, members, devices = question.sides["exits"]
    if question.blocking:
        sides = zip((template, members, devices), question.sides["sends"], strict=True)
        template, members, devices = (np.concatenate(side) for side in sides)
    table = question.templates.resource_table
    width = 1 + int(max(table.device.max(initial=0), table.peer.max(initial=0)))
    rank = question.rank
    code = rank[template] * width + devices
    codes = np.unique(code)
    first_of_rank = np.searchsorted(codes, np.arange(int(rank.max()) + 2) * width)
    first_of_template = offsets_of(np.diff(first_of_rank)[rank])
    row = first_of_template[template] - first_of_rank[rank[template]]
    row += np.searchsorted(codes, code)
    exits = Csr.from_pairs(int(first_of_template[-1]), row, members.astype(np.int32))
    template, members, devices = question.sides["entries"]
    code = rank[template] * width + devices
    gate = np.searchsorted(codes, code)
    known = codes[np.minimum(gate, len(codes) - 1)] == code
    return Gates(
        first_of_rank,
        first_of_template,
        exits.offsets,
        exits.values.astype(np.int64),
        (members[known], gate[known]),
    )
