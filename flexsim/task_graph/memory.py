"""What devices hold: weights and their state for the iteration, all else pass by pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import OPTIMIZER
from flexsim.task_graph.columns import (
    ActionTable,
    ActivationMemory,
    Int32,
    Int64,
    StaticMemory,
    UInt8,
)
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.liveness import GATHERED, changes_of
from flexsim.task_graph.memory_curves import (
    NUM_PARTS,
    SLOTS,
    Curve,
    StageCurves,
    end_shares,
)
from flexsim.task_graph.parts import WeightPart, factored_count
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F, Row, U
from flexsim.task_graph.split import early_rows, kind_of_pass

_PIPELINE = TASK_CODE["pipeline"]
KINDS = (F, B, INPUT, WEIGHT)
"""The kinds of passes that tables of a stage's memory have a row of each."""


@dataclass(frozen=True, eq=False)
class StageMemory:
    """What one microbatch holds: bytes by kind of pass, global stage and place in ``devices``."""

    devices: Int32
    parts: Int64
    """What a pass adds when it holds most, with a last axis by :data:`DYNAMIC_PARTS`."""
    left: Int64
    """What is left when it ends, which is negative for backwards, by part too."""
    operator: Int64
    """Which operator runs at that moment; -1 for none."""
    received: Int64
    """By stage and place: what arrives from another stage while this one still computes."""
    curves: Mapping[tuple[int, int], StageCurves] = field(default_factory=dict)
    """The curves behind the peaks, by stage and kind."""

    @classmethod
    def nothing(cls, devices: Int32, num_stages: int) -> StageMemory:
        """Return the memory of stages that hold nothing."""
        shape = (len(KINDS), num_stages, len(devices))
        return cls(
            devices,
            parts=np.zeros((*shape, NUM_PARTS), np.int64),
            left=np.zeros((*shape, NUM_PARTS), np.int64),
            operator=np.full(shape, -1),
            received=np.zeros(shape[1:], np.int64),
        )

    @property
    def net(self) -> Int64:
        """What is left when a pass ends, all parts together."""
        net: Int64 = self.left.sum(axis=-1)
        return net

    def of_actions(self, actions: ActionTable) -> ActivationMemory:
        """Return what each action keeps, frees and holds for a moment."""
        peak, net = self.parts.sum(axis=-1), self.net
        passes = np.flatnonzero(actions.kind != U)
        kind, stage = _position(actions.kind[passes]), actions.stage[passes]
        here = ((peak > 0) | (net != 0))[kind, stage]
        action, device = np.nonzero(here)
        place = kind[action], stage[action], device
        allocated = np.maximum(net[place], 0)
        return ActivationMemory(
            passes[action].astype(np.int32),
            self.devices[device],
            allocated,
            np.maximum(-net[place], 0),
            peak[place] - allocated,
            self.parts[place],
            self.left[place],
            self.operator[place].astype(np.int32),
            self,
        )


def _position(kinds: UInt8) -> Int64:
    """Return the positions of kinds of actions in :data:`KINDS`."""
    position = np.zeros(256, np.int64)
    position[list(KINDS)] = np.arange(len(KINDS))
    return position[kinds]


def static_memory(
    program: Program,
    parts: list[WeightPart],
    software: SoftwareProfile,
    devices: NDArray[np.int32],
) -> StaticMemory:
    """Return weights, gradients and optimizer state of ``devices`` (sorted)."""
    sharding = program.strategy.sharding
    weights = np.zeros(len(devices), np.int64)
    parameters, kept, sums = (np.zeros(len(devices)) for _ in range(3))
    held = {(part.name, part.layout.mesh): part for part in parts}
    meshes = dict.fromkeys(mesh for _, mesh in held)
    on_mesh = {mesh: np.isin(devices, mesh.flat) for mesh in meshes}
    for (name, mesh), part in held.items():
        shares = part.num_shares if sharding.weights else 1
        width = program.graph.bytes_per_element(name)
        weights[on_mesh[mesh]] += -(-part.num_parameters * width // shares)
        parameters[on_mesh[mesh]] += part.num_parameters / part.gradient_shares
        if OPTIMIZER not in program.strategy.offload:
            kept[on_mesh[mesh]] += part.num_parameters / part.num_shares
            if software.factored_moment_bytes:
                sums[on_mesh[mesh]] += factored_count(part) / part.num_shares
    return StaticMemory(
        devices,
        weights,
        _scaled(parameters, software.gradient_bytes_per_parameter),
        _scaled(kept, software.optimizer_bytes_per_parameter)
        + _scaled(sums, software.factored_moment_bytes),
        framework=np.full(len(devices), software.framework_memory_bytes),
        step=_scaled(
            kept, software.step_bytes_per_parameter.get(program.graph.stored_precision, 0.0)
        ),
        fragmentation=software.fragmentation,
    )


def stage_memory(program: Program, devices: Int32, passes: tuple[int, ...] = (F, B)) -> StageMemory:
    """Return what every stage holds on ``devices`` (sorted) in its kinds of ``passes``."""
    found = StageMemory.nothing(devices, program.strategy.num_stages)
    gathered = _gathered(program, devices)
    curves = {}
    rows = _kernels(program, passes)
    for key, by_mesh in changes_of(program, passes).items():
        whole = gathered[key[0]] if gathered is not None and key[1] != WEIGHT else None
        curves[key] = _stage_curves(by_mesh, rows.get(key, []), devices, whole)
        fill_peaks(found, key, curves[key])
    return replace(found, received=received_bytes(program, devices), curves=curves)


def fill_peaks(memory: StageMemory, key: tuple[int, int], found: StageCurves) -> None:
    """Write the peaks of a pass into the tables of ``memory``."""
    stage, kind = key[0], KINDS.index(key[1])
    for number, curve in enumerate(found.curves):
        peak = curve.peak()
        at = kind, stage, found.curve_of_device == number
        memory.parts[at] = peak.parts
        memory.left[at] = peak.left
        known = 0 <= peak.kernel < len(found.operator)
        memory.operator[at] = found.operator[peak.kernel] if known else -1


def _kernels(program: Program, passes: tuple[int, ...]) -> dict[tuple[int, int], list[Row]]:
    """Return the rows of the kernels of every pass."""
    found: dict[tuple[int, int], list[Row]] = {}
    early = early_rows(program.notebook.rows) if INPUT in passes else frozenset()
    for index, row in enumerate(program.notebook.rows):
        if not row.is_compute or row.action not in (F, B):
            continue
        found.setdefault((row.stage, row.action), []).append(row)
        if row.action == B and INPUT in passes:
            half = kind_of_pass(index, row, early)
            found.setdefault((row.stage, half), []).append(row)
    return found


def _stage_curves(
    by_mesh: Mapping[Mesh, Int64], rows: list[Row], devices: Int32, whole: Int64 | None
) -> StageCurves:
    """Return the curves of one pass; ``whole`` are gathered weights that stay for all of it."""
    meshes = list(by_mesh)
    table = np.stack([np.isin(devices, mesh.flat) for mesh in meshes], 1) if meshes else None
    if table is None:
        table = np.zeros((len(devices), 0), bool)
    more = np.zeros(len(devices), np.int64) if whole is None else whole
    alike = np.concatenate([table, more[:, None]], 1)
    ways, way_of_device = np.unique(alike, axis=0, return_inverse=True)
    curves = [_curve(by_mesh, meshes, way, SLOTS * max(len(rows), 1)) for way in ways]
    return StageCurves(
        tuple(curves),
        way_of_device.reshape(-1).astype(np.int32),
        np.array([row.operator for row in rows], np.int32),
        end_shares(np.array([int(row.duration_ns.max(initial=0)) for row in rows], np.int64)),
    )


def _curve(by_mesh: Mapping[Mesh, Int64], meshes: list[Mesh], way: Int64, length: int) -> Curve:
    """Return the curve of the devices that are on the meshes that ``way`` marks."""
    changes = np.zeros((length, NUM_PARTS), np.int64)
    for mesh, on_it in zip(meshes, way[:-1], strict=True):
        if on_it:
            changes += by_mesh[mesh]
    changes[0, GATHERED] += way[-1]
    changes[-1, GATHERED] -= way[-1]
    return Curve(changes)


def received_bytes(program: Program, devices: Int32) -> Int64:
    """Return the largest message from another stage, which may come while a stage computes."""
    found = np.zeros((program.strategy.num_stages, len(devices)), np.int64)
    if program.strategy.blocking_transfers:
        return found
    for row in program.notebook.rows:
        if row.places.targets is None or row.kind != _PIPELINE:
            continue
        stage = program.stage(program.graph.operators[row.operator])
        here = np.isin(devices, row.places.targets)
        num_bytes = int(row.num_bytes.max(initial=0))
        found[stage, here] = np.maximum(found[stage, here], num_bytes)
    return found


def _gathered(program: Program, devices: NDArray[np.int32]) -> Int64 | None:
    """Return the bytes of gathered weights that stay whole after the forward; None for none."""
    sharding, fetches = program.strategy.sharding, program.fetches
    if not sharding.weights or sharding.reshard:
        return None
    gathered = np.zeros((program.strategy.num_stages, len(devices)), np.int64)
    for stage in range(program.strategy.num_stages):
        sizes: dict[Mesh, list[int]] = {}
        for unit, mesh in fetches.units_of_stage(stage):
            sizes.setdefault(mesh, []).append(sum(fetches.unit_bytes(unit, mesh).values()))
        for mesh, found in sizes.items():
            gathered[stage, np.isin(devices, mesh.flat)] += sum(found)
    return gathered


def _scaled(counts: NDArray[np.float64], factor: float) -> Int64:
    scaled: Int64 = np.round(counts * factor).astype(np.int64)
    return scaled
