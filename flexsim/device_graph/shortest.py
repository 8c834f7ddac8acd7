"""Shortest routes over any device graph: fewest hops, then least latency, then lowest ids."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import Int32, Int64, Links
from flexsim.ragged import Csr, mix

NO_LINK = -1


@dataclass(frozen=True, eq=False)
class ShortestRouter:
    """Grows one tree of shortest routes a source, when it is first asked for, and keeps it.

    Devices forward what is not for them, so a ring of devices without switches is connected.
    """

    links: Links
    num_vertices: int
    hashed: bool = False
    """Whether routes spread over equally short ways by a hash of their ends."""
    trees: dict[int, Int32] = field(default_factory=dict, repr=False)
    equals: dict[tuple[int, int], list[int]] = field(default_factory=dict, repr=False)

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return every pair's route by walking all of them back from their targets at once."""
        tree_of, places = np.unique(sources, return_inverse=True)
        trees = np.stack([self.tree(int(root)) for root in tree_of]) if len(tree_of) else None
        ends = sources.astype(np.uint64) * np.uint64(self.num_vertices) + targets.astype(np.uint64)
        here, steps = targets.copy(), []
        while trees is not None and (here != sources).any():
            link = np.where(here == sources, NO_LINK, trees[places, here])
            if self.hashed:
                link = self._spread(link, sources, mix(ends + here.astype(np.uint64)))
            steps.append(link)
            here = np.where(link == NO_LINK, here, self.links.source[link])
        return _forward(steps, len(sources))

    def tree(self, root: int) -> Int32:
        """Return for every vertex the last link on its route from ``root``."""
        if root not in self.trees:
            self.trees[root] = self._grow(root)
        return self.trees[root]

    def reached(self, root: int) -> NDArray[np.bool_]:
        """Return which vertices ``root`` reaches."""
        reached: NDArray[np.bool_] = self.tree(root) != NO_LINK
        reached[root] = True
        return reached

    def _grow(self, root: int) -> Int32:
        """Settle vertices in order of (hops, latency, vertex before, link)."""
        last_link = np.full(self.num_vertices, NO_LINK, np.int32)
        settled = [False] * self.num_vertices
        waiting = [(0, 0, NO_LINK, NO_LINK, root)]
        while waiting:
            hops, latency_ns, _, link, vertex = heapq.heappop(waiting)
            if settled[vertex]:
                continue
            settled[vertex], last_link[vertex] = True, link
            for following in self._outgoing.row(vertex).tolist():
                further_ns = latency_ns + int(self.links.latency_ns[following])
                target = int(self.links.target[following])
                heapq.heappush(waiting, (hops + 1, further_ns, vertex, following, target))
        return last_link

    def _spread(self, chosen: Int64, sources: Int64, drawn: NDArray[np.uint64]) -> Int64:
        """Return in place of each last link one of those that are as good, by its hash."""
        spread = chosen.copy()
        for row in np.flatnonzero(chosen != NO_LINK).tolist():
            equals = self._equals(int(sources[row]), int(chosen[row]))
            spread[row] = equals[int(drawn[row] % np.uint64(len(equals)))]
        return spread

    def _equals(self, root: int, link: int) -> list[int]:
        """Return the last links of all shortest routes from ``root`` to the end of ``link``."""
        key = (root, link)
        if key not in self.equals:
            vertex = int(self.links.target[link])
            into = np.flatnonzero(self.links.target == vertex).tolist()
            costs = {each: self._cost(root, each) for each in into if self._leads(root, each)}
            self.equals[key] = [each for each in costs if costs[each] == costs[link]]
        return self.equals[key]

    def _leads(self, root: int, link: int) -> bool:
        before = int(self.links.source[link])
        return before == root or int(self.tree(root)[before]) != NO_LINK

    def _cost(self, root: int, link: int) -> tuple[int, int]:
        """Return hops and latency of the shortest route from ``root`` that ends with ``link``."""
        hops, latency_ns, here = 1, int(self.links.latency_ns[link]), int(self.links.source[link])
        while here != root:
            before = int(self.tree(root)[here])
            hops, latency_ns = hops + 1, latency_ns + int(self.links.latency_ns[before])
            here = int(self.links.source[before])
        return hops, latency_ns

    @cached_property
    def _outgoing(self) -> Csr:
        """The links that leave each vertex."""
        ids = np.arange(len(self.links), dtype=np.int32)
        return Csr.from_pairs(self.num_vertices, self.links.source, ids)


def _forward(steps: list[NDArray[np.int64]], num_pairs: int) -> Csr:
    """Turn the links of each step back, a column a step, into routes in travel order."""
    hops = np.stack(steps[::-1], axis=1) if steps else np.empty((num_pairs, 0), np.int64)
    taken = hops != NO_LINK
    offsets = np.concatenate(([0], np.cumsum(taken.sum(axis=1)))).astype(np.int64)
    return Csr(offsets, hops[taken].astype(np.int32))
