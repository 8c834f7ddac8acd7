"""Lowering: communication tasks become flows that hold, or share, the links of their routes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.network.lower_kernel import Rows, Tasks, write_columns, write_successors
from flexsim.network.lowered import Lowered
from flexsim.network.messages import find_messages
from flexsim.network.options import NetworkOptions
from flexsim.network.order import in_turn
from flexsim.network.roads import link_bandwidth
from flexsim.network.score import Scores
from flexsim.network.size import check_rows
from flexsim.ragged import Csr, offsets_of
from flexsim.task_graph.columns import Int64, ResourceTable, TaskGraph


def lower(
    task_graph: TaskGraph,
    communication: Communication,
    options: NetworkOptions,
    hold_links: bool,
    start_ns: Int64 | None = None,
) -> Lowered:
    """Return ``task_graph``, which tells its collectives, with flows for messages.

    With ``hold_links`` a flow holds the links of its route; without, it holds nothing, for
    engines that share links. ``start_ns`` is when tasks start where messages take their priced
    time: in that order they take turns on their streams; None: in the order of their ids.
    """
    return Lowering(task_graph, communication, options).lowered(hold_links, start_ns)


class Lowering:
    """A lowering of which the size is known before it is done."""

    def __init__(
        self, task_graph: TaskGraph, communication: Communication, options: NetworkOptions
    ) -> None:
        """Find the messages, their flows and how many rows these make."""
        self._graph, self._communication = task_graph, communication
        messages = find_messages(task_graph, communication, options.algorithm)
        self._message, self._memory_bytes = messages.of_task, options.memory_bytes
        self._scores = Scores(messages, communication, options)
        sends = self._message >= 0
        self._times = np.bincount(self._message[sends], minlength=len(messages))
        self._num_rows = np.ones(task_graph.num_tasks, np.int64)
        self._num_rows[sends] = self._scores.num_rows[self._message[sends]]

    @property
    def num_flows(self) -> int:
        """Flows: one a segment and, hop by hop, a link."""
        return int(self._times @ self._scores.num_flows)

    @property
    def num_rows(self) -> int:
        """Rows of the lowered graph."""
        return int(self._num_rows.sum())

    def check(self, hold_links: bool) -> None:
        """Raise :class:`~flexsim.errors.FlexSimError` where memory cannot hold the rows."""
        check_rows(self.num_rows, self.num_flows, hold_links, self._memory_bytes)

    def lowered(self, hold_links: bool, start_ns: Int64 | None) -> Lowered:
        """Return the lowered graph; raise what :meth:`check` raises."""
        self.check(hold_links)
        graph = self._graph
        when = np.arange(graph.num_tasks) if start_ns is None else start_ns
        first = offsets_of(self._num_rows)
        tasks = _tasks(graph, in_turn(graph, when), self._message, first)
        rows = self._room(tasks, hold_links)
        score = self._scores.written
        first_resource = graph.num_resources if hold_links else -1
        write_columns(tasks, score, self._scores.roads, rows, first_resource)
        write_successors(tasks, score, rows)
        return self._record(rows, first)

    def _room(self, tasks: Tasks, hold_links: bool) -> Rows:
        """Return columns of the right length."""
        num_rows = self.num_rows
        num_links, num_edges = (
            int(self._times @ each) for each in (self._scores.num_links, self._scores.num_edges)
        )
        return Rows(
            duration_ns=np.empty(num_rows, np.int64),
            num_bytes=np.empty(num_rows, np.int64),
            first_held=np.zeros(num_rows + 1, np.int64),
            held=np.empty(len(tasks.held) + num_links * hold_links, np.int32),
            first_next=np.zeros(num_rows + 1, np.int64),
            following=np.empty(num_edges + len(tasks.following) + len(tasks.in_turn), np.int32),
            in_degree=np.zeros(num_rows, np.int32),
            flow=np.empty(self.num_flows, np.int64),
            first_link=np.zeros(self.num_flows + 1, np.int64),
            link=np.empty(num_links, np.int32),
            flow_rate=np.empty(self.num_flows),
            own_rate=np.empty(0 if hold_links else num_links),
        )

    def _record(self, rows: Rows, first: Int64) -> Lowered:
        num_links = len(self._communication.device_graph.links)
        return Lowered(
            graph=_as_graph(self._graph, rows, self._num_rows, num_links),
            original=self._graph,
            origin=np.repeat(np.arange(self._graph.num_tasks), self._num_rows),
            first=first[:-1],
            last=first[1:] - 1,
            flow=rows.flow,
            routes=Csr(rows.first_link, rows.link),
            flow_bytes=rows.num_bytes[rows.flow],
            wire_ns=rows.duration_ns[rows.flow],
            flow_bandwidth_bytes_per_s=rows.flow_rate,
            link_bandwidth_bytes_per_s=link_bandwidth(self._communication),
            own_bandwidth_bytes_per_s=rows.own_rate if len(rows.own_rate) else None,
        )


def _tasks(graph: TaskGraph, turns: Csr, message: Int64, first: Int64) -> Tasks:
    return Tasks(
        graph.duration_ns,
        graph.num_bytes,
        graph.resources.offsets,
        graph.resources.values,
        graph.successors.offsets,
        graph.successors.values,
        turns.offsets,
        turns.values,
        message,
        first,
    )


def _as_graph(graph: TaskGraph, rows: Rows, counts: Int64, num_links: int) -> TaskGraph:
    """Return the rows as a task graph; links are resources behind those of the original."""
    return replace(
        graph,
        action=np.repeat(graph.action, counts),
        operator=np.repeat(graph.operator, counts),
        kind=np.repeat(graph.kind, counts),
        part=np.repeat(graph.part, counts),
        duration_ns=rows.duration_ns,
        num_bytes=rows.num_bytes,
        resources=Csr(rows.first_held, rows.held),
        successors=Csr(rows.first_next, rows.following),
        in_degree=rows.in_degree,
        resource_table=_with_links(graph.resource_table, num_links),
        collective=None,
    )


def _with_links(table: ResourceTable, num_links: int) -> ResourceTable:
    """Append a row a link: of no device, its number in place of the peer's."""
    nowhere = np.full(num_links, -1, np.int32)
    return ResourceTable(
        np.concatenate([table.kind, np.zeros(num_links, np.uint8)]),
        np.concatenate([table.device, nowhere]),
        np.concatenate([table.peer, np.arange(num_links, dtype=np.int32)]),
    )
