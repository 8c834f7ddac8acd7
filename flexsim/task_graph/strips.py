"""Strips: the templates of one rank as a single device sees them, and how they grow by layers.

A pipeline of equal layers is described by one with few: three layers a stage, of which the
middle one is repeated. What is repeated, and that it may be, is read off the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int32, Int64, UInt8
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row
from flexsim.task_graph.templates import Templates

_Cell = tuple[Places, Int64, Int64]

BLOCKS = 3
"""Layers of a stage that is to grow: the first, the one that is repeated, the last."""


class Last(NamedTuple):
    """What the last task of a strip takes, moves and takes its host."""

    duration_ns: int
    num_bytes: int
    issue_ns: int


@dataclass(frozen=True, eq=False)
class Strip:
    """The tasks of one template on one device: a value a task, edges and ends by position.

    Tasks ``begin`` to ``end`` are the layer that may be repeated (``begin == end``: none may).
    ``toward`` is 0 for what holds a stream of the device, 1 or -1 for a transfer to the rank of
    the next or the previous stage.
    """

    operator: Int32
    """Number in the small model."""
    copy: Int32
    """Which repetition of the layer a task belongs to, in the order in which they run."""
    kind: UInt8
    duration_ns: Int64
    num_bytes: Int64
    toward: Int32
    sources: Int64
    targets: Int64
    exits: Int64
    tails: Int64
    entries: Int64
    heads: Int64
    sends: Int64
    begin: int
    end: int
    issue_ns: Int64
    """What the device's host takes to issue each task, where hosts run ahead; else 0."""
    added: Int64
    """Tasks before ``end`` that the last task waits for, beside those that edges lead from."""

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.kind)

    @cached_property
    def needs(self) -> Csr:
        """The tasks of this strip that each task waits for."""
        return Csr.from_pairs(self.num_tasks, self.targets, self.sources.astype(np.int32))

    def repeats(self, tasks: Sequence[int]) -> bool:
        """Whether tasks belong to the layer that may be repeated."""
        return self.begin < self.end and all(self.begin <= task < self.end for task in tasks)

    def with_last(self, last: Last) -> Strip:
        """Return the strip with another last task in place of its own."""
        columns = self.duration_ns.copy(), self.num_bytes.copy(), self.issue_ns.copy()
        for column, value in zip(columns, last, strict=True):
            column[-1] = value
        duration_ns, num_bytes, issue_ns = columns
        return replace(self, duration_ns=duration_ns, num_bytes=num_bytes, issue_ns=issue_ns)

    def place(self, position: Int64, extra: int) -> Int64:
        """Return where tasks outside the repeated layer lie after ``extra`` repetitions."""
        moved: Int64 = np.where(position < self.end, position, position + self.shift(extra))
        return moved

    def shift(self, extra: int) -> int:
        """Return how many tasks ``extra`` repetitions add."""
        return extra * (self.end - self.begin)


@dataclass(frozen=True, eq=False)
class Crossing:
    """Data edges from one strip to another: (stage, action) numbers and task positions."""

    source: tuple[int, int]
    target: tuple[int, int]
    sources: Int64
    targets: Int64


@dataclass(frozen=True, eq=False)
class Strips:
    """F and B strips of every stage of a small pipeline, and the edges between them."""

    of: dict[tuple[int, int], Strip]
    crossings: tuple[Crossing, ...]


def strips_of(
    rows: Sequence[Row],
    graph: OperatorGraph,
    stage_of: Sequence[int],
    num_blocks: int,
    sums: Sequence[int] = (),
) -> Strips | str:
    """Return the strips of a program on one replica, or why it has none.

    ``stage_of`` has the stage of every operator; ``num_blocks`` layers make a stage. ``sums`` are
    rows that wait for tasks of all layers, each the last of its stage's backward.
    """
    single = _alone(rows)
    if single is None:
        return "the devices of a rank do not work alike"
    num_stages = max(stage_of) + 1
    labels = _labels(single, graph, stage_of, num_stages)
    middles = [_middle(each, num_blocks) for each in labels]
    if None in middles:
        return "a layer's tasks do not stand together"
    spans = [middle or (0, 0) for middle in middles]
    single, added = _without_added(single, sums, spans)
    templates, issue_ns = templates_of(single, num_stages, 0), _issue_ns(single, num_stages)
    strips = {}
    for number in range(2 * num_stages):
        found = _strip(templates, number, spans[number])
        found = replace(found, issue_ns=issue_ns[number], added=added[number])
        if not _repeats(found):
            return "a layer's tasks do not stand together"
        strips[divmod(number, 2)] = found
    crossings = _crossings(templates)
    if num_stages == BLOCKS and not _alike(strips, crossings):
        return "stages hand over in different ways"
    return Strips(strips, crossings)


def _alike(strips: dict[tuple[int, int], Strip], crossings: Sequence[Crossing]) -> bool:
    """Whether the middle stage takes and gives in the ways of its neighbours, at the same ends."""
    ways: dict[tuple[int, int], set[bytes]] = {}
    for crossing in crossings:
        (before, action), (after, _) = crossing.source, crossing.target
        back = strips[crossing.source].num_tasks - crossing.sources
        pairs = np.unique(np.stack([back, crossing.targets], 1), axis=0)
        if before != after:
            ways.setdefault((action, after - before), set()).add(pairs.tobytes())
        tail = strips[crossing.source].num_tasks - strips[crossing.source].end
        if (back > tail).any() or (crossing.targets >= strips[crossing.target].begin).any():
            return not any(strip.end for strip in strips.values())
    return all(len(found) == 1 for found in ways.values())


def _alone(rows: Sequence[Row]) -> list[Row] | None:
    """Return rows as the first device of their rank takes part in them; None if some differ."""
    cells: dict[tuple[int, int, int], _Cell | None] = {}
    places: dict[tuple[int, int], Places] = {}
    found = []
    for row in rows:
        key = id(row.places), id(row.duration_ns), id(row.num_bytes)
        if key not in cells:
            cells[key] = _cell(row, places)
        cell = cells[key]
        if cell is None:
            return None
        found.append(Row._make((*row[:4], *cell, *row[7:])))
    return found


def _cell(row: Row, places: dict[tuple[int, int], Places]) -> _Cell | None:
    """Return places, duration and bytes of the first device; None where devices differ."""
    duration_ns, num_bytes = row.duration_ns, row.num_bytes
    first = duration_ns[0]
    if first < 0 or (duration_ns != first).any() or (num_bytes != num_bytes[0]).any():
        return None
    targets = row.places.targets
    ends = int(row.places.groups.min()), -1 if targets is None else int(targets.min())
    if ends not in places:
        places[ends] = _places(*ends)
    return places[ends], duration_ns[:1], num_bytes[:1]


def _places(device: int, target: int) -> Places:
    """Return a single member on one device, or from there to another."""
    targets = None if target < 0 else np.array([target], np.int32)
    return Places(np.array([[device]], np.int32), targets)


def _labels(
    rows: Sequence[Row], graph: OperatorGraph, stage_of: Sequence[int], num_stages: int
) -> list[list[str]]:
    """Return, by template, the block of every task; "" for one of no block of its stage."""
    found: list[list[str]] = [[] for _ in range(2 * num_stages)]
    for row in rows:
        own = row.operator >= 0 and stage_of[row.operator] == row.stage
        found[2 * row.stage + (row.action != 0)].append(
            graph.operators[row.operator].block if own else ""
        )
    return found


def positions(rows: Sequence[Row]) -> list[int]:
    """Return the position of every row in its template."""
    counts: dict[tuple[int, int], int] = {}
    found = []
    for row in rows:
        key = row.stage, row.action
        found.append(counts.get(key, 0))
        counts[key] = found[-1] + 1
    return found


def _without_added(
    rows: list[Row], sums: Sequence[int], spans: Sequence[tuple[int, int]]
) -> tuple[list[Row], list[Int64]]:
    """Let sums wait for what follows the repeated layer alone; return what else, by template."""
    position, rows = positions(rows), list(rows)
    added = [np.zeros(0, np.int64) for _ in spans]
    for index in sums:
        number, needs = 2 * rows[index].stage + 1, rows[index].needs
        _, end = spans[number]
        added[number] = np.array([position[n] for n in needs if position[n] < end], np.int64)
        rows[index] = rows[index]._replace(needs=tuple(n for n in needs if position[n] >= end))
    return rows, added


def _issue_ns(rows: Sequence[Row], num_stages: int) -> list[Int64]:
    found: list[list[int]] = [[] for _ in range(2 * num_stages)]
    for row in rows:
        found[2 * row.stage + (row.action != 0)].append(row.issue_ns)
    return [np.array(some, np.int64) for some in found]


def _strip(templates: Templates, number: int, middle: tuple[int, int]) -> Strip:
    span = slice(*templates.offsets[number : number + 2].tolist())
    inside = (templates.template_of_member[templates.sources] == number) & (
        templates.template_of_member[templates.targets] == number
    )
    ends, nothing = templates.ends[number], np.zeros(0, np.int64)
    return Strip(
        operator=templates.operator[span],
        copy=np.zeros(span.stop - span.start, np.int32),
        kind=templates.kind[span],
        duration_ns=templates.duration_ns[span],
        num_bytes=templates.num_bytes[span],
        toward=_toward(templates, number, span),
        sources=templates.sources[inside] - span.start,
        targets=templates.targets[inside] - span.start,
        exits=ends.exits.members,
        tails=ends.tails.members,
        entries=ends.entries.members,
        heads=ends.heads.members,
        sends=ends.sends.members,
        begin=middle[0],
        end=middle[1],
        issue_ns=nothing,
        added=nothing,
    )


def _middle(labels: list[str], num_blocks: int) -> tuple[int, int] | None:
    """Return where the second of three blocks lies; (0, 0) for another number of blocks."""
    runs = [(key, len(list(run))) for key, run in groupby(labels)]
    blocks = [i for i, (key, _) in enumerate(runs) if key]
    if len(blocks) != num_blocks or len({runs[i][0] for i in blocks}) != num_blocks:
        return None
    if num_blocks != BLOCKS:
        return 0, 0
    if blocks[2] - blocks[0] != 2:
        return None
    begin = sum(length for _, length in runs[: blocks[1]])
    return begin, begin + runs[blocks[1]][1]


def _toward(templates: Templates, number: int, span: slice) -> Int32:
    """Return 1 or -1 for transfers: a forward sends on, a backward back."""
    peer = templates.resource_table.peer[templates.held.values[span]]
    sends = (templates.kind[span] >= NUM_COMPUTE_KINDS) & (peer >= 0)
    return np.where(sends, 1 - 2 * (number % 2), 0).astype(np.int32)


def _repeats(strip: Strip) -> bool:
    """Whether the layer after the repeated one is its like, in tasks and in edges to them."""
    length = strip.end - strip.begin
    if not length:
        return True
    one, next_one = np.arange(strip.begin, strip.end), np.arange(strip.end, strip.end + length)
    if next_one[-1] >= strip.num_tasks:
        return False
    columns = (strip.kind, strip.duration_ns, strip.num_bytes, strip.toward, strip.issue_ns)
    alike = all(np.array_equal(column[one], column[next_one]) for column in columns)
    here = _into(strip, strip.begin, strip.end) + length
    there = _into(strip, strip.end, strip.end + length)
    late = (strip.targets >= strip.end) & (strip.sources < strip.begin)
    joints = np.concatenate([strip.exits, strip.entries, strip.heads, strip.sends])
    return (
        alike and not np.isin(joints, one).any() and np.array_equal(here, there) and not late.any()
    )


def _into(strip: Strip, begin: int, end: int) -> Int64:
    """Return the edges (source, target) into some tasks, sorted."""
    chosen = (strip.targets >= begin) & (strip.targets < end)
    pairs = np.stack([strip.targets[chosen], strip.sources[chosen]])
    order = np.lexsort(pairs[::-1])
    return pairs[:, order]


def _crossings(templates: Templates) -> tuple[Crossing, ...]:
    source = templates.template_of_member[templates.sources]
    target = templates.template_of_member[templates.targets]
    crossing = np.flatnonzero(source != target)
    pairs = np.unique(np.stack([source[crossing], target[crossing]], 1), axis=0)
    found = []
    for first, second in pairs.tolist():
        edges = np.flatnonzero((source == first) & (target == second))
        found.append(
            Crossing(
                divmod(first, 2),
                divmod(second, 2),
                templates.sources[edges] - templates.offsets[first],
                templates.targets[edges] - templates.offsets[second],
            )
        )
    return tuple(found)
