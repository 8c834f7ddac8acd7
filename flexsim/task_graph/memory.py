"""What devices hold: weights and their state for the iteration, activations by action."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.layout import Layout
from flexsim.task_graph.columns import ActionTable, ActivationMemory, StaticMemory
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.update import WeightPart

Int64 = NDArray[np.int64]


def static_memory(
    program: Program,
    parts: list[WeightPart],
    software: SoftwareProfile,
    devices: NDArray[np.int32],
) -> StaticMemory:
    """Return weights, gradients and optimizer state of ``devices`` (sorted)."""
    weights = np.zeros(len(devices), np.int64)
    parameters = np.zeros(len(devices), np.int64)
    seen: set[tuple[str, int]] = set()
    for part in parts:
        mine = np.flatnonzero(np.isin(devices, part.layout.mesh.flat))
        if (part.name, id(part.layout.mesh)) in seen:
            continue
        seen.add((part.name, id(part.layout.mesh)))
        width = program.graph.bytes_per_element(part.name)
        weights[mine] += part.num_parameters * width
        parameters[mine] += part.num_parameters
    return StaticMemory(
        devices,
        weights,
        _scaled(parameters, software.gradient_bytes_per_parameter),
        _scaled(parameters, software.optimizer_bytes_per_parameter),
    )


def activation_memory(
    program: Program, actions: ActionTable, devices: NDArray[np.int32]
) -> ActivationMemory:
    """Return what each action keeps, frees and holds for a moment on ``devices`` (sorted).

    A forward keeps what its backward reads; a backward frees it, and while it runs holds the
    largest segment that it recomputes.
    """
    num_stages = program.strategy.num_stages
    kept = np.zeros((num_stages, len(devices)), np.int64)
    transient = np.zeros_like(kept)
    for stage, layouts in program.saved.items():
        kept[stage] = _held(program, layouts, devices)
    for stage, layouts in program.rebuilt:
        transient[stage] = np.maximum(transient[stage], _held(program, layouts, devices))
    here = kept + transient > 0
    rows = np.flatnonzero((actions.kind == F) | (actions.kind == B))
    action, device = np.nonzero(here[actions.stage[rows]])
    stage, forward = actions.stage[rows[action]], actions.kind[rows[action]] == F
    amount = kept[stage, device]
    return ActivationMemory(
        rows[action].astype(np.int32),
        devices[device],
        np.where(forward, amount, 0),
        np.where(forward, 0, amount),
        np.where(forward, 0, transient[stage, device]),
    )


def _held(program: Program, layouts: dict[str, Layout], devices: NDArray[np.int32]) -> Int64:
    """Return the bytes of ``layouts``' largest parts on every device."""
    total = np.zeros(len(devices), np.int64)
    for tensor, layout in layouts.items():
        total[np.isin(devices, layout.mesh.flat)] += program.size(tensor).local_bytes(layout)
    return total


def _scaled(counts: Int64, factor: float) -> Int64:
    scaled: Int64 = np.round(counts * factor).astype(np.int64)
    return scaled
