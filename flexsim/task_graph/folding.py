"""Folding: devices that behave alike are simulated once.

The devices are parted into classes (:mod:`flexsim.task_graph.classes`), the first device of
each stands for all, and every row keeps one member of each class of members. The replay of
what is left is the full replay as the representatives see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.classes import (
    Classes,
    coarsest,
    first_devices,
    has_clear_resources,
    in_order,
)
from flexsim.task_graph.fold_reasons import why_no_coarser
from flexsim.task_graph.incidence import Incidence, Int64, incidence, mixed, positions
from flexsim.task_graph.rows import Row
from flexsim.task_graph.stand_ins import rows_of_representatives


@dataclass(frozen=True, eq=False)
class Folding:
    """The rows to simulate, the devices (sorted) that they run on, and what was done.

    ``class_of_device`` has for every device of the strategy the position in ``devices`` of the
    one that stands for it.
    """

    rows: Sequence[Row]
    devices: NDArray[np.int32]
    class_of_device: Int64
    report: str

    @property
    def class_sizes(self) -> Int64:
        """How many devices each of ``devices`` stands for."""
        return np.bincount(self.class_of_device, minlength=len(self.devices))


def unfolded(rows: Sequence[Row], strategy: Strategy, why: str) -> Folding:
    """Return all rows on all devices, and in the report why."""
    devices = strategy.devices
    report = f"not folded, all {len(devices)} devices simulated: {why}"
    if _num_kinds(ranks_of_device(strategy)) == len(devices):
        report = "nothing to fold: every device has a rank of its own"
    return Folding(rows, devices, np.arange(len(devices)), report)


def fold_rows(rows: Sequence[Row], strategy: Strategy, names: Sequence[str]) -> Folding:
    """Return the fewest rows that replay as ``rows`` do; ``names`` are the operators'."""
    devices = strategy.devices
    ranks = ranks_of_device(strategy)
    num_sets = _num_kinds(ranks)
    if num_sets == len(devices):
        return unfolded(rows, strategy, "")
    who = incidence(rows, devices)
    classes = _classes(who, strategy, ranks)
    kept = classes.num_classes
    why = "" if kept == num_sets else why_no_coarser(rows, who, ranks, names)
    if kept == len(devices):
        return unfolded(rows, strategy, why)
    what = _one_for_each(strategy, num_sets) if not why else f" classes: {why}"
    return Folding(
        rows_of_representatives(rows, who, classes),
        devices[first_devices(classes)],
        classes.of_device,
        f"{len(devices)} devices folded to {kept}{what}",
    )


def ranks_of_device(strategy: Strategy) -> Int64:
    """Return for every device of a strategy a number of the set of pipeline ranks it serves."""
    meshes_of_rank = _meshes_of_rank(strategy)
    position = positions(strategy.devices)
    served = np.zeros(len(strategy.devices), np.uint64)
    for rank, meshes in meshes_of_rank.items():
        everyone = position[meshes[0].flat]
        if len(meshes) > 1:
            everyone = np.unique(np.concatenate([position[mesh.flat] for mesh in meshes]))
        served[everyone] += mixed(np.array([rank], np.uint64))
    return in_order(served)


def _num_kinds(colors: Int64) -> int:
    return int(colors.max()) + 1


def _meshes_of_rank(strategy: Strategy) -> dict[int, list[Mesh]]:
    found: dict[int, dict[Mesh, None]] = {}
    for rank, meshes in zip(strategy.rank_of_stage, strategy.meshes_of_stage, strict=True):
        found.setdefault(rank, {}).update(dict.fromkeys(meshes))
    return {rank: list(meshes) for rank, meshes in found.items()}


def _classes(who: Incidence, strategy: Strategy, ranks: Int64) -> Classes:
    """Return the coarsest classes that fold exactly, as far as they are sought.

    Where channels are not told apart by the classes at their ends, devices at different
    places along one axis of their mesh are parted, whichever axis leaves fewest classes.
    """
    classes = coarsest(who, ranks)
    if has_clear_resources(who, classes):
        return classes
    parted = [coarsest(who, color) for color in _by_axis(strategy, ranks)]
    clear = [found for found in parted if has_clear_resources(who, found)]
    everyone = Classes(np.arange(len(ranks)), who.label)
    return min(clear, key=lambda found: found.num_classes, default=everyone)


def _by_axis(strategy: Strategy, ranks: Int64) -> list[Int64]:
    """Return for every mesh axis a number of each device's ranks and place along it."""
    meshes = dict.fromkeys(m for some in _meshes_of_rank(strategy).values() for m in some)
    position = positions(strategy.devices)
    colors = []
    for axis in dict.fromkeys(name for mesh in meshes for name in mesh.names):
        place = np.zeros(len(ranks), np.uint64)
        for mesh in meshes:
            if axis in mesh.names:
                place[position[mesh.flat]] = mesh.part_index((axis,)).astype(np.uint64)
        colors.append(in_order(mixed(place) + ranks.astype(np.uint64)))
    return colors


def _one_for_each(strategy: Strategy, num_sets: int) -> str:
    alone = num_sets == strategy.num_ranks
    return f", one for each {'pipeline rank' if alone else 'set of pipeline ranks'}"
