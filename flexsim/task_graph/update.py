"""The end of an iteration: gradients synchronized, then the optimizer's step.

The collectives follow from the layout that a weight's gradient is left in and the one that the
weight lies in: what is partial is reduced. Weights are taken in the order in which their
gradients are complete and joined in buckets. Weights that operators share on different devices
or cut differently are summed over all that hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import OPTIMIZER
from flexsim.task_graph.accumulation import accumulated
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.offload_update import Step, parameters_of, write_host_step
from flexsim.task_graph.parts import (
    WeightPart,
    bucket_bytes,
    factored_count,
    gradient_bytes,
    weight_parts,
)
from flexsim.task_graph.places import Places
from flexsim.task_graph.program import Program
from flexsim.task_graph.reductions import (
    check_shares,
    gather_weights,
    reductions,
    scatter_gradients,
)
from flexsim.task_graph.rows import Row, U, unique
from flexsim.task_graph.shared_update import SharedBucket, shared_buckets

NORM_BYTES = 4
"""A gradient norm is one fp32 number."""


@dataclass
class _Bucket:
    rank: int
    mesh: Mesh
    kind: str
    axes: tuple[str, ...]
    num_bytes: float = 0.0
    needs: list[int] = field(default_factory=list)
    weights: list[tuple[str, Mesh]] = field(default_factory=list)
    after: list[_Bucket] = field(default_factory=list)
    """The buckets whose sums it takes up."""
    row: int = -1


def write_update(program: Program, software: SoftwareProfile) -> list[WeightPart]:
    """Write the rows of the update, by rank, and return the weights' parts."""
    parts = weight_parts(program)
    check_shares(program, parts)
    parts = scatter_gradients(program, parts, software)
    parts = accumulated(program, parts, software)
    write_update_of(program, parts, software)
    return parts


def write_update_of(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> None:
    """Write the rows that synchronize ``parts``, in this order, and step the optimizer."""
    ready: dict[tuple[str, Mesh], tuple[int, ...]] = {}
    for p in parts:
        key = (p.name, p.layout.mesh)
        ready[key] = unique(ready.get(key, ()) + p.rows)
    for bucket in _in_turn(_buckets(program, parts, software)):
        bucket.row = _write_bucket(program, bucket)
        ready |= dict.fromkeys(bucket.weights, (bucket.row,))
    limit = bucket_bytes(program, software)
    width = partial(gradient_bytes, program, software=software)
    for shared in shared_buckets(parts, program.strategy.rank_of_stage, limit, width):
        row = _write_shared(program, shared)
        for key in shared.weights:
            ready[key] = unique((*ready[key], row))
    for together in _joined(program, software, _copies(parts)):
        keys = [(part.name, part.layout.mesh) for copies in together for part in copies]
        needs = unique(row for key in keys for row in ready[key])
        row = _write_copies(program, software, together, needs)
        ready |= dict.fromkeys(keys, (row,))
    _write_optimizer(program, software, parts, ready)


def _buckets(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> list[_Bucket]:
    """Join the collectives of neighbouring weights up to the software's bucket size."""
    limit = bucket_bytes(program, software)
    done: list[_Bucket] = []
    filling: dict[tuple[int, Mesh, str, tuple[str, ...]], _Bucket] = {}
    for part in parts:
        before: _Bucket | None = None
        for step in reductions(program, part):
            rank = program.strategy.rank_of_stage[part.stage]
            key = (rank, step.mesh, step.kind, step.axes)
            bucket = filling.get(key)
            if bucket is None or bucket.num_bytes >= limit:
                bucket = filling[key] = _Bucket(*key)
                done.append(bucket)
            bucket.num_bytes += gradient_bytes(program, part, software) * step.share
            bucket.needs += part.rows
            bucket.weights.append((part.name, step.mesh))
            if before is not None and part.num_shares > 1:
                bucket.after.append(before)
            before = bucket
    return done


def _in_turn(buckets: list[_Bucket]) -> list[_Bucket]:
    """Put the buckets that take up others' sums behind them."""
    return sorted(buckets, key=lambda bucket: bool(bucket.after))


def _write_shared(program: Program, bucket: SharedBucket) -> int:
    places = Places(np.array([bucket.devices], np.int32))
    message = ("all-reduce", max(1, round(bucket.num_bytes)), places)
    return _write_collective(program, bucket.rank, "gradient", message, unique(bucket.needs))


def _write_bucket(program: Program, bucket: _Bucket) -> int:
    places = program.notebook.on_groups(bucket.mesh, bucket.axes)
    message = (bucket.kind, max(1, round(bucket.num_bytes)), places)
    needs = (*bucket.needs, *(before.row for before in bucket.after))
    return _write_collective(program, bucket.rank, "gradient", message, unique(needs))


def _write_collective(
    program: Program,
    rank: int,
    stream: str,
    message: tuple[str, int, Places],
    needs: tuple[int, ...],
) -> int:
    kind, num_bytes, places = message
    duration = program.pricing.collective(kind, num_bytes, places)
    counts = np.full(places.num_members, num_bytes, np.int64)
    code, collective = TASK_CODE[stream], COLLECTIVE_CODE[kind]
    return program.notebook.write(
        Row(rank, U, code, -1, places, duration, counts, needs, False, collective)
    )


def _copies(parts: list[WeightPart]) -> list[list[WeightPart]]:
    """Return the parts of every weight that several meshes hold (a tied embedding)."""
    held: dict[str, dict[Mesh, WeightPart]] = {}
    for part in parts:
        if part.holding is None:
            held.setdefault(part.name, {})[part.layout.mesh] = part
    copies = [sorted(by_mesh.values(), key=lambda p: p.stage) for by_mesh in held.values()]
    return [group for group in copies if len(group) > 1]


def _joined(
    program: Program, software: SoftwareProfile, groups: list[list[WeightPart]]
) -> list[list[list[WeightPart]]]:
    """Join the copies that the lanes of a bidirectional pipeline hold, up to the bucket size."""
    if program.strategy.num_lanes == 1:
        return [[copies] for copies in groups]
    limit = bucket_bytes(program, software)
    done: list[list[list[WeightPart]]] = []
    filling: dict[tuple[Mesh, ...], tuple[list[list[WeightPart]], float]] = {}
    for copies in groups:
        meshes = tuple(part.layout.mesh for part in copies)
        together, size = filling.get(meshes, ([], limit))
        if size >= limit:
            together, size = [], 0.0
            done.append(together)
        together.append(copies)
        filling[meshes] = together, size + _shared_bytes(program, software, copies)
    return done


def _shared_bytes(program: Program, software: SoftwareProfile, copies: list[WeightPart]) -> float:
    return gradient_bytes(program, copies[0], software) / copies[0].num_shares


def _write_copies(
    program: Program,
    software: SoftwareProfile,
    together: list[list[WeightPart]],
    needs: tuple[int, ...],
) -> int:
    first = together[0]
    groups = np.stack([part.layout.mesh.flat for part in first], 1)
    sizes = [_shared_bytes(program, software, copies) for copies in together]
    num_bytes = max(1, round(sum(sizes)))
    rank = program.strategy.rank_of_stage[first[0].stage]
    message = ("all-reduce", num_bytes, Places(groups))
    stream = "embedding" if program.strategy.num_lanes == 1 else "gradient"
    return _write_collective(program, rank, stream, message, needs)


def _write_optimizer(
    program: Program,
    software: SoftwareProfile,
    parts: list[WeightPart],
    ready: dict[tuple[str, Mesh], tuple[int, ...]],
) -> None:
    needs_of_rank: dict[int, list[int]] = {}
    parts_of_rank: dict[int, list[WeightPart]] = {}
    for part in parts:
        rank = program.strategy.rank_of_stage[part.stage]
        needs_of_rank.setdefault(rank, []).extend(ready[part.name, part.layout.mesh])
        parts_of_rank.setdefault(rank, []).append(part)
    norm: tuple[int, ...] = ()
    if program.strategy.gradient_norm and len(program.strategy.devices) > 1 and parts:
        needs = unique(row for rows in needs_of_rank.values() for row in rows)
        everyone = Places(program.strategy.devices[None, :])
        message = ("all-reduce", NORM_BYTES, everyone)
        norm = (_write_collective(program, 0, "gradient-norm", message, needs),)
    on_host = OPTIMIZER in program.strategy.offload
    write = write_host_step if on_host else _write_step
    for rank, rows in sorted(needs_of_rank.items()):
        kept = parts_of_rank[rank]
        step = Step(rank, kept, norm or unique(rows), ready)
        gather_weights(program, rank, kept, write(program, software, step))


def _write_step(program: Program, software: SoftwareProfile, step: Step) -> tuple[int, ...]:
    devices, counts = parameters_of(step.parts, lambda part: part.num_parameters)
    traffic = counts * software.optimizer_traffic_bytes_per_parameter
    if software.factored_moment_bytes:
        _, sums = parameters_of(step.parts, factored_count)
        traffic += sums * 2 * software.factored_moment_bytes
    num_bytes = np.ceil(traffic).astype(np.int64)
    distinct, work_of_device = np.unique(num_bytes, return_inverse=True)
    works = [Work("optimizer", "U", 0, int(n), precision="fp32") for n in distinct]
    mesh = Mesh(("device",), devices)
    duration = program.pricing.durations(works, work_of_device.reshape(-1), mesh)
    code = TASK_CODE["optimizer"]
    places = program.notebook.on_mesh(mesh)
    row = Row(step.rank, U, code, -1, places, duration, num_bytes, step.needs, True)
    return (program.notebook.write(row._replace(issue_ns=program.pricing.issue_ns(works))),)
