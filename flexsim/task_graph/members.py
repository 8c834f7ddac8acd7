"""From rows to templates: every row expanded to its members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, ResourceTable
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.places import Places, Sorted, join
from flexsim.task_graph.rows import B, F, Row, U
from flexsim.task_graph.templates import Ends, Templates, template_of

_WEIGHT = TASK_CODE["weight-gradient"]
_INPUT = TASK_CODE["input-gradient"]


def templates_of(rows: Sequence[Row], num_stages: int, num_ranks: int) -> Templates:
    """Return the templates that ``rows`` make, each in the order in which they were written."""
    members = _Members.of(rows, num_stages, num_ranks)
    held, table = members.resources()
    sources, targets = members.edges
    return Templates(
        num_stages=num_stages,
        num_ranks=num_ranks,
        offsets=members.offsets,
        operator=members.column("operator", np.int32).astype(np.int32),
        kind=members.column("kind", np.uint8).astype(np.uint8),
        part=members.part,
        duration_ns=members.joined("duration_ns"),
        num_bytes=members.joined("num_bytes"),
        held=held,
        resource_table=table,
        sources=sources,
        targets=targets,
        ends=tuple(members.ends(t) for t in range(len(members.offsets) - 1)),
    )


@dataclass(frozen=True, eq=False)
class _Members:
    """Members of all rows, template by template.

    ``offsets[t]:offsets[t + 1]`` are the members of template t; ``base[r]`` is the first member
    of row r. Edges pair members by number.
    """

    rows: Sequence[Row]
    num_stages: int
    num_ranks: int
    rows_of: tuple[tuple[int, ...], ...]
    offsets: Int64
    base: Int64

    @classmethod
    def of(cls, rows: Sequence[Row], num_stages: int, num_ranks: int) -> _Members:
        """Group ``rows`` by action, in the order in which they were written."""
        found: list[list[int]] = [[] for _ in range(2 * num_stages + num_ranks)]
        for index, row in enumerate(rows):
            found[template_of(row.action, row.stage, num_stages)].append(index)
        base = np.zeros(len(rows), np.int64)
        offsets = np.zeros(len(found) + 1, np.int64)
        total = 0
        for template, indices in enumerate(found):
            for index in indices:
                base[index] = total
                total += rows[index].places.num_members
            offsets[template + 1] = total
        return cls(rows, num_stages, num_ranks, tuple(map(tuple, found)), offsets, base)

    @cached_property
    def ordered(self) -> list[Row]:
        """Rows in member order."""
        return [self.rows[index] for indices in self.rows_of for index in indices]

    @cached_property
    def counts(self) -> Int64:
        """Members of every row in member order."""
        return np.array([row.places.num_members for row in self.ordered], np.int64)

    def column(self, name: str, dtype: type[np.generic]) -> NDArray[np.generic]:
        """Return one value a member from the rows' field ``name``."""
        values = np.array([getattr(row, name) for row in self.ordered], dtype)
        return np.repeat(values, self.counts)

    def joined(self, name: str) -> Int64:
        """Return the concatenation of the rows' arrays ``name``."""
        arrays = [getattr(row, name) for row in self.ordered]
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    @cached_property
    def part(self) -> Int32:
        """The member's number within its row."""
        parts = [np.arange(n, dtype=np.int32) for n in self.counts]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    @cached_property
    def edges(self) -> tuple[Int64, Int64]:
        """Data edges between members: arrays of sources and of targets."""
        memo: dict[tuple[Places, Places], tuple[Int64, Int64]] = {}
        sources, targets = [], []
        for index, row in enumerate(self.rows):
            for need in row.needs:
                key = (self.rows[need].places, row.places)
                if key not in memo:
                    memo[key] = join(key[0].outputs, key[1].inputs)
                left, right = memo[key]
                sources.append(left + self.base[need])
                targets.append(right + self.base[index])
        if not sources:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(sources), np.concatenate(targets)

    def resources(self) -> tuple[Csr, ResourceTable]:
        """Return what every member holds, and the table of resources."""
        triples, counts = _held(self.ordered)
        distinct, ids = np.unique(triples, axis=0, return_inverse=True)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        table = ResourceTable(
            distinct[:, 0].astype(np.uint8),
            distinct[:, 1].astype(np.int32),
            distinct[:, 2].astype(np.int32),
        )
        return Csr(offsets, ids.reshape(-1).astype(np.int32)), table

    def ends(self, template: int) -> Ends:
        """Return where one template is joined to others."""
        return Ends(
            self.exits(template),
            self.tails(template),
            self.entries(template),
            self.heads(template),
            self.sends(template),
        )

    def exits(self, template: int) -> Sorted:
        """Return, by device, the last task of the chain that the next action waits for.

        It is the last input gradient where there is one, else the last compute task.
        """
        return self._ends(template, _INPUT if self._action(template) == B else -1)

    def tails(self, template: int) -> Sorted:
        """Return the exits and every weight gradient: all that must end before an update."""
        exits = self.exits(template)
        weights = [
            (self.rows[i].places.inputs, int(self.base[i] - self.offsets[template]))
            for i in self.rows_of[template]
            if self.rows[i].kind == _WEIGHT
        ]
        return _merged([(exits, 0), *weights])

    def entries(self, template: int) -> Sorted:
        """Return, by device, the compute tasks with no compute task before them there."""
        found: list[tuple[Sorted, int]] = []
        before: dict[int, int] = {}
        inside = set(self.rows_of[template])
        for index in self.rows_of[template]:
            row = self.rows[index]
            mask, seen = row.places.mask, 0
            for need in row.needs:
                if need in inside:
                    seen |= before[need]
            if row.is_compute and mask & ~seen:
                local = int(self.base[index] - self.offsets[template])
                found.append((_outside(row.places.inputs, seen), local))
            before[index] = seen | (mask if row.is_compute else 0)
        return _merged(found)

    def heads(self, template: int) -> Sorted:
        """Return the tasks, of any kind, with no other task of the template before them."""
        inside = set(self.rows_of[template])
        return _merged(
            (self.rows[i].places.inputs, int(self.base[i] - self.offsets[template]))
            for i in self.rows_of[template]
            if not inside.intersection(self.rows[i].needs)
        )

    def sends(self, template: int) -> Sorted:
        """Return, by sending device, the transfers to other stages."""
        return _merged(
            (self.rows[i].places.inputs, int(self.base[i] - self.offsets[template]))
            for i in self.rows_of[template]
            if self.rows[i].places.targets is not None
        )

    def _action(self, template: int) -> int:
        return U if template >= 2 * self.num_stages else (F, B)[template % 2]

    def _ends(self, template: int, wanted: int) -> Sorted:
        compute = [i for i in self.rows_of[template] if self.rows[i].is_compute]
        preferred = [i for i in compute if self.rows[i].kind == wanted]
        covered = 0
        found: list[tuple[Sorted, int]] = []
        for index in (*reversed(preferred), *reversed(compute)):
            places = self.rows[index].places
            if places.mask & ~covered:
                local = int(self.base[index] - self.offsets[template])
                found.append((_outside(places.inputs, covered), local))
                covered |= places.mask
        return _merged(found)


def _held(rows: Sequence[Row]) -> tuple[Int64, Int64]:
    """Return (kind, device, peer) triples of what members hold, and how many each holds."""
    triples, counts = [], []
    for row in rows:
        groups, targets = row.places.groups, row.places.targets
        held = np.full((groups.size, 3), -1, np.int64)
        held[:, 0] = 0 if row.is_compute else row.kind
        held[:, 1] = groups.reshape(-1)
        if targets is not None:
            held[:, 2] = targets
        triples.append(held)
        counts.append(np.full(len(groups), groups.shape[1], np.int64))
    return np.concatenate(triples), np.concatenate(counts)


def _outside(side: Sorted, mask: int) -> Sorted:
    """Return the pairs whose device is not in ``mask``."""
    if not mask:
        return side
    keep = np.array([not (mask >> int(device)) & 1 for device in side.devices], bool)
    return Sorted(side.devices[keep], side.members[keep])


def _merged(sides: Iterable[tuple[Sorted, int]]) -> Sorted:
    """Join sides whose members are shifted by an offset each."""
    listed = list(sides)
    if not listed:
        return Sorted(np.zeros(0, np.int32), np.zeros(0, np.int64))
    return Sorted.of(
        np.concatenate([side.devices for side, _ in listed]),
        np.concatenate([side.members + shift for side, shift in listed]),
    )
