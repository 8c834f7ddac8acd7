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

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr, offsets_of

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

    def displacements(self, sources: Int64, targets: Int64) -> Int64:
        """Return the shortest way from each source point to its target, signed hops a dimension.

        Of several, the one that goes further in the + direction of the first dimension where
        they differ.
        """
        delta = targets - sources
        best = self._straight(delta)
        for turns in itertools.product((1, 0, -1), repeat=len(self.seams)):
            best = _better(best, self._straight(delta, turns)) if any(turns) else best
        return best

    def _straight(self, delta: Int64, turns: tuple[int, ...] = ()) -> Int64:
        """Return displacements that cross every seam as often as ``turns`` says."""
        way = delta.copy()
        for seam, turn in zip(self.seams, turns, strict=False):
            way[:, seam] += turn * self.shape[seam]
            way[:, list(self._long)] += turn * self.shape[seam]
        for dimension, is_ring in enumerate(self.rings):
            if is_ring and dimension not in self.seams:
                way[:, dimension] = _shorter_way_round(way[:, dimension], self.shape[dimension])
        return way

    @cached_property
    def _long(self) -> tuple[int, ...]:
        return tuple(d for d in range(len(self.shape)) if d not in self.seams)


def has_twist(shape: tuple[int, ...]) -> bool:
    """Return whether a torus of this shape can be twisted: n x n x 2n or n x 2n x 2n."""
    short, long = min(shape), max(shape)
    fits = len(shape) == _TWISTED_DIMENSIONS and long == 2 * short and short > 1
    return fits and all(size in (short, long) for size in shape)


def _shorter_way_round(hops: Int64, size: int) -> Int64:
    forward = hops % size
    return np.where(2 * forward <= size, forward, forward - size)


def _better(first: Int64, second: Int64) -> Int64:
    """Return the shorter of two displacements a row; of equals the lexicographically greater."""
    lengths = np.abs(second).sum(axis=1) - np.abs(first).sum(axis=1)
    differs = first != second
    where = np.argmax(differs, axis=1)[:, None]
    ahead = np.take_along_axis(second - first, where, axis=1)[:, 0] > 0
    is_second = (lengths < 0) | ((lengths == 0) & differs.any(axis=1) & ahead)
    return np.where(is_second[:, None], second, first)


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
        """Return the link ids of every pair's route."""
        here = self.torus.points(sources)
        way = self.torus.displacements(here, self.torus.points(targets))
        hops = np.abs(way)
        offsets = offsets_of(hops.sum(axis=1))
        links = np.empty(offsets[-1], np.int32)
        first = offsets[:-1].copy()
        for dimension in range(len(self.torus.shape)):
            row = np.repeat(np.arange(len(sources)), hops[:, dimension])
            nth = np.arange(len(row)) - offsets_of(hops[:, dimension])[row]
            port = 2 * dimension + (way[:, dimension] < 0)
            vertices = self._along(here, way, dimension, (row, nth))
            links[first[row] + nth] = self.link_of[vertices, port[row]]
            first += hops[:, dimension]
            here[:, dimension] += way[:, dimension]
            here = self.torus.points(self.torus.vertices(here))
        return Csr(offsets, links)

    def _along(self, here: Int64, way: Int64, dimension: int, hops: tuple[Int64, Int64]) -> Int64:
        """Return where each hop along a dimension begins: (row, nth of the row's) a hop."""
        (row, nth), torus = hops, self.torus
        steps = np.sign(way[:, dimension])[row] * nth
        if dimension in torus.seams:
            points = here[row]
            points[:, dimension] += steps
            return torus.vertices(points)
        stride = int(np.prod(torus.shape[dimension + 1 :]))
        others = torus.vertices(here) - here[:, dimension] * stride
        along = (here[:, dimension][row] + steps) % torus.shape[dimension]
        return np.asarray(others[row] + along * stride, np.int64)
