"""How a weight's gradient reaches those that keep it: whole, or in shares.

Where replicas keep shares (ZeRO, FSDP), the sum over them scatters: each keeps the share that its
optimizer needs. What is still partial over other axes is then summed share by share.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from flexsim.cost.profiles import SoftwareProfile
from flexsim.errors import StrategyError
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.transition import Collective, TensorSize
from flexsim.task_graph.fetches import message_of
from flexsim.task_graph.kinds import COLLECTIVE_CODE, TASK_CODE
from flexsim.task_graph.parts import WeightPart, gradient_bytes
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Row, U, unique
from flexsim.task_graph.shares import shares_ns


class Reduction(NamedTuple):
    """One collective on a gradient, and the share of it that is sent."""

    kind: str
    mesh: Mesh
    axes: tuple[str, ...]
    share: float


def reductions(program: Program, part: WeightPart) -> list[Reduction]:
    """Return the collectives that bring a part's gradient to where the weight is kept."""
    found: list[Reduction] = []
    for step in synchronization(program, part):
        if part.num_shares > 1:
            found += _in_shares(part, step, program.pricing.software)
        else:
            found.append(_whole(part, step))
    return found


def synchronization(program: Program, part: WeightPart) -> list[Collective]:
    """Return the collectives that bring a part's gradient to where the weight lies."""
    size = TensorSize(program.graph.shape(part.name), 1)
    steps = program.transitions.steps(part.gradient, part.layout, size)
    return [step for step in steps if isinstance(step, Collective)]


def _whole(part: WeightPart, step: Collective) -> Reduction:
    return Reduction(step.kind, step.mesh, step.axes, 1.0 / part.gradient_shares)


def _in_shares(part: WeightPart, step: Collective, software: SoftwareProfile) -> list[Reduction]:
    """Return the scattering sum over the replicas that keep shares, then what is left to sum."""
    scattered = tuple(name for name in step.axes if name in part.shard_axes)
    rest = tuple(name for name in step.axes if name not in part.shard_axes)
    found = []
    if scattered:
        kind = "reduce-scatter" if software.scatters_gradients else step.kind
        found.append(Reduction(kind, step.mesh, scattered, 1.0))
    if rest and step.mesh.degree(rest) > 1:
        found.append(Reduction(step.kind, step.mesh, rest, 1.0 / part.num_shares))
    return found


def scatter_gradients(
    program: Program, parts: list[WeightPart], software: SoftwareProfile
) -> list[WeightPart]:
    """Write, by unit, the sums of every microbatch's gradients that scatter; return what is left.

    Nothing is written where replicas keep whole gradients.
    """
    if not program.strategy.sharding.gradients:
        return parts
    together: dict[tuple[int, str, Mesh, tuple[str, ...]], list[WeightPart]] = {}
    for part in parts:
        if part.num_shares > 1:
            key = part.stage, part.unit, part.layout.mesh, part.shard_axes
            together.setdefault(key, []).append(part)
    row_of = {key: _write_scatter(program, some, software) for key, some in together.items()}
    return [_scattered(part, row_of) for part in parts]


def _scattered(
    part: WeightPart, row_of: dict[tuple[int, str, Mesh, tuple[str, ...]], int]
) -> WeightPart:
    row = row_of.get((part.stage, part.unit, part.layout.mesh, part.shard_axes))
    if row is None:
        return part
    left = [pair for pair in part.gradient.partial if pair[0] not in part.shard_axes]
    gradient = part.gradient.with_partial(left)
    return replace(part, gradient=gradient, rows=(row,), scattered=True)


def _write_scatter(program: Program, parts: list[WeightPart], software: SoftwareProfile) -> int:
    first = parts[0]
    mesh = first.layout.mesh
    sizes = _message_bytes(program, parts, software)
    places = program.notebook.on_groups(mesh, first.shard_axes)
    duration = shares_ns(program.pricing, "reduce-scatter", sizes, places, mesh)
    counts = np.full(places.num_members, max(1, sum(sizes)), np.int64)
    needs = unique(row for part in parts for row in part.rows)
    code = TASK_CODE["gradient"]
    collective = COLLECTIVE_CODE["reduce-scatter"]
    row = Row(first.stage, B, code, -1, places, duration, counts, needs, False, collective)
    return program.notebook.write(row._replace(blocks=software.shares_one_by_one))


def _message_bytes(
    program: Program, parts: list[WeightPart], software: SoftwareProfile
) -> list[int]:
    """Return the sizes of the messages in which the gradients of ``parts`` scatter."""
    sizes: dict[object, float] = {}
    for part in parts:
        key = message_of(program, part.name) if software.shares_one_by_one else ""
        sizes[key] = sizes.get(key, 0.0) + gradient_bytes(program, part, software)
    return [round(size) for size in sizes.values()]


def gather_weights(
    program: Program, rank: int, parts: list[WeightPart], steps: tuple[int, ...]
) -> None:
    """Write the all-gathers of what each replica's ``steps`` updated, where weights are whole."""
    sharding = program.strategy.sharding
    if not sharding.optimizer or sharding.weights:
        return
    together: dict[tuple[Mesh, tuple[str, ...]], int] = {}
    for part in parts:
        if part.num_shares > 1:
            key = part.layout.mesh, part.shard_axes
            width = program.graph.bytes_per_element(part.name)
            together[key] = together.get(key, 0) + part.num_parameters * width
    code, collective = TASK_CODE["parameter"], COLLECTIVE_CODE["all-gather"]
    for (mesh, axes), num_bytes in together.items():
        places = program.notebook.on_groups(mesh, axes)
        duration = program.pricing.collective("all-gather", num_bytes, places)
        counts = np.full(places.num_members, num_bytes, np.int64)
        row = Row(rank, U, code, -1, places, duration, counts, steps, False, collective)
        program.notebook.write(row)


def check_shares(program: Program, parts: list[WeightPart]) -> None:
    """Raise :class:`StrategyError` for shares of a weight that operators hold in unlike ways."""
    odd = next((part for part in parts if part.holding is not None), None)
    if program.strategy.sharding.optimizer and odd is not None:
        raise StrategyError(
            f"weight {odd.name!r} is shared by operators that hold it on different devices, which "
            "strategy.zero cannot keep in shares; choose zero = 0"
        )
