"""Compiled loops over pairs of a torus: the shortest way of each, and the links along it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.numba_cache import kept_on_disk

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]


class Shape(NamedTuple):
    """A torus as the loops take it.

    ``point`` is a row a vertex, ``ring_size`` 0 for a dimension that is no ring of its own, and
    ``detour`` a row for each way to cross the seams, the first without any.
    """

    point: Int64
    ring_size: Int64
    detour: Int64


@kept_on_disk
def find_ways(shape: Shape, sources: Int64, targets: Int64, way: Int64, length: Int64) -> None:
    """Write the shortest displacement of each pair, a column a dimension, and its hops.

    Of several, the one that goes further in the + direction of the first dimension where they
    differ.
    """
    num_dims = shape.point.shape[1]
    tried = np.empty(num_dims, np.int64)
    for pair in range(len(sources)):
        length[pair] = -1
        for turn in range(len(shape.detour)):
            hops = 0
            for d in range(num_dims):
                step = shape.point[targets[pair], d] - shape.point[sources[pair], d]
                step += shape.detour[turn, d]
                size = shape.ring_size[d]
                if size > 0:
                    step %= size
                    if 2 * step > size:
                        step -= size
                tried[d] = step
                hops += abs(step)
            better = length[pair] < 0 or hops < length[pair]
            if not better and hops == length[pair]:
                for d in range(num_dims):
                    if tried[d] != way[pair, d]:
                        better = tried[d] > way[pair, d]
                        break
            if better:
                length[pair] = hops
                way[pair] = tried


@kept_on_disk
def walk(neighbours: Int64, link_of: Int64, sources: Int64, way: Int64, links: Int32) -> None:
    """Write the links along each way: all hops of the first dimension, then of the second, ..."""
    at = 0
    for pair in range(len(sources)):
        vertex = sources[pair]
        for d in range(way.shape[1]):
            port = 2 * d + (way[pair, d] < 0)
            for _ in range(abs(way[pair, d])):
                links[at] = link_of[vertex, port]
                vertex = neighbours[vertex, port]
                at += 1
