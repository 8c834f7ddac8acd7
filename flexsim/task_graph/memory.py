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
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, U

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StageMemory:
    """Activations of one microbatch: bytes by global stage and position in ``devices``."""

    devices: NDArray[np.int32]
    kept: Int64
    """What a forward keeps for its backward."""
    rebuilt: Int64
    """The largest segment that a backward recomputes, held while it runs."""
    for_weights: Int64 | None = None
    """The part of ``kept`` that weight gradients read: free after W where W runs by itself."""
    carried: Int64 | None = None
    """What only I hands to W: gradients of outputs, and what was recomputed for W."""
    gathered: Int64 | None = None
    """Weights kept in shares that are whole at a time, in forward and backward."""

    def of_actions(self, actions: ActionTable) -> ActivationMemory:
        """Return what each action keeps, frees and holds for a moment."""
        allocated, freed, transient = self._by_kind()
        passes = np.flatnonzero(actions.kind != U)
        kind, stage = actions.kind[passes], actions.stage[passes]
        here = (allocated + freed + transient)[kind, stage] > 0
        action, device = np.nonzero(here)
        place = kind[action], stage[action], device
        return ActivationMemory(
            passes[action].astype(np.int32),
            self.devices[device],
            allocated[place],
            freed[place],
            transient[place],
        )

    def _by_kind(self) -> tuple[Int64, Int64, Int64]:
        """Return bytes allocated, freed and held for a moment by kind of action, stage, device."""
        none = np.zeros_like(self.kept)
        gathered = none if self.gathered is None else self.gathered
        late = none if self.for_weights is None else self.for_weights
        carried = none if self.carried is None else self.carried
        by_kind = {
            F: (self.kept, none, gathered),
            B: (none, self.kept, self.rebuilt + gathered),
            INPUT: (carried, self.kept - late, self.rebuilt + gathered),
            WEIGHT: (none, late + carried, none),
        }
        tables = [by_kind[kind] for kind in (F, B, INPUT, WEIGHT)]
        allocated, freed, transient = (np.stack(column) for column in zip(*tables, strict=True))
        return allocated, freed, transient


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
    late, carried = _for_weights(program, devices)
    return StageMemory(devices, kept, rebuilt, late, carried, _gathered(program, devices))


def _for_weights(program: Program, devices: NDArray[np.int32]) -> tuple[Int64 | None, Int64 | None]:
    """Return what weight gradients read of what was kept, and of the rest, where they run later."""
    if not program.splits:
        return None, None
    late = np.zeros((program.strategy.num_stages, len(devices)), np.int64)
    carried = np.zeros_like(late)
    for (stage, mesh), layouts in program.held.items():
        saved = program.saved.get((stage, mesh), {})
        late[stage] += _held(program, {t: saved[t] for t in layouts if t in saved}, devices)
        others = {tensor: layout for tensor, layout in layouts.items() if tensor not in saved}
        carried[stage] += _held(program, others, devices)
    return late, carried


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
