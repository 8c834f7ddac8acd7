"""What devices hold: weights and their state for the iteration, activations by action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.columns import ActionTable, ActivationMemory, StaticMemory
from flexsim.task_graph.parts import WeightPart
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StageMemory:
    """Activations of one microbatch: bytes by global stage and position in ``devices``."""

    devices: NDArray[np.int32]
    kept: Int64
    """What a forward keeps for its backward."""
    rebuilt: Int64
    """The largest segment that a backward recomputes, held while it runs."""
    gathered: Int64 | None = None
    """Weights kept in shares that are whole at a time, in forward and backward."""

    def of_actions(self, actions: ActionTable) -> ActivationMemory:
        """Return what each action keeps, frees and holds for a moment."""
        gathered = np.zeros_like(self.kept) if self.gathered is None else self.gathered
        here = self.kept + self.rebuilt + gathered > 0
        rows = np.flatnonzero((actions.kind == F) | (actions.kind == B))
        action, device = np.nonzero(here[actions.stage[rows]])
        stages = actions.stage[rows[action]]
        forward = actions.kind[rows[action]] == F
        amount = self.kept[stages, device]
        return ActivationMemory(
            rows[action].astype(np.int32),
            self.devices[device],
            np.where(forward, amount, 0),
            np.where(forward, 0, amount),
            np.where(forward, 0, self.rebuilt[stages, device]) + gathered[stages, device],
        )


def static_memory(
    program: Program,
    parts: list[WeightPart],
    software: SoftwareProfile,
    devices: NDArray[np.int32],
) -> StaticMemory:
    """Return weights, gradients and optimizer state of ``devices`` (sorted)."""
    sharding = program.strategy.sharding
    weights = np.zeros(len(devices), np.int64)
    parameters, kept = np.zeros(len(devices)), np.zeros(len(devices))
    held = {(part.name, part.layout.mesh): part for part in parts}
    meshes = dict.fromkeys(mesh for _, mesh in held)
    on_mesh = {mesh: np.isin(devices, mesh.flat) for mesh in meshes}
    for (name, mesh), part in held.items():
        shares = part.num_shares if sharding.weights else 1
        width = program.graph.bytes_per_element(name)
        weights[on_mesh[mesh]] += -(-part.num_parameters * width // shares)
        parameters[on_mesh[mesh]] += part.num_parameters / part.gradient_shares
        kept[on_mesh[mesh]] += part.num_parameters / part.num_shares
    return StaticMemory(
        devices,
        weights,
        _scaled(parameters, software.gradient_bytes_per_parameter),
        _scaled(kept, software.optimizer_bytes_per_parameter),
    )


def stage_memory(program: Program, devices: NDArray[np.int32]) -> StageMemory:
    """Return what every stage keeps and rebuilds on ``devices`` (sorted)."""
    kept = np.zeros((program.strategy.num_stages, len(devices)), np.int64)
    rebuilt = np.zeros_like(kept)
    for (stage, _), layouts in program.saved.items():
        kept[stage] += _held(program, layouts, devices)
    for stage, layouts in program.rebuilt:
        rebuilt[stage] = np.maximum(rebuilt[stage], _held(program, layouts, devices))
    return StageMemory(devices, kept, rebuilt, _gathered(program, devices))


def _gathered(program: Program, devices: NDArray[np.int32]) -> Int64 | None:
    """Return the bytes of gathered weights that are whole at a time: the largest units' sum."""
    sharding, fetches = program.strategy.sharding, program.fetches
    if not sharding.weights:
        return None
    gathered = np.zeros((program.strategy.num_stages, len(devices)), np.int64)
    for stage in range(program.strategy.num_stages):
        sizes: dict[Mesh, list[int]] = {}
        for unit, mesh in fetches.units_of_stage(stage):
            sizes.setdefault(mesh, []).append(sum(fetches.unit_bytes(unit, mesh).values()))
        at_once = sharding.prefetch + 1 if sharding.reshard else None
        for mesh, found in sizes.items():
            whole = sum(sorted(found, reverse=True)[:at_once])
            gathered[stage, np.isin(devices, mesh.flat)] += whole
    return gathered


def _held(program: Program, layouts: dict[str, Layout], devices: NDArray[np.int32]) -> Int64:
    """Return the bytes of ``layouts``' largest parts on every device."""
    total = np.zeros(len(devices), np.int64)
    bytes_on_mesh: dict[Mesh, int] = {}
    for tensor, layout in layouts.items():
        held = program.size(tensor).local_bytes(layout)
        bytes_on_mesh[layout.mesh] = bytes_on_mesh.get(layout.mesh, 0) + held
    for mesh, held in bytes_on_mesh.items():
        total[np.isin(devices, mesh.flat)] += held
    return total


def _scaled(counts: NDArray[np.float64], factor: float) -> Int64:
    scaled: Int64 = np.round(counts * factor).astype(np.int64)
    return scaled
