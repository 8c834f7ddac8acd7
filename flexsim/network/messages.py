"""The messages that the communication tasks of a graph send: the distinct ones, numbered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives import algorithms_of
from flexsim.cost.collectives import Communication
from flexsim.network.options import AUTO
from flexsim.ragged import Csr, mix, offsets_of, row_hashes, rows_of
from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import COLLECTIVES
from flexsim.task_graph.places import ragged_ranges


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages, a row each, and the message of every task.

    ``members`` are the devices of a collective, or sender and receiver of a transfer.
    """

    of_task: Int64
    """-1 for a task that sends nothing."""
    collective: Int64
    """Index into :data:`flexsim.task_graph.kinds.COLLECTIVES`: 0 for a transfer."""
    num_bytes: Int64
    members: Csr
    algorithm: tuple[str, ...]
    """Empty for a transfer."""

    def __len__(self) -> int:
        return len(self.num_bytes)


def find_messages(graph: TaskGraph, communication: Communication, algorithm: str) -> Messages:
    """Return the messages of a task graph that tells its collectives.

    ``algorithm`` is taken for all collectives that have it; the others, and all where it is
    "auto", take the one that is fastest by formula for the groups that run it at once.
    """
    found = _Senders(graph)
    parties = rows_of(found.parties, found.first)
    codes, choice, names = _algorithms(found, communication, algorithm)
    pairs, first, number = np.unique(
        found.message * len(names) + choice, return_index=True, return_inverse=True
    )
    message, chosen = np.divmod(pairs, len(names))
    of_task = np.full(graph.num_tasks, -1, np.int64)
    of_task[found.tasks] = number.reshape(-1)
    return Messages(
        of_task,
        codes[first],
        graph.num_bytes[found.tasks][first],
        rows_of(parties, message),
        tuple(names[number] for number in chosen.tolist()),
    )


class _Senders:
    """The tasks that send something, and which of them send the same among the same devices."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        one = graph.resources.values[graph.resources.offsets[:-1]]
        table = graph.resource_table
        to, self._from = table.peer[one], table.device[one]
        crosses = np.where(to >= 0, to != self._from, graph.resources.counts > 1)
        sends = ~graph.is_compute & (graph.num_bytes > 0) & crosses
        self.tasks: Int64 = np.flatnonzero(sends)
        self._to = to[self.tasks]

    @cached_property
    def collective(self) -> Int64:
        """The collective of every sender; 0 for a transfer."""
        assert self.graph.collective is not None
        codes = self.graph.collective[self.tasks].astype(np.int64)
        assert ((codes > 0) == (self._to < 0)).all()
        return codes

    @cached_property
    def parties(self) -> Csr:
        """The devices of every sender's collective, or its ends of the transfer."""
        held = rows_of(self.graph.resources, self.tasks)
        is_transfer = self._to >= 0
        counts = np.where(is_transfer, 2, held.counts)
        devices = np.empty(int(counts.sum()), np.int32)
        offsets = offsets_of(counts)
        devices[offsets[:-1][is_transfer]] = self._from[self.tasks[is_transfer]]
        devices[offsets[:-1][is_transfer] + 1] = self._to[is_transfer]
        devices[np.repeat(~is_transfer, counts)] = self.graph.resource_table.device[
            held.values[np.repeat(~is_transfer, held.counts)]
        ]
        return Csr(offsets, devices)

    @cached_property
    def _distinct(self) -> tuple[Int64, Int64]:
        sizes = self.graph.num_bytes[self.tasks].astype(np.uint64)
        kinds = self.collective.astype(np.uint64)
        keys = mix(mix(row_hashes(self.parties) + kinds) + sizes)
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        return first.astype(np.int64), number.reshape(-1).astype(np.int64)

    @property
    def first(self) -> Int64:
        """The first sender of each message."""
        return self._distinct[0]

    @property
    def message(self) -> Int64:
        """The message of every sender."""
        return self._distinct[1]

    @cached_property
    def runs(self) -> Csr:
        """The messages of collectives that one row of a template runs at once, a row each."""
        row_of_task = np.cumsum(self.graph.part == 0)
        mine = self.collective > 0
        row = row_of_task[self.tasks[mine]]
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        offsets = np.append(starts, len(row)).astype(np.int64)
        return Csr(offsets, self.message[mine].astype(np.int32))


def _algorithms(
    found: _Senders, communication: Communication, wanted: str
) -> tuple[Int64, Int64, list[str]]:
    """Return the collective and the algorithm of every sender, and the algorithms' names."""
    names = [""]
    choice = np.zeros(len(found.tasks), np.int64)
    runs = found.runs
    _, first, kind = np.unique(row_hashes(runs), return_index=True, return_inverse=True)
    chosen = [_chosen(found, communication, wanted, runs.row(run)) for run in first.tolist()]
    names += sorted({name for some in chosen for name in some})
    number = {name: i for i, name in enumerate(names)}
    table = np.array([number[name] for some in chosen for name in some], np.int64)
    starts = offsets_of(np.array([len(some) for some in chosen], np.int64))[kind.reshape(-1)]
    if len(table):
        choice[found.collective > 0] = table[ragged_ranges(starts, runs.counts)]
    return found.collective, choice, names


def _chosen(
    found: _Senders, communication: Communication, wanted: str, run: NDArray[np.int32]
) -> list[str]:
    """Return the algorithm of each group of a run."""
    senders = found.first[run]
    collective = COLLECTIVES[found.collective[senders[0]]]
    if wanted != AUTO and wanted in algorithms_of(collective):
        return [wanted] * len(run)
    groups = rows_of(found.parties, senders).values.reshape(len(run), -1)
    num_bytes = int(found.graph.num_bytes[found.tasks[senders[0]]])
    return communication.choose(collective, num_bytes, groups)
