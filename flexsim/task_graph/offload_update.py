"""The optimizer's step, and the one that runs on the host: gradients out, weights back.

Ren et al. 2021 (ZeRO-Offload, arXiv 2101.06840): a device's host keeps the optimizer state of its
weights. What is gathered together (a layer) goes out, is updated and comes back by itself, so that
the three overlap as the streams allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.host import link_ns, update_ns
from flexsim.cost.profiles import SoftwareProfile
from flexsim.strategy.mesh import Mesh
from flexsim.task_graph.fetches import unit_of
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import WeightPart, factored_count
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Row, U, unique

OFFLOAD, RELOAD = TASK_CODE["offload"], TASK_CODE["reload"]
HOST_UPDATE = TASK_CODE["host-update"]
_WORD = 4
"""Bytes of an fp32 master weight."""


class Step(NamedTuple):
    """The optimizer's step of one rank: what it updates, and what it waits for.

    ``ready`` are the rows after which the gradient of each weight is summed.
    """

    rank: int
    parts: list[WeightPart]
    needs: tuple[int, ...]
    ready: dict[tuple[str, Mesh], tuple[int, ...]]


def parameters_of(
    parts: list[WeightPart], count: Callable[[WeightPart], float]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the devices that hold ``parts``, sorted, and the sum of a ``count`` on each.

    Parameters count by the share that a device keeps the optimizer state of.
    """
    on_mesh: dict[Mesh, int] = {}
    for part in parts:
        number = int(-(-count(part) // part.num_shares))
        on_mesh[part.layout.mesh] = on_mesh.get(part.layout.mesh, 0) + number
    devices = np.unique(np.concatenate([mesh.flat for mesh in on_mesh]))
    counts = np.zeros(len(devices), np.int64)
    for mesh, number in on_mesh.items():
        counts[np.searchsorted(devices, mesh.flat)] += number
    return devices, counts


def write_host_step(program: Program, software: SoftwareProfile, step: Step) -> tuple[int, ...]:
    """Write the rows of a step on the host, unit by unit; return those that bring weights back."""
    units: dict[tuple[str, Mesh], list[WeightPart]] = {}
    for part in step.parts:
        operator, _ = program.uses[part.name][0]
        units.setdefault((unit_of(operator), part.layout.mesh), []).append(part)
    sent = [_write_out(program, software, step, parts) for parts in units.values()]
    waits = step.needs if _is_norm(program, step) else ()
    return tuple(
        _write_back(program, software, step, (parts, unique((out, *waits))))
        for out, parts in zip(sent, units.values(), strict=True)
    )


def _is_norm(program: Program, step: Step) -> bool:
    """Whether what a step waits for is the norm of all gradients, and not each of them."""
    return program.strategy.gradient_norm and len(program.strategy.devices) > 1


def _write_out(
    program: Program, software: SoftwareProfile, step: Step, parts: list[WeightPart]
) -> int:
    """Write the transfer of a unit's gradients, as soon as they are summed."""
    devices, counts = parameters_of(parts, lambda part: part.num_parameters)
    num_bytes = np.ceil(counts * software.gradient_bytes_per_parameter).astype(np.int64)
    needs = unique(row for p in parts for row in step.ready[p.name, p.layout.mesh])
    return _write(program, (step.rank, OFFLOAD, link_ns), devices, num_bytes, needs)


def _write_back(
    program: Program,
    software: SoftwareProfile,
    step: Step,
    unit: tuple[list[WeightPart], tuple[int, ...]],
) -> int:
    """Write a unit's update on the host, and the transfer of its weights back."""
    parts, needs = unit
    devices, counts = parameters_of(parts, lambda part: part.num_parameters)
    widths = {program.graph.bytes_per_element(part.name) for part in parts}
    traffic = _host_traffic(software, max(widths)) * counts
    if software.factored_moment_bytes:
        traffic += 2 * software.factored_moment_bytes * parameters_of(parts, factored_count)[1]
    place = step.rank, HOST_UPDATE, update_ns
    updated = _write(program, place, devices, np.ceil(traffic).astype(np.int64), needs)
    back = step.rank, RELOAD, link_ns
    return _write(program, back, devices, counts * max(widths), (updated,))


def _host_traffic(software: SoftwareProfile, width: int) -> float:
    """Return bytes a parameter: gradient and state read, state and weight written."""
    state = software.moment_bytes_per_parameter + _WORD
    return 2 * state + software.gradient_bytes_per_parameter + width


def _write(
    program: Program,
    what: tuple[int, int, Callable[[int, str], int]],
    devices: NDArray[np.int32],
    num_bytes: NDArray[np.int64],
    needs: tuple[int, ...],
) -> int:
    rank, kind, price = what
    mesh = Mesh(("device",), devices)
    duration = program.pricing.on_host(price, num_bytes, mesh)
    places = program.notebook.on_mesh(mesh)
    return program.notebook.write(Row(rank, U, kind, -1, places, duration, num_bytes, needs, False))
