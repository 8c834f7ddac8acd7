"""Folding: replicas that behave alike are simulated once.

It is exact when every row has equal durations on all its members and touches every device of
a pipeline rank exactly once: then members of a row have predecessors in the same rows and
hold resources of the same kind, and one device a rank stands for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row


def representatives(strategy: Strategy) -> NDArray[np.int32]:
    """Return one device a pipeline rank: the first of its first mesh."""
    first: dict[int, int] = {}
    for stage, meshes in enumerate(strategy.meshes_of_stage):
        first.setdefault(strategy.rank_of_stage[stage], int(meshes[0].flat[0]))
    return np.array([first[rank] for rank in range(strategy.num_ranks)], np.int32)


def why_not_foldable(rows: Sequence[Row], strategy: Strategy, names: Sequence[str]) -> str:
    """Return in a few words why folding would not be exact; "" if it is."""
    rank_of_device = _rank_of_device(strategy)
    if rank_of_device is None:
        return "a device belongs to several pipeline ranks"
    sizes = np.bincount(rank_of_device[rank_of_device >= 0])
    checked: dict[Places, bool] = {}
    reps = representatives(strategy)
    for row in rows:
        if row.places not in checked:
            checked[row.places] = _covers_ranks(row.places, rank_of_device, sizes, reps)
        what = names[row.operator] if row.operator >= 0 else "the update"
        if not checked[row.places]:
            return f"{what} does not use all devices of a rank alike"
        if np.ptp(row.duration_ns) or np.ptp(row.num_bytes):
            return f"{what} takes longer on some devices of a rank than on others"
    return ""


def folded(rows: Sequence[Row], strategy: Strategy) -> list[Row]:
    """Return the rows with one member each, on the representatives."""
    reps = representatives(strategy)
    distinct = dict.fromkeys(row.places for row in rows)
    stand_in = {places: _representative(places, reps) for places in distinct}
    return [
        replace(
            row,
            places=stand_in[row.places],
            duration_ns=row.duration_ns[:1],
            num_bytes=row.num_bytes[:1],
        )
        for row in rows
    ]


def _rank_of_device(strategy: Strategy) -> NDArray[np.int64] | None:
    ranks = np.full(int(strategy.devices[-1]) + 1, -1, np.int64)
    for stage, meshes in enumerate(strategy.meshes_of_stage):
        rank = strategy.rank_of_stage[stage]
        for mesh in meshes:
            if np.any((ranks[mesh.flat] >= 0) & (ranks[mesh.flat] != rank)):
                return None
            ranks[mesh.flat] = rank
    return ranks


def _covers_ranks(
    places: Places,
    rank_of_device: NDArray[np.int64],
    sizes: NDArray[np.int64],
    reps: NDArray[np.int32],
) -> bool:
    for side in (places.inputs, places.outputs):
        touched = np.unique(rank_of_device[side.devices])
        once = len(np.unique(side.devices)) == len(side.devices)
        if not once or len(side.devices) != sizes[touched].sum():
            return False
    return _joins_representatives(places, rank_of_device, reps)


def _joins_representatives(
    places: Places, rank_of_device: NDArray[np.int64], reps: NDArray[np.int32]
) -> bool:
    """Whether each member has the representatives of all its ranks, or none."""
    chosen = np.isin(places.groups, reps)
    if places.targets is not None:
        return np.array_equal(chosen[:, 0], np.isin(places.targets, reps))
    num_ranks = len(np.unique(rank_of_device[places.groups]))
    return bool(np.isin(chosen.sum(1), [0, num_ranks]).all())


def _representative(places: Places, reps: NDArray[np.int32]) -> Places:
    """Return the member that a representative takes part in, without the others it stands for."""
    here = np.isin(places.groups, reps)
    member = int(np.argmax(here.any(1)))
    if places.targets is not None:
        return Places(places.groups[member : member + 1], places.targets[member : member + 1])
    return Places(places.groups[member][here[member]][None, :])
