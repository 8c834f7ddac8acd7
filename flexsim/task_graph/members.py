"""From rows to templates: every row expanded to its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, ResourceTable
from flexsim.task_graph.ends import ends_of
from flexsim.task_graph.places import Places, Sorted, joins, ragged_ranges
from flexsim.task_graph.rows import Row
from flexsim.task_graph.split import WHOLE
from flexsim.task_graph.templates import Templates, template_of


def templates_of(
    rows: Sequence[Row], num_stages: int, num_ranks: int, passes: tuple[int, ...] = WHOLE
) -> Templates:
    """Return the templates that ``rows`` make, each in the order in which they were written."""
    members = _Members(rows, num_stages, num_ranks, passes)
    held, table = members.resources()
    sources, targets = members.edges()
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
        ends=ends_of(rows, members.rows_of, members.base - members.first_of_template),
        passes=passes,
        collective=members.column("collective", np.uint8).astype(np.uint8),
    )


@dataclass(frozen=True, eq=False)
class _Members:
    """Members of all rows, template by template, rows in the order in which they were written.

    Edges pair members by number.
    """

    rows: Sequence[Row]
    num_stages: int
    num_ranks: int
    passes: tuple[int, ...]

    @cached_property
    def template(self) -> Int64:
        """The template of every row."""
        n, passes = self.num_stages, self.passes
        return np.array([template_of(r.action, r.stage, n, passes) for r in self.rows], np.int64)

    @property
    def num_templates(self) -> int:
        """The passes of every stage, and U of every rank."""
        return len(self.passes) * self.num_stages + self.num_ranks

    @cached_property
    def order(self) -> Int64:
        """Rows in member order."""
        return np.argsort(self.template, kind="stable")

    @cached_property
    def rows_of(self) -> list[list[int]]:
        """The rows of every template."""
        cuts = np.cumsum(np.bincount(self.template, minlength=self.num_templates))[:-1]
        return [indices.tolist() for indices in np.split(self.order, cuts)]

    @cached_property
    def counts(self) -> Int64:
        """Members of every row."""
        sizes = np.array([places.num_members for places in self.places], np.int64)
        return sizes[self.place]

    @cached_property
    def offsets(self) -> Int64:
        """Template t has the members ``offsets[t]:offsets[t + 1]``."""
        sizes = np.zeros(self.num_templates, np.int64)
        np.add.at(sizes, self.template, self.counts)
        return np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def base(self) -> Int64:
        """The first member of every row."""
        counts = self.counts[self.order]
        base = np.empty(len(self.rows), np.int64)
        base[self.order] = np.cumsum(counts) - counts
        return base

    @property
    def first_of_template(self) -> Int64:
        """The first member of every row's template."""
        return self.offsets[self.template]

    @cached_property
    def places(self) -> list[Places]:
        """The distinct places."""
        return list(dict.fromkeys(row.places for row in self.rows))

    @cached_property
    def place(self) -> Int64:
        """The position in :attr:`places` of every row's own."""
        number = {places: i for i, places in enumerate(self.places)}
        return np.array([number[row.places] for row in self.rows], np.int64)

    def column(self, name: str, dtype: type[np.generic]) -> NDArray[np.generic]:
        """Return one value a member from the rows' field ``name``."""
        values = np.array([getattr(row, name) for row in self.rows], dtype)
        return np.repeat(values[self.order], self.counts[self.order])

    def joined(self, name: str) -> Int64:
        """Return the concatenation of the rows' arrays ``name``."""
        arrays = [getattr(self.rows[index], name) for index in self.order.tolist()]
        return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)

    @cached_property
    def part(self) -> Int32:
        """The member's number within its row."""
        counts = self.counts[self.order]
        return ragged_ranges(np.zeros_like(counts), counts).astype(np.int32)

    def edges(self) -> tuple[Int64, Int64]:
        """Return the data edges between members: arrays of sources and of targets."""
        needs = np.array([need for row in self.rows for need in row.needs], np.int64)
        if not len(needs):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        row = np.repeat(np.arange(len(self.rows)), [len(row.needs) for row in self.rows])
        pairs = self.place[needs] * len(self.places) + self.place[row]
        distinct, pair = np.unique(pairs, return_inverse=True)
        left, right, starts = joins([self._sides(number) for number in distinct.tolist()])
        counts = np.diff(starts)[pair]
        picked = ragged_ranges(starts[pair], counts)
        sources = left[picked] + np.repeat(self.base[needs], counts)
        return sources, right[picked] + np.repeat(self.base[row], counts)

    def resources(self) -> tuple[Csr, ResourceTable]:
        """Return what every member holds, and the table of resources."""
        widths = np.array([places.groups.shape[1] for places in self.places], np.int64)
        counts = np.repeat(widths[self.place[self.order]], self.counts[self.order])
        device, peer = self._held()
        streams = [0 if row.is_compute or row.blocks else row.kind for row in self.rows]
        kind = np.repeat(
            np.array(streams)[self.order], (widths[self.place] * self.counts)[self.order]
        )
        ids, table = _table(kind, device, peer)
        return Csr(np.concatenate([[0], np.cumsum(counts)]), ids), table

    def _held(self) -> tuple[Int32, Int32]:
        """Return device and peer of all that members hold."""
        sizes = np.array([places.groups.size for places in self.places], np.int64)
        place = self.place[self.order]
        picked = ragged_ranges((np.cumsum(sizes) - sizes)[place], sizes[place])
        devices = np.concatenate([places.groups.reshape(-1) for places in self.places])
        peers = np.concatenate([_peers(places) for places in self.places])
        return devices[picked], peers[picked]

    def _sides(self, pair: int) -> tuple[Sorted, Sorted]:
        before, after = divmod(pair, len(self.places))
        return self.places[before].outputs, self.places[after].inputs


def _peers(places: Places) -> Int32:
    none = np.full(places.groups.size, -1, np.int32)
    return none if places.targets is None else places.targets


def _table(kind: Int64, device: Int32, peer: Int32) -> tuple[Int32, ResourceTable]:
    """Number the distinct resources, sorted by kind, device and peer."""
    width = int(max(device.max(initial=0), peer.max(initial=0))) + 2
    packed = (kind * width + device) * width + peer + 1
    distinct, ids = np.unique(packed, return_inverse=True)
    rest, peers = np.divmod(distinct, width)
    kinds, devices = np.divmod(rest, width)
    table = ResourceTable(
        kinds.astype(np.uint8), devices.astype(np.int32), (peers - 1).astype(np.int32)
    )
    return ids.reshape(-1).astype(np.int32), table
