"""The bare pipeline: one task an action, one task a transfer, no model behind them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import ScheduleError
from flexsim.task_graph.columns import (
    ActionTable,
    Csr,
    Int32,
    Int64,
    ResourceTable,
    TaskGraph,
    UInt8,
)
from flexsim.task_graph.kinds import ACTION_CODE, ACTION_KINDS, TASK_CODE
from flexsim.task_graph.schedules.dependencies import Edges, data_edges, order_edges
from flexsim.task_graph.schedules.schedule import Schedule

_TASK_KIND = {"F": "forward", "B": "backward", "I": "input-gradient", "W": "weight-gradient"}


@dataclass(frozen=True)
class StageDurations:
    """How long the actions of a global stage last; all stages alike.

    A full backward lasts ``input_gradient_ns + weight_gradient_ns``. A transfer of 0 ns is
    only a dependency.
    """

    forward_ns: int
    input_gradient_ns: int
    weight_gradient_ns: int
    transfer_ns: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0:
                raise ScheduleError(f"{field.name} = {value} is negative; choose 0 or more")

    def action_ns(self, kind: str) -> int:
        """Return how long an action of kind F, B, I or W lasts."""
        backward_ns = self.input_gradient_ns + self.weight_gradient_ns
        input_ns, weight_ns = self.input_gradient_ns, self.weight_gradient_ns
        return {"F": self.forward_ns, "B": backward_ns, "I": input_ns, "W": weight_ns}[kind]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Where actions and the transfers that follow them lie in the task graph."""

    sends: NDArray[np.bool_]
    """Whether each action is followed by a transfer."""
    action: Int64
    """Task of each action."""
    transfer: Int64
    """Task of each transfer, a row an action that sends."""
    num_tasks: int


def pipeline_task_graph(schedule: Schedule, durations: StageDurations) -> TaskGraph:
    """Return the task graph of one iteration of ``schedule`` on devices 0 … p − 1.

    A task's id is its place in program order (rank, position); a transfer follows the action
    whose result it carries and holds the channel (source → destination). Between chunks of
    one rank nothing is transferred. Raise :class:`ScheduleError` for an action of 0 ns.
    """
    data = data_edges(schedule)
    target = _targets(schedule, data, durations.transfer_ns)
    rows = _rows(target)
    before, after = _edges(schedule, data, rows)
    resource, resource_table = _resources(schedule, target, rows)
    owner = np.repeat(np.arange(schedule.num_actions, dtype=np.int32), 1 + rows.sends)
    return TaskGraph(
        action=owner,
        operator=np.full(rows.num_tasks, -1, np.int32),
        kind=_kinds(schedule, rows),
        part=np.zeros(rows.num_tasks, np.int32),
        duration_ns=_durations_ns(schedule, durations, rows),
        num_bytes=np.zeros(rows.num_tasks, np.int64),
        resources=Csr(np.arange(rows.num_tasks + 1, dtype=np.int64), resource),
        successors=Csr.from_pairs(rows.num_tasks, before, after),
        in_degree=np.bincount(after, minlength=rows.num_tasks).astype(np.int32),
        actions=ActionTable(schedule.kind, schedule.stage, schedule.microbatch, schedule.rank),
        resource_table=resource_table,
        operator_names=(),
    )


def _targets(schedule: Schedule, data: Edges, transfer_ns: int) -> Int32:
    """Return the rank that each action's result is transferred to, or -1."""
    target = np.full(schedule.num_actions, -1, np.int32)
    rank, (before, after) = schedule.rank, data
    crosses = (rank[before] != rank[after]) & (transfer_ns > 0)
    target[before[crosses]] = rank[after[crosses]]
    return target


def _rows(target: Int32) -> _Rows:
    sends = target >= 0
    action = np.arange(len(target)) + np.cumsum(sends) - sends
    return _Rows(sends, action, action[sends] + 1, len(target) + int(sends.sum()))


def _edges(schedule: Schedule, data: Edges, rows: _Rows) -> tuple[Int64, Int32]:
    """Return all edges between tasks, each once, sorted."""
    rank, (before, after) = schedule.rank, data
    crosses = rank[before] != rank[after]
    by_transfer = crosses & rows.sends[before]
    pairs = [
        (rows.action[before] + by_transfer, rows.action[after]),
        (rows.transfer - 1, rows.transfer),
        *_order(schedule, rows),
    ]
    keys = np.concatenate([earlier * rows.num_tasks + later for earlier, later in pairs])
    source, successor = np.divmod(np.unique(keys), rows.num_tasks)
    return source, successor.astype(np.int32)


def _order(schedule: Schedule, rows: _Rows) -> list[Edges]:
    before, after = order_edges(schedule)
    order = [(rows.action[before], rows.action[after])]
    if schedule.blocking_transfers:
        waits = rows.sends[before]
        order.append((rows.action[before[waits]] + 1, rows.action[after[waits]]))
    return order


def _resources(schedule: Schedule, target: Int32, rows: _Rows) -> tuple[Int32, ResourceTable]:
    """Return what each task holds: its rank's compute stream, or a channel that is used."""
    num_ranks = schedule.num_ranks
    pairs = schedule.rank.astype(np.int64) * num_ranks + target
    channels, channel = np.unique(pairs[rows.sends], return_inverse=True)
    source, destination = np.divmod(channels, num_ranks)
    resource = np.empty(rows.num_tasks, np.int32)
    resource[rows.action] = schedule.rank
    resource[rows.transfer] = num_ranks + channel
    codes = [0] * num_ranks + [TASK_CODE["pipeline"]] * len(channels)
    device = np.concatenate([np.arange(num_ranks), source]).astype(np.int32)
    peer = np.concatenate([np.full(num_ranks, -1), destination]).astype(np.int32)
    return resource, ResourceTable(np.array(codes, np.uint8), device, peer)


def _kinds(schedule: Schedule, rows: _Rows) -> UInt8:
    code_of = np.zeros(len(ACTION_KINDS), np.uint8)
    for kind, name in _TASK_KIND.items():
        code_of[ACTION_CODE[kind]] = TASK_CODE[name]
    kinds = np.full(rows.num_tasks, TASK_CODE["pipeline"], np.uint8)
    kinds[rows.action] = code_of[schedule.kind]
    return kinds


def _durations_ns(schedule: Schedule, durations: StageDurations, rows: _Rows) -> Int64:
    duration_of = np.zeros(len(ACTION_KINDS), np.int64)
    for kind, name in _TASK_KIND.items():
        duration_of[ACTION_CODE[kind]] = durations.action_ns(kind)
        if not durations.action_ns(kind) and (schedule.kind == ACTION_CODE[kind]).any():
            article = "an" if name[0] == "i" else "a"
            raise ScheduleError(f"{article} {name} (action {kind}) must last longer than 0")
    duration_ns = np.full(rows.num_tasks, durations.transfer_ns, np.int64)
    duration_ns[rows.action] = duration_of[schedule.kind]
    return duration_ns
