"""Delta simulation: a program in blocks replayed row by row, exactly.

Members of a row that become ready at one moment are placed together. Where times or numbers of
rows are too large for that, the rows are expanded to tasks and replayed as ever.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flexsim.engine import compiled
from flexsim.engine.delta_join import Joints, join_actions
from flexsim.engine.delta_kernel import (
    ABOVE_LIMIT,
    OUT_OF_ORDER,
    ROW_BITS,
    TOO_LONG,
    replay_rows,
)
from flexsim.engine.delta_sweep import Sweep, prepare
from flexsim.engine.delta_tasks import Tasks, expand_columns, expand_edges
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import (
    HEAD_DEVICE,
    HEAD_MEMBERS,
    HEAD_TYPE,
    HEAD_WIDTH,
    TRANSFER,
    Contents,
    num_words,
)
from flexsim.task_graph.blocks import Blocks
from flexsim.task_graph.columns import ActionTable, Int32, Int64, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.spans import Timeline

_NO_LIMIT_NS = 2**62
_MOST_CONFIDENCE, _LOSS, _PAUSE, _LONGEST_PAUSE = 8, 4, 16, 256
"""Placing ahead of time goes on while one replay in five fails at most, and rests otherwise, each
time for twice as long."""


class RowReplay:
    """Replays the rows of one program again and again, in the same work space."""

    def __init__(self, blocks: Blocks) -> None:
        """Take the program; nothing is replayed yet."""
        self._blocks = blocks
        self._num_devices = blocks.devices.num_devices
        self._sweep = _room(_Sizes(1, 1, 1, 1, 1, 1), self._num_devices)
        self._joints = _joints(1, 1, self._num_devices)
        self.num_sweeps = 0
        self._confidence = _MOST_CONFIDENCE
        self._pause = _PAUSE

    @property
    def num_tasks(self) -> int:
        """Tasks of the program that was replayed last."""
        linked = self._blocks.linked
        heads = self._blocks.pool.contents.head[linked.content[: linked.counts[0]]]
        return int(heads[:, HEAD_MEMBERS].sum())

    def makespan_ns(self, limit_ns: int | None = None) -> int | None:
        """Return the makespan of the program as it is now; None if it is above the limit."""
        linked, contents = self._blocks.link(), self._blocks.pool.contents
        num_rows = self._join(linked, contents)
        found = self._replay(linked, contents, num_rows, limit_ns)
        if found == ABOVE_LIMIT:
            return None
        if found >= 0:
            return found
        found = self._expanded(linked, contents, num_rows).makespan_ns
        return None if limit_ns is not None and found > limit_ns else found

    def timeline(self) -> Timeline:
        """Return the timeline of the program as it is now, replayed task by task."""
        linked, contents = self._blocks.link(), self._blocks.pool.contents
        return self._expanded(linked, contents, self._join(linked, contents))

    def starts_ns(self) -> Int64:
        """Return the start of every task in program order, as the last whole replay found it."""
        linked, contents = self._blocks.linked, self._blocks.pool.contents
        num_rows = int(linked.counts[0])
        starts = [
            self._starts_of_row(contents.head[content], contents.device, row)
            for row, content in enumerate(linked.content[:num_rows])
        ]
        return np.concatenate(starts)

    def _starts_of_row(self, head: Int64, device: Int32, row: int) -> Int64:
        count, at = int(head[HEAD_MEMBERS]), int(head[HEAD_DEVICE])
        if head[HEAD_TYPE] == TRANSFER:
            first = int(self._sweep.first_task[row])
            return self._sweep.member_start_ns[first : first + count].copy()
        leaders = device[at : at + count * int(head[HEAD_WIDTH])][:: int(head[HEAD_WIDTH])]
        starts: Int64 = self._sweep.start_ns[row, leaders]
        return starts

    def _join(self, linked: Linked, contents: Contents) -> int:
        """Find the joints; return the number of rows."""
        outline, num_rows = self._blocks.outline, int(linked.counts[0])
        slots = [outline.first_backward, outline.num_slots]
        firsts = np.array([*linked.first_row[slots], num_rows], np.int64)
        overlap = self._blocks.program.strategy.overlap_gradients
        if len(self._joints.offsets) <= num_rows:
            self._joints = _joints(2 * num_rows, len(self._joints.waits), self._num_devices)
        while True:
            count = join_actions(contents, linked, firsts, overlap, self._joints)
            if count <= len(self._joints.waits):
                return num_rows
            self._joints = _joints(len(self._joints.offsets), 2 * count, self._num_devices)

    def _replay(
        self, linked: Linked, contents: Contents, num_rows: int, limit_ns: int | None
    ) -> int:
        if num_rows >= 1 << ROW_BITS:
            return TOO_LONG
        num_waits = int(self._joints.offsets[num_rows])
        wanted = _Sizes(
            num_rows,
            int(linked.counts[1]) + num_waits,
            num_waits,
            int(contents.head[linked.content[:num_rows], HEAD_MEMBERS].sum()),
            self._blocks.pool.num_channels,
            self._blocks.outline.num_slots + num_rows,
        )
        if any(have < need for have, need in zip(_sizes(self._sweep), wanted, strict=True)):
            self._sweep = _room(_Sizes(*(2 * n for n in wanted)), self._num_devices)
        self._sweep.site[:num_rows] = linked.slot[:num_rows]
        limits = (num_rows, _NO_LIMIT_NS if limit_ns is None else limit_ns)
        return self._sweep_over(linked, contents, limits)

    def _sweep_over(self, linked: Linked, contents: Contents, limits: tuple[int, int]) -> int:
        """Replay with members placed ahead of time while that works, and else without."""
        if self._confidence >= 0:
            found = self._sweep_once(linked, contents, limits, False)
            if found != OUT_OF_ORDER:
                self._confidence = min(self._confidence + 1, _MOST_CONFIDENCE)
                self._pause = _PAUSE if self._confidence == _MOST_CONFIDENCE else self._pause
                return found
            self._confidence -= _LOSS
            if self._confidence < 0:
                self._confidence = -self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self._sweep.is_cautious[:] = 0
        self._confidence += 1
        return self._sweep_once(linked, contents, limits, True)

    def _sweep_once(
        self, linked: Linked, contents: Contents, limits: tuple[int, int], is_exact: bool
    ) -> int:
        self.num_sweeps += 1
        joints, sweep = self._joints, self._sweep
        if prepare(contents, linked, joints, sweep, limits[0]) > limits[1]:
            return ABOVE_LIMIT
        return int(replay_rows(contents, linked, joints, sweep, limits, is_exact))

    def _expanded(self, linked: Linked, contents: Contents, num_rows: int) -> Timeline:
        graph = expanded(linked, contents, self._joints, num_rows, self._num_devices)
        return compiled.simulate(graph)


class _Sizes(NamedTuple):
    """How much room there is."""

    rows: int
    follows: int
    waits: int
    tasks: int
    channels: int
    sites: int


def _sizes(sweep: Sweep) -> _Sizes:
    return _Sizes(
        len(sweep.ready_ns),
        len(sweep.following),
        len(sweep.row_of_wait),
        len(sweep.member_start_ns),
        len(sweep.channel_free_ns),
        len(sweep.is_cautious),
    )


def _room(sizes: _Sizes, num_devices: int) -> Sweep:
    table = (sizes.rows, num_devices)
    streams = (len(TASK_KINDS), num_devices)
    return Sweep(
        ready_ns=np.empty(table, np.int64),
        num_missing=np.empty(table, np.int32),
        start_ns=np.empty(table, np.int64),
        member_start_ns=np.empty(sizes.tasks, np.int64),
        first_task=np.empty(sizes.rows + 1, np.int64),
        key_ns=np.empty(sizes.rows, np.int64),
        next_offsets=np.empty(sizes.rows + 2, np.int64),
        following=np.empty(sizes.follows, np.int32),
        row_of_wait=np.empty(sizes.waits, np.int32),
        heap=np.empty(sizes.tasks + sizes.rows + 1, np.int64),
        stream_free_ns=np.empty(streams, np.int64),
        left_ns=np.empty(streams, np.int64),
        channel_free_ns=np.empty(sizes.channels, np.int64),
        stream_last_ns=np.empty(streams, np.int64),
        stream_last_row=np.zeros(streams, np.int64),
        channel_last_ns=np.empty(sizes.channels, np.int64),
        channel_last_row=np.zeros(sizes.channels, np.int64),
        done=np.zeros((2, num_devices), np.int64),
        site=np.zeros(sizes.rows, np.int32),
        is_cautious=np.zeros(sizes.sites, np.uint8),
        noted_ns=np.zeros(4, np.int64),
        open=np.zeros((sizes.rows, num_words(num_devices)), np.uint64),
        listed=np.empty(num_devices, np.int32),
        told=np.empty(num_devices, np.int32),
    )


def _joints(num_rows: int, num_waits: int, num_devices: int) -> Joints:
    return Joints(
        np.zeros(num_rows + 1, np.int64),
        np.empty((num_waits, 2), np.int32),
        np.empty((2, num_devices), np.int32),
        np.zeros((num_rows, num_words(num_devices)), np.uint64),
    )


def expanded(
    linked: Linked, contents: Contents, joints: Joints, num_rows: int, num_devices: int
) -> TaskGraph:
    """Return the tasks of all rows; operators are not told apart, all is one action."""
    rows = linked.content[:num_rows]
    heads = contents.head[rows]
    first_task = offsets_of(heads[:, HEAD_MEMBERS])
    num_held = int((heads[:, HEAD_MEMBERS] * heads[:, HEAD_WIDTH]).sum())
    tasks = _tasks(int(first_task[-1]), num_held, 4 * num_held, num_devices)
    num_streams = len(TASK_KINDS) * num_devices
    expand_columns(contents, rows, first_task, num_streams, tasks)
    num_edges = expand_edges(contents, linked, joints, first_task, tasks)
    if num_edges > len(tasks.sources):
        room = np.empty((2, num_edges), np.int32)
        tasks = tasks._replace(sources=room[0], targets=room[1])
        expand_edges(contents, linked, joints, first_task, tasks)
    return _task_graph(tasks, num_edges, num_streams)


def _tasks(num_tasks: int, num_held: int, num_edges: int, num_devices: int) -> Tasks:
    return Tasks(
        duration_ns=np.empty(num_tasks, np.int64),
        kind=np.empty(num_tasks, np.int32),
        part=np.empty(num_tasks, np.int32),
        row=np.empty(num_tasks, np.int32),
        first_held=np.empty(num_tasks + 1, np.int64),
        held=np.empty(num_held, np.int32),
        sources=np.empty(num_edges, np.int32),
        targets=np.empty(num_edges, np.int32),
        first_at=np.empty(num_devices, np.int32),
        next_at=np.empty(num_held, np.int32),
    )


def _task_graph(tasks: Tasks, num_edges: int, num_streams: int) -> TaskGraph:
    num_tasks = len(tasks.duration_ns)
    sources, targets = tasks.sources[:num_edges], tasks.targets[:num_edges]
    num_resources = max(num_streams, int(tasks.held.max(initial=-1)) + 1)
    one = np.zeros(1, np.int32)
    nowhere = np.full(num_resources, -1, np.int32)
    return TaskGraph(
        action=np.zeros(num_tasks, np.int32),
        operator=np.full(num_tasks, -1, np.int32),
        kind=tasks.kind.astype(np.uint8),
        part=tasks.part,
        duration_ns=tasks.duration_ns,
        num_bytes=np.zeros(num_tasks, np.int64),
        resources=Csr(tasks.first_held, tasks.held),
        successors=Csr.from_pairs(num_tasks, sources, targets),
        in_degree=np.bincount(targets, minlength=num_tasks).astype(np.int32),
        actions=ActionTable(one.astype(np.uint8), one, one, one),
        resource_table=ResourceTable(np.zeros(num_resources, np.uint8), nowhere, nowhere),
        operator_names=(),
    )
