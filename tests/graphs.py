"""Task graphs from plain lists, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import ACTION_CODE, NUM_COMPUTE_KINDS, TASK_CODE

Task = tuple[int, Sequence[int], Sequence[int]]
"""Duration in ns, resource ids, predecessor ids."""


def csr(rows: Sequence[Sequence[int]]) -> Csr:
    """Return ragged rows as a Csr."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Csr(offsets, np.array([v for row in rows for v in row], np.int32))


def make_task_graph(
    tasks: Sequence[Task],
    kinds: Sequence[str] | None = None,
    resources: Sequence[tuple[str, int, int]] | None = None,
    actions: Sequence[tuple[str, int, int, int]] | None = None,
    action: Sequence[int] | None = None,
    **columns: object,
) -> TaskGraph:
    """Return a graph of (duration, resources, predecessors) tasks.

    ``resources`` are ("compute" or a communication kind, device, peer); by default resource r
    is the compute stream of device r. ``actions`` are (letter, stage, microbatch, rank); by
    default task i is the forward of microbatch i on stage 0. Operator i is called "op i".
    """
    num = len(tasks)
    successors: list[list[int]] = [[] for _ in tasks]
    for task, (_, _, predecessors) in enumerate(tasks):
        for predecessor in predecessors:
            successors[predecessor].append(task)
    last = max((r for _, held, _ in tasks for r in held), default=0)
    table = resources or [("compute", r, -1) for r in range(last + 1)]
    rows = actions or [("F", 0, i, 0) for i in range(num)]
    kind = np.array([TASK_CODE[k] for k in kinds or ["forward"] * num], np.uint8)
    return TaskGraph(
        action=np.array(range(num) if action is None else action, np.int32),
        operator=np.arange(num, dtype=np.int32),
        kind=kind,
        part=np.zeros(num, np.int32),
        duration_ns=np.array([duration for duration, _, _ in tasks], np.int64),
        num_bytes=np.where(kind >= NUM_COMPUTE_KINDS, 100, 0).astype(np.int64),
        resources=csr([held for _, held, _ in tasks]),
        successors=csr(successors),
        in_degree=np.array([len(p) for _, _, p in tasks], np.int32),
        actions=_action_table(rows),
        resource_table=_resource_table(table),
        operator_names=tuple(f"op {i}" for i in range(num)),
        **columns,  # type: ignore[arg-type]
    )


def _action_table(rows: Sequence[tuple[str, int, int, int]]) -> ActionTable:
    letters, stages, microbatches, ranks = zip(*rows, strict=True) if rows else ((),) * 4
    return ActionTable(
        kind=np.array([ACTION_CODE[letter] for letter in letters], np.uint8),
        stage=np.array(stages, np.int32),
        microbatch=np.array(microbatches, np.int32),
        rank=np.array(ranks, np.int32),
    )


def _resource_table(table: Sequence[tuple[str, int, int]]) -> ResourceTable:
    kinds, devices, peers = zip(*table, strict=True)
    return ResourceTable(
        kind=np.array([0 if k == "compute" else TASK_CODE[k] for k in kinds], np.uint8),
        device=np.array(devices, np.int32),
        peer=np.array(peers, np.int32),
    )
