"""Groups on tori: in which order their members stand near one another, and which are whole."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import DeviceGraph

Ints = NDArray[np.int64]

NO_SHAPE: tuple[int, ...] = ()


def pod_and_place(graph: DeviceGraph) -> tuple[Ints, Ints]:
    """Return for every device its pod and its place on a path to and fro through the torus.

    Neighbours on the path are neighbours on the torus (boustrophedon order).
    """
    shape = cast(tuple[int, ...], graph.torus)
    pod, inside = np.divmod(np.arange(graph.num_devices, dtype=np.int64), math.prod(shape))
    place = np.zeros_like(inside)
    for size, at in zip(shape, np.unravel_index(inside, shape), strict=True):
        place = place * size + np.where(place % 2 == 0, at, size - 1 - at)
    return pod, place


def whole_shapes(graph: DeviceGraph, groups: NDArray[np.integer]) -> list[tuple[int, ...]]:
    """Return the sizes of the axes that each group spans; :data:`NO_SHAPE` where it is no torus.

    A group is a torus if it is all the devices of one pod that share some coordinates.
    """
    if graph.torus is None:
        return [NO_SHAPE] * len(groups)
    pod, inside = np.divmod(np.asarray(groups, np.int64), math.prod(graph.torus))
    points = np.unravel_index(inside, graph.torus)
    counts = np.stack([_num_distinct(axis) for axis in points], axis=1)
    sizes = np.array(graph.torus)
    whole = ((counts == sizes) | (counts == 1)).all(axis=1)
    whole &= (np.prod(counts, axis=1) == groups.shape[1]) & (_num_distinct(pod) == 1)
    return [
        tuple(row[row > 1].tolist()) if fits else NO_SHAPE
        for row, fits in zip(counts, whole, strict=True)
    ]


def _num_distinct(rows: NDArray[np.integer]) -> Ints:
    changes = np.diff(np.sort(rows, axis=1), axis=1) != 0
    return np.asarray(1 + np.count_nonzero(changes, axis=1), np.int64)
