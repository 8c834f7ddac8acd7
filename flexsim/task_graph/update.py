"""The end of an iteration: gradients synchronized, then the optimizer's step.

The collectives follow from the layout that a weight's gradient is left in and the one that the
weight lies in: what is partial is reduced. Weights are taken in the order in which their
gradients are complete and joined in buckets. Weights that operators share on different devices
or cut differently are summed over all that hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.errors import ProfileError, choices_text
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.transition import Collective, TensorSize
from flexsim.task_graph.gradients import Contribution, sum_partials
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.places import Places
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Row, U, unique
from flexsim.task_graph.shared_update import SharedBucket, shared_buckets
from flexsim.task_graph.shared_weights import Holding, holding, needs_shares

NORM_BYTES = 4
"""A gradient norm is one fp32 number."""


@dataclass(frozen=True)
class WeightPart:
    """A weight as one mesh holds it: its layout there and the rows that finish its gradient."""

    name: str
    layout: Layout
    gradient: Layout
    rows: tuple[int, ...]
    stage: int
    num_parameters: int
    holding: Holding | None = None
    """Who else holds it, where that is more than a mesh and its twins."""


@dataclass
class _Bucket:
    rank: int
    mesh: Mesh
    kind: str
    axes: tuple[str, ...]
    num_bytes: float = 0.0
    needs: list[int] = field(default_factory=list)
    weights: list[tuple[str, Mesh]] = field(default_factory=list)


def weight_parts(program: Program) -> list[WeightPart]:
    """Return every weight on every mesh that uses it, in the order gradients are complete."""
    parts, counts = [], _Counts()
    for name, contributions in program.weight_gradients.items():
        layouts = _homes(program, name)
        if needs_shares(layouts):
            parts += _shared_parts(program, name, layouts, contributions)
            continue
        homes = {layout.mesh: layout for layout in layouts}
        stage = min(c.stage for c in contributions)
        merge = len(homes) == 1 and any(c.stage != stage for c in contributions)
        alike = [c._replace(stage=stage) for c in contributions] if merge else contributions
        for total in sum_partials(alike):
            home = homes[total.layout.mesh]
            count = counts.of(home, program.graph.shape(name))
            parts.append(WeightPart(name, home, total.layout, total.rows, total.stage, count))
    return sorted(parts, key=lambda part: max(part.rows))


def write_update(program: Program, software: SoftwareProfile) -> list[WeightPart]:
    """Write the rows of the update, by rank, and return the weights' parts."""
    parts = _accumulated(program, weight_parts(program), software)
    write_update_of(program, parts, software)
    return parts


def write_update_of(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> None:
    """Write the rows that synchronize ``parts``, in this order, and step the optimizer."""
    ready: dict[tuple[str, Mesh], tuple[int, ...]] = {}
    for p in parts:
        key = (p.name, p.layout.mesh)
        ready[key] = unique(ready.get(key, ()) + p.rows)
    for bucket in _buckets(program, parts, software):
        row = _write_bucket(program, bucket)
        ready |= dict.fromkeys(bucket.weights, (row,))
    limit = bucket_bytes(program, software)
    width = partial(gradient_bytes, program, software=software)
    for shared in shared_buckets(parts, program.strategy.rank_of_stage, limit, width):
        row = _write_shared(program, shared)
        for key in shared.weights:
            ready[key] = unique((*ready[key], row))
    for copies in _copies(parts):
        keys = [(part.name, part.layout.mesh) for part in copies]
        needs = unique(row for key in keys for row in ready[key])
        row = _write_copies(program, software, copies, needs)
        ready |= dict.fromkeys(keys, (row,))
    _write_optimizer(program, software, parts, ready)


class _Counts:
    """Elements of the largest part of a weight, found once for all that lie alike."""

    def __init__(self) -> None:
        self._found: dict[tuple[Layout, tuple[int, ...]], int] = {}

    def of(self, layout: Layout, shape: tuple[int, ...]) -> int:
        key = layout, shape
        if key not in self._found:
            self._found[key] = layout.local_elements(shape)
        return self._found[key]


def _accumulated(
    program: Program, parts: list[WeightPart], software: SoftwareProfile
) -> list[WeightPart]:
    """Write, by stage, the pass that adds a microbatch's gradients to their sum.

    Nothing is written where the weight-gradient products add to the sum themselves, or where
    there is one microbatch only.
    """
    traffic = software.gradient_accumulation_bytes_per_parameter.get(program.graph.precision, 0)
    if not traffic or program.strategy.num_microbatches == 1:
        return parts
    together: dict[tuple[int, Mesh], list[WeightPart]] = {}
    for part in parts:
        together.setdefault((part.stage, part.layout.mesh), []).append(part)
    row_of = {key: _write_accumulation(program, some, traffic) for key, some in together.items()}
    return [replace(part, rows=(row_of[part.stage, part.layout.mesh],)) for part in parts]


def _write_accumulation(program: Program, parts: list[WeightPart], traffic: float) -> int:
    stage, mesh = parts[0].stage, parts[0].layout.mesh
    num_bytes = round(sum(part.num_parameters for part in parts) * traffic)
    work = Work("elementwise", "W", 0, num_bytes, num_kernels=len(parts))
    duration = program.pricing.durations([work], np.zeros(mesh.size, np.int64), mesh)
    counts = np.full(mesh.size, num_bytes, np.int64)
    needs = unique(row for part in parts for row in part.rows)
    code, places = TASK_CODE["weight-gradient"], program.notebook.on_mesh(mesh)
    return program.notebook.write(Row(stage, B, code, -1, places, duration, counts, needs, True))


def _homes(program: Program, name: str) -> tuple[Layout, ...]:
    """Return the distinct layouts in which operators read a weight."""
    found: dict[Layout, Layout] = {}
    for operator, use in program.uses[name]:
        layout = program.cuts.of(operator).read(operator, use)
        found.setdefault(layout.without_single_axes(), layout)
    return tuple(found.values())


def _shared_parts(
    program: Program, name: str, homes: tuple[Layout, ...], contributions: list[Contribution]
) -> list[WeightPart]:
    """Return the parts of a weight with shares: devices of a stage that hold equally much."""
    shape = program.graph.shape(name)
    held = holding(homes, shape)
    stage_of = _stage_of_devices(contributions)
    rows = unique(row for c in contributions for row in c.rows)
    alike: dict[tuple[int, int], list[int]] = {}
    for device, count in zip(held.devices.tolist(), held.num_elements.tolist(), strict=True):
        alike.setdefault((stage_of[device], count), []).append(device)
    parts = []
    for (stage, count), devices in sorted(alike.items()):
        layout = Layout(Mesh(("device",), np.array(devices)), ((),) * len(shape))
        parts.append(WeightPart(name, layout, layout, rows, stage, count, held))
    return parts


def _stage_of_devices(contributions: list[Contribution]) -> dict[int, int]:
    stages: dict[int, int] = {}
    for one in sorted(contributions, key=lambda c: -c.stage):
        stages |= dict.fromkeys(one.layout.mesh.flat.tolist(), one.stage)
    return stages


def _buckets(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> list[_Bucket]:
    """Join the collectives of neighbouring weights up to the software's bucket size."""
    limit = bucket_bytes(program, software)
    done: list[_Bucket] = []
    filling: dict[tuple[int, Mesh, str, tuple[str, ...]], _Bucket] = {}
    for part in parts:
        for step in synchronization(program, part):
            rank = program.strategy.rank_of_stage[part.stage]
            key = (rank, step.mesh, step.kind, step.axes)
            bucket = filling.get(key)
            if bucket is None or bucket.num_bytes >= limit:
                bucket = filling[key] = _Bucket(*key)
                done.append(bucket)
            bucket.num_bytes += gradient_bytes(program, part, software)
            bucket.needs += part.rows
            bucket.weights.append((part.name, step.mesh))
    return done


def bucket_bytes(program: Program, software: SoftwareProfile) -> float:
    """Return up to which size collectives of neighbouring weights are joined."""
    if program.strategy.overlap_gradients:
        return software.overlapped_gradient_bucket_bytes
    return software.gradient_bucket_bytes


def _write_shared(program: Program, bucket: SharedBucket) -> int:
    places = Places(np.array([bucket.devices], np.int32))
    message = ("all-reduce", max(1, round(bucket.num_bytes)), places)
    return _write_collective(program, bucket.rank, "gradient", message, unique(bucket.needs))


def synchronization(program: Program, part: WeightPart) -> list[Collective]:
    """Return the collectives that bring a part's gradient to where the weight lies."""
    size = TensorSize(program.graph.shape(part.name), 1)
    steps = program.transitions.steps(part.gradient, part.layout, size)
    return [step for step in steps if isinstance(step, Collective)]


def gradient_bytes(program: Program, part: WeightPart, software: SoftwareProfile) -> float:
    """Return the size of a part's gradient as the software sends it."""
    width = software.gradient_communication_bytes_per_parameter
    precision = program.graph.precision
    if precision not in width:
        raise ProfileError(
            f"software profile {software.name!r}: gradient_communication_bytes_per_parameter has "
            f"no entry for precision {precision!r}: {choices_text(precision, width)}"
        )
    return part.num_parameters * width[precision]


def _write_bucket(program: Program, bucket: _Bucket) -> int:
    places = program.notebook.on_groups(bucket.mesh, bucket.axes)
    num_bytes = max(1, round(bucket.num_bytes))
    return _write_collective(
        program, bucket.rank, "gradient", (bucket.kind, num_bytes, places), unique(bucket.needs)
    )


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
    code = TASK_CODE[stream]
    return program.notebook.write(Row(rank, U, code, -1, places, duration, counts, needs, False))


def _copies(parts: list[WeightPart]) -> list[list[WeightPart]]:
    """Return the parts of every weight that several meshes hold (a tied embedding)."""
    held: dict[str, dict[Mesh, WeightPart]] = {}
    for part in parts:
        if part.holding is None:
            held.setdefault(part.name, {})[part.layout.mesh] = part
    copies = [sorted(by_mesh.values(), key=lambda p: p.stage) for by_mesh in held.values()]
    return [group for group in copies if len(group) > 1]


def _write_copies(
    program: Program,
    software: SoftwareProfile,
    copies: list[WeightPart],
    needs: tuple[int, ...],
) -> int:
    groups = np.stack([part.layout.mesh.flat for part in copies], 1)
    num_bytes = max(1, round(gradient_bytes(program, copies[0], software)))
    rank = program.strategy.rank_of_stage[copies[0].stage]
    message = ("all-reduce", num_bytes, Places(groups))
    return _write_collective(program, rank, "embedding", message, needs)


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
    for rank, rows in sorted(needs_of_rank.items()):
        _write_step(program, software, rank, parts_of_rank[rank], norm or unique(rows))


def _write_step(
    program: Program,
    software: SoftwareProfile,
    rank: int,
    parts: list[WeightPart],
    needs: tuple[int, ...],
) -> None:
    devices, counts = _parameters(parts)
    num_bytes = np.ceil(counts * software.optimizer_traffic_bytes_per_parameter).astype(np.int64)
    distinct, work_of_device = np.unique(num_bytes, return_inverse=True)
    works = [Work("optimizer", "U", 0, int(n), precision="fp32") for n in distinct]
    mesh = Mesh(("device",), devices)
    duration = program.pricing.durations(works, work_of_device.reshape(-1), mesh)
    code = TASK_CODE["optimizer"]
    places = program.notebook.on_mesh(mesh)
    program.notebook.write(Row(rank, U, code, -1, places, duration, num_bytes, needs, True))


def _parameters(parts: list[WeightPart]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the devices that hold ``parts``, sorted, and how many parameters each holds."""
    on_mesh: dict[Mesh, int] = {}
    for part in parts:
        on_mesh[part.layout.mesh] = on_mesh.get(part.layout.mesh, 0) + part.num_parameters
    devices = np.unique(np.concatenate([mesh.flat for mesh in on_mesh]))
    counts = np.zeros(len(devices), np.int64)
    for mesh, number in on_mesh.items():
        counts[np.searchsorted(devices, mesh.flat)] += number
    return devices, counts
