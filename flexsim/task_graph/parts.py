"""The parts of weights: what a mesh holds of each, and the rows that finish its gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.cost.optimizers import factored_elements
from flexsim.cost.profiles import SoftwareProfile
from flexsim.errors import ProfileError, choices_text
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import OPTIMIZER
from flexsim.task_graph.fetches import shard_axes_of, unit_of
from flexsim.task_graph.gradients import Contribution, sum_partials
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import unique
from flexsim.task_graph.shared_weights import Holding, holding, needs_shares


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
    unit: str = ""
    """What it is gathered together with where replicas keep shares."""
    shard_axes: tuple[str, ...] = ()
    """The mesh axes along which replicas keep shares of it."""
    shape: tuple[int, ...] = ()
    """Of the whole weight."""
    scattered: bool = False
    """Whether its gradient has been scattered already, microbatch by microbatch."""

    @property
    def num_shares(self) -> int:
        """How many replicas keep a share each."""
        return self.layout.mesh.degree(self.shard_axes)

    @property
    def gradient_shares(self) -> int:
        """In how many shares its gradient is when the update begins."""
        return self.num_shares if self.scattered else 1


def weight_parts(program: Program) -> list[WeightPart]:
    """Return every weight on every mesh that uses it, in the order gradients are complete."""
    parts, counts = [], _Counts()
    for name, contributions in program.weight_gradients.items():
        layouts = _homes(program, name)
        if needs_shares(layouts):
            parts += _shared_parts(program, name, layouts, contributions)
            continue
        homes, shape = {layout.mesh: layout for layout in layouts}, program.graph.shape(name)
        for total in sum_partials(_at_one_stage(contributions)):
            home = homes[total.layout.mesh]
            count = counts.of(home, shape)
            part = WeightPart(name, home, total.layout, total.rows, total.stage, count, shape=shape)
            parts.append(_sharded(program, part))
    return sorted(parts, key=lambda part: max(part.rows))


def _at_one_stage(contributions: list[Contribution]) -> list[Contribution]:
    """Return the contributions of a mesh as those of the first of its stages."""
    if len(contributions) == 1:
        return contributions
    first: dict[Mesh, int] = {}
    for one in contributions:
        mesh = one.layout.mesh
        first[mesh] = min(one.stage, first.get(mesh, one.stage))
    return [one._replace(stage=first[one.layout.mesh]) for one in contributions]


def _sharded(program: Program, part: WeightPart) -> WeightPart:
    """Note how replicas keep shares of a part, where they do."""
    axes = shard_axes_of(program, part.layout)
    if part.layout.mesh.degree(axes) == 1:
        return part
    operator, _ = program.uses[part.name][0]
    return replace(part, unit=unit_of(operator), shard_axes=axes)


def gradient_bytes(program: Program, part: WeightPart, software: SoftwareProfile) -> float:
    """Return the size of a part's gradient as the software sends it."""
    width = software.gradient_communication_bytes_per_parameter
    precision = program.graph.stored_precision
    if precision not in width:
        raise ProfileError(
            f"software profile {software.name!r}: gradient_communication_bytes_per_parameter has "
            f"no entry for precision {precision!r}: {choices_text(precision, width)}"
        )
    return part.num_parameters * width[precision]


def factored_count(part: WeightPart) -> int:
    """Return how many numbers a part has of a moment that is factored; each replica its share."""
    return factored_elements(part.layout.local_shape(part.shape))


def static_bytes(program: Program, part: WeightPart, software: SoftwareProfile) -> tuple[int, ...]:
    """Return what a device holds of a part: weights, gradients and optimizer state."""
    sharding, number = program.strategy.sharding, part.num_parameters
    width = program.graph.bytes_per_element(part.name)
    weights = number * width / (part.num_shares if sharding.weights else 1)
    gradients = number / (part.num_shares if sharding.gradients else 1)
    state = number * software.optimizer_bytes_per_parameter
    if software.factored_moment_bytes:
        state += factored_count(part) * software.factored_moment_bytes
    return (
        round(weights),
        round(gradients * software.gradient_bytes_per_parameter),
        0 if OPTIMIZER in program.strategy.offload else round(state / part.num_shares),
    )


class _Counts:
    """Elements of the largest part of a weight, found once for all that lie alike."""

    def __init__(self) -> None:
        self._found: dict[tuple[Layout, tuple[int, ...]], int] = {}

    def of(self, layout: Layout, shape: tuple[int, ...]) -> int:
        key = layout, shape
        if key not in self._found:
            self._found[key] = layout.local_elements(shape)
        return self._found[key]


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
        parts.append(WeightPart(name, layout, layout, rows, stage, count, held, shape=shape))
    return parts


def _stage_of_devices(contributions: list[Contribution]) -> dict[int, int]:
    stages: dict[int, int] = {}
    for one in sorted(contributions, key=lambda c: -c.stage):
        stages |= dict.fromkeys(one.layout.mesh.flat.tolist(), one.stage)
    return stages


def bucket_bytes(program: Program, software: SoftwareProfile) -> float:
    """Return up to which size collectives of neighbouring weights are joined."""
    if program.strategy.overlap_gradients:
        return software.overlapped_gradient_bucket_bytes
    return software.gradient_bucket_bytes
