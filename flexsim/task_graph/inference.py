"""Schedules without a backward: no gradients, no optimizer, no update, nothing saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flexsim.task_graph.columns import StaticMemory
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import INPUT, B, F, Row
from flexsim.task_graph.schedules import Schedule


def has_backward(schedule: Schedule) -> bool:
    """Whether a schedule trains."""
    return bool(np.isin(schedule.kind, [B, INPUT]).any())


def forward_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of forwards alone, with their needs among themselves."""
    kept = [index for index, row in enumerate(rows) if row.action == F]
    number = {index: position for position, index in enumerate(kept)}
    return [
        rows[index]._replace(needs=tuple(number[n] for n in rows[index].needs if n in number))
        for index in kept
    ]


def weights_only(static: StaticMemory) -> StaticMemory:
    """Return what devices hold of a model that is not trained."""
    none = np.zeros_like(static.weights)
    return replace(static, gradients=none, optimizer=none)


def without_saved(program: Program) -> Program:
    """Return a program whose forwards keep nothing for a backward."""
    return replace(program, saved={})
