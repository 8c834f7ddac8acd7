"""Weights that operators share though they lie on different devices or are cut differently.

Every device that reads an element of such a weight holds it. The boxes of all readers cut the
weight into cells; the gradient of a cell is summed over the devices that hold it, each of which
then makes the same optimizer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import part_bounds

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """Elements of a weight that one set of devices (sorted) holds, summed over its members."""

    devices: tuple[int, ...]
    num_elements: int


@dataclass(frozen=True, eq=False)
class Holding:
    """Who holds how much of a shared weight.

    ``shares`` are its cells, those of equal devices joined; ``devices`` (sorted) hold
    ``num_elements`` each.
    """

    shares: tuple[Share, ...]
    devices: NDArray[np.int32]
    num_elements: Int64


def needs_shares(homes: Sequence[Layout]) -> bool:
    """Whether distinct homes are more than twins: disjoint meshes of one shape, cut alike."""
    first = homes[0]
    seen = set(first.mesh.flat.tolist())
    for home in homes[1:]:
        here = home.mesh.flat.tolist()
        alike = home.mesh.same_shape(first.mesh) and home.axes == first.axes
        if not alike or not seen.isdisjoint(here):
            return True
        seen.update(here)
    return False


@lru_cache(maxsize=4096)
def holding(homes: tuple[Layout, ...], shape: tuple[int, ...]) -> Holding:
    """Return who holds what of a weight of ``shape`` that is read in the layouts ``homes``."""
    devices = np.unique(np.concatenate([home.mesh.flat for home in homes]))
    edges = [_edges(homes, axis, size) for axis, size in enumerate(shape)]
    held = np.zeros((len(devices), *(len(cuts) - 1 for cuts in edges)), bool)
    for home in homes:
        held[np.searchsorted(devices, home.mesh.flat)] |= _held(home, shape, edges)
    volumes = np.ones(held.shape[1:], np.int64)
    for axis, cuts in enumerate(edges):
        volumes *= np.diff(cuts).reshape(-1, *(1,) * (len(edges) - axis - 1))
    flat = held.reshape(len(devices), -1)
    return Holding(_shares(flat, volumes.reshape(-1), devices), devices, flat @ volumes.reshape(-1))


def _edges(homes: tuple[Layout, ...], axis: int, size: int) -> Int64:
    degrees = {home.mesh.degree(home.axes[axis]) for home in homes}
    return np.unique(np.concatenate([part_bounds(size, degree) for degree in sorted(degrees)]))


def _held(home: Layout, shape: tuple[int, ...], edges: list[Int64]) -> NDArray[np.bool_]:
    """Return whether every device of a home holds every cell: ``[devices, cells by axis]``."""
    held = np.ones((home.mesh.size, *(1,) * len(shape)), bool)
    for axis, (size, cuts) in enumerate(zip(shape, edges, strict=True)):
        bounds = part_bounds(size, home.mesh.degree(home.axes[axis]))
        part = home.mesh.part_index(home.axes[axis])
        low, high = bounds[part][:, None], bounds[part + 1][:, None]
        inside = (low <= cuts[:-1]) & (cuts[1:] <= high)
        before, after = (1,) * axis, (1,) * (len(shape) - axis - 1)
        held = held & inside.reshape(home.mesh.size, *before, -1, *after)
    return held


def _shares(
    held: NDArray[np.bool_], volumes: Int64, devices: NDArray[np.int32]
) -> tuple[Share, ...]:
    """Join the cells that the same devices hold, in the order of their first cells."""
    columns, first, share_of_cell = np.unique(
        np.packbits(held, axis=0).T, axis=0, return_index=True, return_inverse=True
    )
    sizes = np.zeros(len(columns), np.int64)
    np.add.at(sizes, share_of_cell.reshape(-1), volumes)
    return tuple(
        Share(tuple(devices[held[:, first[i]]].tolist()), int(sizes[i])) for i in np.argsort(first)
    )
