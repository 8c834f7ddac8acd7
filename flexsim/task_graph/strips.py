"""Strips: the templates of one rank as a single device sees them, and how they grow by layers.

A pipeline of equal layers is described by one with few: three layers a stage, of which the
middle one is repeated. What is repeated, and that it may be, is read off the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.task_graph.columns import Int32, Int64, UInt8
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row
from flexsim.task_graph.templates import Templates

_Cell = tuple[Places, Int64, Int64]

BLOCKS = 3
"""Layers of a stage that is to grow: the first, the one that is repeated, the last."""


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

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.kind)

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
    rows: Sequence[Row], graph: OperatorGraph, stage_of: Sequence[int], num_blocks: int
) -> Strips | str:
    """Return the strips of a program on one replica, or why it has none.

    ``stage_of`` has the stage of every operator; ``num_blocks`` layers make a stage.
    """
    single = _alone(rows)
    if single is None:
        return "the devices of a rank do not work alike"
    num_stages = max(stage_of) + 1
    templates = templates_of(single, num_stages, 0)
    labels = _labels(single, graph, stage_of, num_stages)
    strips = {}
    for number in range(2 * num_stages):
        found = _strip(templates, number, labels[number], num_blocks)
        if found is None:
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
    found = []
    for row in rows:
        key = id(row.places), id(row.duration_ns), id(row.num_bytes)
        if key not in cells:
            cells[key] = _cell(row)
        cell = cells[key]
        if cell is None:
            return None
        found.append(row._replace(places=cell[0], duration_ns=cell[1], num_bytes=cell[2]))
    return found


def _cell(row: Row) -> _Cell | None:
    """Return places, duration and bytes of the first device; None where devices differ."""
    places = row.places
    if np.ptp(row.duration_ns) or np.ptp(row.num_bytes) or row.duration_ns[0] < 0:
        return None
    first = np.array([[places.groups.min()]], np.int32)
    targets = None if places.targets is None else np.array([places.targets.min()], np.int32)
    return Places(first, targets), row.duration_ns[:1], row.num_bytes[:1]


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


def _strip(templates: Templates, number: int, labels: list[str], num_blocks: int) -> Strip | None:
    span = slice(*templates.offsets[number : number + 2].tolist())
    inside = (templates.template_of_member[templates.sources] == number) & (
        templates.template_of_member[templates.targets] == number
    )
    ends = templates.ends[number]
    middle = _middle(labels, num_blocks)
    if middle is None:
        return None
    strip = Strip(
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
    )
    return strip if _repeats(strip) else None


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
    columns = (strip.kind, strip.duration_ns, strip.num_bytes, strip.toward)
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


def stretched(strip: Strip, extra: int) -> Strip:
    """Return a strip whose repeatable layer stands there ``1 + extra`` times.

    Where ``extra`` is -1 it is left out; the layer after it takes its inputs.
    """
    if not extra:
        return strip
    length = strip.end - strip.begin
    middle = np.arange(strip.begin, strip.end)
    first, copies = np.arange(strip.end if extra > 0 else strip.begin), max(extra, 0)
    order = np.concatenate([first, np.tile(middle, copies), np.arange(strip.end, strip.num_tasks)])
    sources, targets = _stretched_edges(strip, extra)
    weights = np.setdiff1d(strip.tails, strip.exits)
    again = weights[(weights >= strip.begin) & (weights < strip.end)]
    more = (again[None, :] + length * np.arange(1, extra + 1)[:, None]).reshape(-1)
    once = strip.tails if extra > 0 else np.setdiff1d(strip.tails, again)
    tails = np.concatenate([strip.place(once, extra), more])
    copy = np.zeros(len(order), np.int32)
    copy[strip.end : strip.end + copies * length] = np.repeat(np.arange(1, extra + 1), length)
    return replace(
        strip,
        operator=strip.operator[order],
        copy=copy,
        kind=strip.kind[order],
        duration_ns=strip.duration_ns[order],
        num_bytes=strip.num_bytes[order],
        toward=strip.toward[order],
        sources=sources,
        targets=targets,
        exits=strip.place(strip.exits, extra),
        tails=np.sort(tails),
        entries=strip.place(strip.entries, extra),
        heads=strip.place(strip.heads, extra),
        sends=strip.place(strip.sends, extra),
    )


def _stretched_edges(strip: Strip, extra: int) -> tuple[Int64, Int64]:
    length = strip.end - strip.begin
    into = (strip.targets >= strip.begin) & (strip.targets < strip.end)
    after = strip.targets >= strip.end
    jumps = length * np.arange(1, extra + 1)[:, None]
    shift = length * extra
    before = ~after if extra > 0 else ~after & ~into
    sources = [
        strip.sources[before],
        (strip.sources[into] + jumps).reshape(-1),
        strip.sources[after] + shift,
    ]
    targets = [
        strip.targets[before],
        (strip.targets[into] + jumps).reshape(-1),
        strip.targets[after] + shift,
    ]
    return np.concatenate(sources), np.concatenate(targets)
