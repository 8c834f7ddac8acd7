"""What actions, resources and tasks are called, in tables, traces and messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexsim.ragged import Csr, row_hashes
from flexsim.task_graph.columns import ActionTable, Int64, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_KINDS


def action_names(actions: ActionTable) -> list[str]:
    """Return ``"7F3"`` (global stage, kind, microbatch) for every action; ``"7U"`` without one."""
    columns = (actions.stage.tolist(), actions.kind.tolist(), actions.microbatch.tolist())
    return [
        f"{stage}{ACTION_KINDS[kind]}{microbatch if microbatch >= 0 else ''}"
        for stage, kind, microbatch in zip(*columns, strict=True)
    ]


def action_name(stage: int, kind: int, microbatch: int) -> str:
    """Return ``"7F3"`` from the columns of one action."""
    return f"{stage}{ACTION_KINDS[kind]}{microbatch if microbatch >= 0 else ''}"


def stream_name(kind: int, peer: int) -> str:
    """Return what a resource is called on its own device: "compute", "tensor", "pipeline to 4"."""
    name = TASK_KINDS[kind] if kind else "compute"
    return name if peer < 0 else f"{TASK_KINDS[kind] if kind else 'channel'} to {peer}"


def resource_names(table: ResourceTable) -> list[str]:
    """Return a name that tells every resource apart: "device 3 tensor"."""
    columns = (table.device.tolist(), table.kind.tolist(), table.peer.tolist())
    return [
        f"device {device} {stream_name(kind, peer)}"
        for device, kind, peer in zip(*columns, strict=True)
    ]


def resource_set_names(held: Csr, names: Sequence[str]) -> tuple[Int64, list[str]]:
    """Return each task's set of resources as an index, and the joined names of every set.

    Sets are few where tasks are many, so only distinct ones are spelled out.
    """
    _, first, index = np.unique(row_hashes(held), return_index=True, return_inverse=True)
    return index, ["; ".join(names[r] for r in held.row(task).tolist()) for task in first]


def task_name(graph: TaskGraph, task: int) -> str:
    """Return ``"7F3 layer 4 mlp"``: a task's action and operator, for messages."""
    action, operator = int(graph.action[task]), int(graph.operator[task])
    columns = (graph.actions.stage, graph.actions.kind, graph.actions.microbatch)
    parts = [] if action < 0 else [action_name(*(int(column[action]) for column in columns))]
    parts += [] if operator < 0 else [graph.operator_names[operator]]
    return " ".join(parts) or f"task {task} ({TASK_KINDS[graph.kind[task]]})"
