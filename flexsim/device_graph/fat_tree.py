"""Fat trees (folded Clos networks) of two or three levels; routes are index arithmetic.

Ports hang on leaves. Every leaf of a pod has one link to each spine of the pod; spine ``j`` of
every pod has one link to each of its cores. A message goes up only as far as it must. Which of
the equal ways up it takes follows from the target alone (as InfiniBand's static routing has it,
so that a permutation meets no contention in a non-blocking tree), or from a hash of both ends
(as Ethernet's equal-cost multi-path has it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr, mix, offsets_of

Int64 = NDArray[np.int64]

NO_LINK = -1
_LONGEST = 6


@dataclass(frozen=True, eq=False)
class FatTree:
    """Which leaf every port hangs on and how many switches there are; routes between ports.

    Links are numbered: ports up, ports down, leaves up, leaves down, spines up, spines down.
    """

    leaf_of_port: Int64
    place_of_port: Int64
    """Position of each port at its leaf."""
    num_leaves: int
    leaves_per_pod: int
    spines: int
    """Spines of a pod; 0 where there is one leaf only."""
    cores: int
    """Cores of a spine; 0 where there is one pod only."""
    hashed: bool

    @property
    def num_ports(self) -> int:
        """Ports of all leaves."""
        return len(self.leaf_of_port)

    @property
    def num_pods(self) -> int:
        """Pods, the last one perhaps not full."""
        return -(-self.num_leaves // self.leaves_per_pod)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Links up from ports, from leaves and from spines."""
        leaf_links = self.num_leaves * self.spines
        return self.num_ports, leaf_links, self.num_pods * self.spines * self.cores

    @property
    def num_vertices(self) -> int:
        """Leaves, spines and cores."""
        return self.num_leaves + self.spines * (self.num_pods + self.cores)

    def names(self) -> list[str]:
        """Return the names of leaves, spines and cores."""
        pods = range(self.num_pods)
        spines = range(self.spines)
        prefix = "pod{}." if self.num_pods > 1 else ""
        return [
            *(f"leaf{leaf}" for leaf in range(self.num_leaves)),
            *(f"{prefix.format(pod)}spine{spine}" for pod in pods for spine in spines),
            *(f"core{core}" for core in range(self.spines * self.cores)),
        ]

    def ends(self) -> list[tuple[Int64, Int64]]:
        """Return the lower and upper ends of the links of leaves and of spines, as vertices."""
        leaf_links, spine_links = (np.arange(size) for size in self.sizes[1:])
        first_core = self.num_leaves + self.num_pods * self.spines
        leaf, spine = _divided(leaf_links, self.spines)
        above = self.num_leaves + leaf // self.leaves_per_pod * self.spines + spine
        lower, core = _divided(spine_links, self.cores)
        cores = first_core + lower % max(1, self.spines) * self.cores + core
        return [(leaf, above), (self.num_leaves + lower, cores)]

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the links of every pair's route: at most three up and three down."""
        hops = np.full((len(sources), _LONGEST), NO_LINK, np.int64)
        ports, leaf_links, spine_links = self.sizes
        first_leaf, first_spine = 2 * ports, 2 * ports + 2 * leaf_links
        hops[:, 0], hops[:, 5] = sources, ports + targets
        leaf, other = self.leaf_of_port[sources], self.leaf_of_port[targets]
        up = np.flatnonzero(leaf != other)
        leaf, other = leaf[up], other[up]
        spine, core = self._ways(sources[up], targets[up])
        hops[up, 1] = first_leaf + leaf * self.spines + spine
        hops[up, 4] = first_leaf + leaf_links + other * self.spines + spine
        pod, far_pod = leaf // self.leaves_per_pod, other // self.leaves_per_pod
        top = np.flatnonzero(pod != far_pod)
        here = (pod[top] * self.spines + spine[top]) * self.cores + core[top]
        there = (far_pod[top] * self.spines + spine[top]) * self.cores + core[top]
        hops[up[top], 2], hops[up[top], 3] = first_spine + here, first_spine + spine_links + there
        taken = hops != NO_LINK
        return Csr(offsets_of(taken.sum(axis=1)), hops[taken].astype(np.int32))

    def _ways(self, sources: Int64, targets: Int64) -> tuple[Int64, Int64]:
        """Return the spine, and the core of that spine, by which each pair goes."""
        spines, cores = max(1, self.spines), max(1, self.cores)
        if self.hashed:
            ends = sources.astype(np.uint64) * np.uint64(self.num_ports) + targets.astype(np.uint64)
            drawn = (mix(ends) % np.uint64(spines * cores)).astype(np.int64)
            return drawn % spines, drawn // spines
        leaf = self.leaf_of_port[targets] % self.leaves_per_pod
        return self.place_of_port[targets] % spines, leaf % cores


def _divided(numbers: Int64, by: int) -> tuple[Int64, Int64]:
    return (numbers, numbers) if by == 0 else (numbers // by, numbers % by)
