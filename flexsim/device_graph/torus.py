"""Meshes and tori: neighbours, shortest displacements and dimension-ordered routes, as arithmetic.

A vertex is a point of a box of sizes ``shape``, numbered row-major (the last dimension fastest).
A *seam* of a twisted torus is the wrap-around of a short dimension of size ``n``: whoever crosses
it is shifted by ``n`` along every long dimension, of size ``2n`` (Camara et al., "Twisted torus
topologies for enhanced interconnection networks", IEEE TPDS 2010; TPU v4: arXiv 2304.01433).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr, offsets_of

if TYPE_CHECKING:
    from flexsim.device_graph.torus_kernel import Shape

Int64 = NDArray[np.int64]

NO_LINK = -1
_SMALLEST_RING = 3
_TWISTED_DIMENSIONS = 3


@dataclass(frozen=True)
class Torus:
    """The shape of a torus: which dimensions wrap around, and whether it is twisted."""

    shape: tuple[int, ...]
    wrap: tuple[bool, ...]
    twisted: bool = False

    @property
    def size(self) -> int:
        """Number of vertices."""
        return int(np.prod(self.shape))

    @property
    def rings(self) -> tuple[bool, ...]:
        """Which dimensions are rings; around a size of 1 or 2 there is no second way."""
        short = 1 if self.twisted else _SMALLEST_RING
        sizes = zip(self.shape, self.wrap, strict=True)
        return tuple(wraps and size >= short for size, wraps in sizes)

    @property
    def seams(self) -> tuple[int, ...]:
        """The short dimensions of a twisted torus."""
        shortest = min(self.shape)
        return tuple(d for d, n in enumerate(self.shape) if self.twisted and n == shortest)

    def points(self, vertices: Int64) -> Int64:
        """Return the coordinates of vertices, a column a dimension."""
        return np.stack(np.unravel_index(vertices, self.shape), axis=-1).astype(np.int64)

    def vertices(self, points: Int64) -> Int64:
        """Return the vertices at points that may lie beyond the box, wrapped around into it."""
        inside = points.copy()
        for seam in self.seams:
            turns = points[..., seam] // self.shape[seam]
            for long in self._long:
                inside[..., long] += turns * self.shape[seam]
        inside %= np.array(self.shape)
        strides = np.cumprod((1, *self.shape[:0:-1]))[::-1]
        return np.asarray(inside @ strides, np.int64)

    @cached_property
    def detours(self) -> Int64:
        """What crossing the seams adds to a displacement, a row a way; the first crosses none."""
        ways = list(itertools.product((0, 1, -1), repeat=len(self.seams)))
        rows = np.zeros((len(ways), len(self.shape)), np.int64)
        for row, turns in zip(rows, ways, strict=True):
            for seam, turn in zip(self.seams, turns, strict=True):
                row[[seam, *self._long]] += turn * self.shape[seam]
        return rows

    @cached_property
    def _long(self) -> tuple[int, ...]:
        return tuple(d for d in range(len(self.shape)) if d not in self.seams)


def has_twist(shape: tuple[int, ...]) -> bool:
    """Return whether a torus of this shape can be twisted: n x n x 2n or n x 2n x 2n."""
    short, long = min(shape), max(shape)
    fits = len(shape) == _TWISTED_DIMENSIONS and long == 2 * short and short > 1
    return fits and all(size in (short, long) for size in shape)


@dataclass(frozen=True)
class TorusRouter:
    """Dimension-ordered routes: all hops along the first dimension, then along the second, ...

    Link ids count the directed links of a torus vertex by vertex, dimension by dimension, the
    + direction before the - direction.
    """

    torus: Torus

    @cached_property
    def neighbours(self) -> Int64:
        """Return the vertex behind every (vertex, dimension, direction); -1 at an open end."""
        torus = self.torus
        points = torus.points(np.arange(torus.size))
        columns = []
        for dimension, size in enumerate(torus.shape):
            for step in (1, -1):
                moved = points.copy()
                moved[:, dimension] += step
                inside = (moved[:, dimension] >= 0) & (moved[:, dimension] < size)
                there = torus.vertices(moved)
                columns.append(np.where(inside | torus.rings[dimension], there, NO_LINK))
        return np.stack(columns, axis=1)

    @cached_property
    def link_of(self) -> Int64:
        """Return the link id of every (vertex, dimension, direction); -1 where there is none."""
        exists = self.neighbours != NO_LINK
        ids = np.cumsum(exists.ravel()) - 1
        return np.where(exists, ids.reshape(exists.shape), NO_LINK)

    def ends(self) -> tuple[Int64, Int64]:
        """Return source and target of every link."""
        exists = self.neighbours != NO_LINK
        return np.nonzero(exists)[0], self.neighbours[exists]

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the link ids of every pair's route, the shortest by :attr:`Torus.detours`."""
        from flexsim.device_graph.torus_kernel import find_ways, walk

        way = np.empty((len(sources), len(self.torus.shape)), np.int64)
        num_hops = np.empty(len(sources), np.int64)
        find_ways(self._shape, sources, targets, way, num_hops)
        offsets = offsets_of(num_hops)
        links = np.empty(offsets[-1], np.int32)
        walk(self.neighbours, self.link_of, sources, way, links)
        return Csr(offsets, links)

    @cached_property
    def _shape(self) -> Shape:
        from flexsim.device_graph.torus_kernel import Shape

        torus = self.torus
        own_ring = [
            size if is_ring and dimension not in torus.seams else 0
            for dimension, (size, is_ring) in enumerate(zip(torus.shape, torus.rings, strict=True))
        ]
        points = torus.points(np.arange(torus.size))
        return Shape(points, np.array(own_ring, np.int64), torus.detours)
