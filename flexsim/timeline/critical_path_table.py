"""The critical path as tables: a row a task, or a row a run of tasks of one action."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.files import whole_file
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import ACTION_CODE, NUM_COMPUTE_KINDS, TASK_CODE, TASK_KINDS
from flexsim.timeline.critical_path import REASONS, CriticalPath
from flexsim.timeline.names import action_names, stream_name
from flexsim.timeline.spans import frame_of, of_action
from flexsim.timeline.text import Column, labelled

if TYPE_CHECKING:
    import pandas as pd

_TRANSFER = TASK_CODE["pipeline"]
_UPDATE = ACTION_CODE["U"]


@dataclass(frozen=True, eq=False)
class Runs:
    """Stretches of a critical path that belong to one action, a value each, in order of time.

    Transfers between stages are runs of their own; so is each kind of task in an update, and
    outside actions.
    """

    first: Int64
    """Position on the path of the first task."""
    num_tasks: Int64
    action: Int64
    device: Int64
    """Where the first task that computes runs, or the first task where none does."""
    rank: Int64
    """Pipeline rank; -1 outside actions."""
    kind: Int64
    """Kind of task that takes most of the run, a position in ``TASK_KINDS``."""
    start_ns: Int64
    end_ns: Int64
    compute_ns: Int64

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> Runs:
        return Runs(*(getattr(self, field.name)[rows] for field in fields(self)))


def runs_of(path: CriticalPath) -> Runs:
    """Return the runs of a critical path."""
    graph = path.task_graph
    action, kind = graph.action[path.task].astype(np.int64), graph.kind[path.task].astype(np.int64)
    updates = of_action(action, graph.actions.kind) == _UPDATE
    is_apart = (kind == _TRANSFER) | updates | (action < 0)
    group = (action + 1) * (len(TASK_KINDS) + 1) + np.where(is_apart, kind + 1, 0)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    bounds = np.append(first, len(path))
    main, compute_ns = _main_kinds(path, kind, bounds)
    return Runs(
        first=first,
        num_tasks=np.diff(bounds),
        action=action[first],
        device=_devices(path, kind, bounds),
        rank=of_action(action[first], graph.actions.rank),
        kind=main,
        start_ns=path.start_ns[first],
        end_ns=path.end_ns[bounds[1:] - 1],
        compute_ns=compute_ns,
    )


def _main_kinds(path: CriticalPath, kind: Int64, bounds: Int64) -> tuple[Int64, Int64]:
    """Return of each run the kind that takes longest, and how long it computes."""
    num_runs, num_kinds = len(bounds) - 1, len(TASK_KINDS)
    slot = np.repeat(np.arange(num_runs), np.diff(bounds)) * num_kinds + kind
    times_ns = np.zeros(num_runs * num_kinds, np.int64)
    np.add.at(times_ns, slot, path.duration_ns)
    table = times_ns.reshape(num_runs, num_kinds)
    return table.argmax(axis=1), table[:, :NUM_COMPUTE_KINDS].sum(axis=1)


def _devices(path: CriticalPath, kind: Int64, bounds: Int64) -> Int64:
    """Return the device of each run's first task that computes, else of its first task."""
    device = path.task_graph.device[path.task].astype(np.int64)
    computing = np.append(np.flatnonzero(kind < NUM_COMPUTE_KINDS), len(kind))
    candidate = computing[np.searchsorted(computing, bounds[:-1])]
    return device[np.where(candidate < bounds[1:], candidate, bounds[:-1])]


def critical_path_table(path: CriticalPath) -> pd.DataFrame:
    """Return a row a task of the path, in order of time.

    Columns: ``start_ns, end_ns, duration_ns, device, kind, action`` (such as "7F3"), ``stage``
    (global), ``microbatch, operator, part, reason`` (of :data:`REASONS`) and ``waited_for``, the
    resource that became free.
    """
    return frame_of(_task_columns(path))


def critical_run_table(path: CriticalPath) -> pd.DataFrame:
    """Return a row a run (see :class:`Runs`), in order of time.

    Columns: ``start_ns, end_ns, duration_ns, compute_ns, communication_ns, rank, device, kind``
    (that takes longest), ``action, stage, microbatch, operator`` and ``last_operator``,
    ``num_tasks``, and why the first task starts: ``reason`` and ``waited_for``.
    """
    return frame_of(_run_columns(path))


def write_critical_path(path: CriticalPath, file: Path, detail: str = "blocks") -> None:
    """Write ``critical_path.csv``: a row a run, or with ``detail`` "operators" a row a task."""
    table = critical_path_table(path) if detail == "operators" else critical_run_table(path)
    with whole_file(file) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _task_columns(path: CriticalPath) -> dict[str, Column]:
    graph, task = path.task_graph, path.task
    action = graph.action[task]
    return {
        "start_ns": Column(path.start_ns),
        "end_ns": Column(path.end_ns),
        "duration_ns": Column(path.duration_ns),
        "device": Column(graph.device[task].astype(np.int64)),
        "kind": labelled(graph.kind[task], TASK_KINDS),
        **_action_columns(path, action),
        "operator": labelled(graph.operator[task], graph.operator_names),
        "part": Column(graph.part[task].astype(np.int64)),
        **_reason_columns(path, np.arange(len(path))),
    }


def _run_columns(path: CriticalPath) -> dict[str, Column]:
    runs, graph = runs_of(path), path.task_graph
    operator = graph.operator[path.task]
    duration_ns = runs.end_ns - runs.start_ns
    return {
        "start_ns": Column(runs.start_ns),
        "end_ns": Column(runs.end_ns),
        "duration_ns": Column(duration_ns),
        "compute_ns": Column(runs.compute_ns),
        "communication_ns": Column(duration_ns - runs.compute_ns),
        "rank": Column(runs.rank),
        "device": Column(runs.device),
        "kind": labelled(runs.kind, TASK_KINDS),
        **_action_columns(path, runs.action),
        "operator": labelled(operator[runs.first], graph.operator_names),
        "last_operator": labelled(operator[runs.first + runs.num_tasks - 1], graph.operator_names),
        "num_tasks": Column(runs.num_tasks),
        **_reason_columns(path, runs.first),
    }


def _action_columns(path: CriticalPath, action: NDArray[np.integer]) -> dict[str, Column]:
    actions = path.task_graph.actions
    return {
        "action": labelled(action, action_names(actions)),
        "stage": Column(of_action(action, actions.stage)),
        "microbatch": Column(of_action(action, actions.microbatch)),
    }


def _reason_columns(path: CriticalPath, rows: Int64) -> dict[str, Column]:
    table = path.resource_table
    waited, place = np.unique(path.resource[rows], return_inverse=True)
    names = [
        resource_name(*(int(column[row]) for column in (table.device, table.kind, table.peer)))
        if row >= 0
        else ""
        for row in waited.tolist()
    ]
    return {"reason": labelled(path.reason[rows], REASONS), "waited_for": labelled(place, names)}


def resource_name(device: int, kind: int, peer: int) -> str:
    """Return "device 3 tensor", or "link 5" for a resource of no device."""
    return f"link {peer}" if device < 0 else f"device {device} {stream_name(kind, peer)}"
