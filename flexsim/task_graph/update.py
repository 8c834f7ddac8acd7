"""The end of an iteration: gradients synchronized, then the optimizer's step.

The collectives follow from the layout that a weight's gradient is left in and the one that the
weight lies in: what is partial is reduced. Weights are taken in the order in which their
gradients are complete and joined in buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import Work
from flexsim.errors import ProfileError, StrategyError, choices_text
from flexsim.operator_graph.records import Operator, Use
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.transition import Collective, TensorSize, transition
from flexsim.task_graph.gradients import sum_partials
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.places import Places
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Row, U, unique

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
        homes = _homes(program, name)
        stage = min(c.stage for c in contributions)
        merge = len(homes) == 1 and any(c.stage != stage for c in contributions)
        alike = [replace(c, stage=stage) for c in contributions] if merge else contributions
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


def _homes(program: Program, name: str) -> dict[Mesh, Layout]:
    """Return the layout of a weight on every mesh, the same for all operators there."""
    homes: dict[Mesh, tuple[Layout, str]] = {}
    for reader in program.graph.readers[name]:
        operator = program.graph.by_name[reader]
        config = program.strategy.configs[reader]
        for use in _weight_uses(operator, name):
            layout = program.cuts.of(operator).read(operator, use)
            first = homes.setdefault(config.mesh, (layout, reader))
            if first[0] != layout:
                raise StrategyError(
                    f"weight {name!r} is cut differently by {first[1]!r} and {reader!r}; "
                    "give both operators the same degrees along it"
                )
    return {mesh: layout for mesh, (layout, _) in homes.items()}


def _weight_uses(operator: Operator, name: str) -> Iterable[Use]:
    return (use for step in operator.forward for use in step.reads if use.tensor == name)


def _buckets(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> list[_Bucket]:
    """Join the collectives of neighbouring weights up to the software's bucket size."""
    limit = software.gradient_bucket_bytes
    if program.strategy.overlap_gradients:
        limit = software.overlapped_gradient_bucket_bytes
    done: list[_Bucket] = []
    filling: dict[tuple[int, Mesh, str, tuple[str, ...]], _Bucket] = {}
    for part in parts:
        for step in _synchronization(program, part):
            rank = program.strategy.rank_of_stage[part.stage]
            key = (rank, step.mesh, step.kind, step.axes)
            bucket = filling.get(key)
            if bucket is None or bucket.num_bytes >= limit:
                bucket = filling[key] = _Bucket(*key)
                done.append(bucket)
            bucket.num_bytes += _gradient_bytes(program, part, software)
            bucket.needs += part.rows
            bucket.weights.append((part.name, step.mesh))
    return done


def _synchronization(program: Program, part: WeightPart) -> list[Collective]:
    size = TensorSize(program.graph.shape(part.name), 1)
    steps = transition(part.gradient, part.layout, size)
    return [step for step in steps if isinstance(step, Collective)]


def _gradient_bytes(program: Program, part: WeightPart, software: SoftwareProfile) -> float:
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
        held.setdefault(part.name, {})[part.layout.mesh] = part
    copies = [sorted(by_mesh.values(), key=lambda p: p.stage) for by_mesh in held.values()]
    for group in copies:
        for part in group[1:]:
            _check_copies(group[0], part)
    return [group for group in copies if len(group) > 1]


def _check_copies(one: WeightPart, other: WeightPart) -> None:
    a, b = one.layout, other.layout
    shared = np.intersect1d(a.mesh.flat, b.mesh.flat).size
    if not a.mesh.same_shape(b.mesh) or a.axes != b.axes or shared:
        raise StrategyError(
            f"weight {one.name!r} is used on two device sets; they must be disjoint and cut "
            "alike, so that each device has a twin that holds the same part"
        )


def _write_copies(
    program: Program,
    software: SoftwareProfile,
    copies: list[WeightPart],
    needs: tuple[int, ...],
) -> int:
    groups = np.stack([part.layout.mesh.flat for part in copies], 1)
    num_bytes = max(1, round(_gradient_bytes(program, copies[0], software)))
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
    for part in parts:
        rank = program.strategy.rank_of_stage[part.stage]
        needs_of_rank.setdefault(rank, []).extend(ready[part.name, part.layout.mesh])
    norm: tuple[int, ...] = ()
    if program.strategy.gradient_norm and len(program.strategy.devices) > 1 and parts:
        needs = unique(row for rows in needs_of_rank.values() for row in rows)
        everyone = Places(program.strategy.devices[None, :])
        message = ("all-reduce", NORM_BYTES, everyone)
        norm = (_write_collective(program, 0, "gradient-norm", message, needs),)
    for rank, rows in sorted(needs_of_rank.items()):
        _write_step(program, software, rank, parts, norm or unique(rows))


def _write_step(
    program: Program,
    software: SoftwareProfile,
    rank: int,
    parts: list[WeightPart],
    needs: tuple[int, ...],
) -> None:
    devices, counts = parameters_of_rank(program, parts, rank)
    num_bytes = np.ceil(counts * software.optimizer_traffic_bytes_per_parameter).astype(np.int64)
    distinct, work_of_device = np.unique(num_bytes, return_inverse=True)
    works = [Work("optimizer", "U", 0, int(n), precision="fp32") for n in distinct]
    mesh = Mesh(("device",), devices)
    duration = program.pricing.durations(works, work_of_device.reshape(-1), mesh)
    code = TASK_CODE["optimizer"]
    places = program.notebook.on_mesh(mesh)
    program.notebook.write(Row(rank, U, code, -1, places, duration, num_bytes, needs, True))


def parameters_of_rank(
    program: Program, parts: list[WeightPart], rank: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the devices of a pipeline rank, sorted, and how many parameters each holds."""
    on_mesh: dict[Mesh, int] = {}
    for part in parts:
        if program.strategy.rank_of_stage[part.stage] == rank:
            mesh = part.layout.mesh
            on_mesh[mesh] = on_mesh.get(mesh, 0) + part.num_parameters
    devices = np.unique(np.concatenate([mesh.flat for mesh in on_mesh]))
    counts = np.zeros(len(devices), np.int64)
    for mesh, number in on_mesh.items():
        counts[np.searchsorted(devices, mesh.flat)] += number
    return devices, counts
