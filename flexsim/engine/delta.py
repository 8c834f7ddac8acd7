"""Delta simulation: a program in blocks replayed row by row, exactly.

All members of a row are placed at once. Where the order of rows cannot serve all resources (see
:mod:`flexsim.engine.delta_kernel`), the rows are expanded to tasks and replayed as ever.
"""

from __future__ import annotations

import numpy as np

from flexsim.engine import compiled
from flexsim.engine.delta_join import Joints, join_actions
from flexsim.engine.delta_kernel import Sweep, replay_rows
from flexsim.engine.delta_tasks import Tasks, expand_columns, expand_edges
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import HEAD_MEMBERS, HEAD_WIDTH, Contents, num_words
from flexsim.task_graph.blocks import Blocks
from flexsim.task_graph.columns import ActionTable, Int64, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.spans import Timeline

_MOST_ROWS = 1 << 20


class RowReplay:
    """Replays the rows of one program again and again, in the same work space."""

    def __init__(self, blocks: Blocks) -> None:
        """Take the program; nothing is replayed yet."""
        self._blocks = blocks
        self._sweep = _room(1, 1, blocks.devices.num_devices, 1)
        self._joints = _joints(1, 1, blocks.devices.num_devices)
        self.num_expanded = 0
        """How many replays went task by task."""

    def makespan_ns(self) -> int:
        """Return the makespan of the program as it is now."""
        linked, contents = self._blocks.link(), self._blocks.pool.contents
        firsts = self._join(linked, contents)
        found = self._replay(linked, contents, firsts)
        if found >= 0:
            return found
        self.num_expanded += 1
        return self._expanded(linked, contents, int(firsts[2])).makespan_ns

    def timeline(self) -> Timeline:
        """Return the timeline of the program as it is now, replayed task by task."""
        linked, contents = self._blocks.link(), self._blocks.pool.contents
        firsts = self._join(linked, contents)
        return self._expanded(linked, contents, int(firsts[2]))

    def starts_ns(self) -> Int64:
        """Return the start of every task, in program order, as the last replay by rows left it."""
        raise NotImplementedError

    def _join(self, linked: Linked, contents: Contents) -> Int64:
        outline = self._blocks.outline
        firsts = np.array(
            [
                linked.first_row[outline.first_backward],
                linked.first_row[outline.num_slots],
                linked.counts[0],
            ],
            np.int64,
        )
        overlap = self._blocks.program.strategy.overlap_gradients
        if len(self._joints.offsets) <= firsts[2]:
            self._joints = _joints(2 * int(firsts[2]), len(self._joints.waits), self._num_devices)
        while True:
            count = join_actions(contents, linked, firsts, overlap, self._joints)
            if count <= len(self._joints.waits):
                return firsts
            self._joints = _joints(len(self._joints.offsets), 2 * count, self._num_devices)

    @property
    def _num_devices(self) -> int:
        return self._blocks.devices.num_devices

    def _replay(self, linked: Linked, contents: Contents, firsts: Int64) -> int:
        num_rows = int(firsts[2])
        if num_rows >= _MOST_ROWS:
            return -1
        num_needs = int(linked.counts[1]) + int(self._joints.offsets[num_rows])
        num_channels = self._blocks.pool.num_channels
        sweep = self._sweep
        room = (len(sweep.ready_ns), len(sweep.following), len(sweep.channel_free_ns))
        wanted = (num_rows, num_needs, num_channels)
        if any(have < need for have, need in zip(room, wanted, strict=True)):
            self._sweep = _room(2 * num_rows, 2 * num_needs, self._num_devices, 2 * num_channels)
        num_tasks = int(contents.head[linked.content[:num_rows], HEAD_MEMBERS].sum())
        if num_tasks > len(self._sweep.member_end_ns):
            self._sweep = self._sweep._replace(member_end_ns=np.empty(2 * num_tasks, np.int64))
        return int(replay_rows(contents, linked, self._joints, self._sweep, num_rows))

    def _expanded(self, linked: Linked, contents: Contents, num_rows: int) -> Timeline:
        graph = expanded(linked, contents, self._joints, num_rows, self._num_devices)
        return compiled.simulate(graph)


def _room(num_rows: int, num_needs: int, num_devices: int, num_channels: int) -> Sweep:
    table = (num_rows, num_devices)
    streams = (len(TASK_KINDS), num_devices)
    return Sweep(
        ready_ns=np.empty(table, np.int64),
        end_ns=np.empty(table, np.int64),
        member_end_ns=np.empty(1, np.int64),
        first_task=np.empty(num_rows + 1, np.int64),
        num_missing=np.empty(num_rows, np.int32),
        next_offsets=np.empty(num_rows + 2, np.int64),
        following=np.empty(num_needs, np.int32),
        heap=np.empty(num_rows + 1, np.int64),
        stream_free_ns=np.empty(streams, np.int64),
        stream_last_ns=np.empty(streams, np.int64),
        stream_last_row=np.empty(streams, np.int32),
        channel_free_ns=np.empty(num_channels, np.int64),
        channel_last_ns=np.empty(num_channels, np.int64),
        channel_last_row=np.empty(num_channels, np.int32),
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
