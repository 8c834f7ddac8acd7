"""What the members of a group send one another at once, for the algorithms priced that way.

An algorithm is a run of exchanges. In an exchange all flows run at once, and again and again;
a *lane* is a set of links of its own, such as a dimension of a torus. A share of the message
takes ``fraction[share, lane]`` of it over every flow of the lane, in ``hops[share, lane]``
steps; the exchange ends when its last share has passed all lanes. (A row may also stand for
all shares on one lane.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives.layouts import hosts_and_members, ring_neighbours
from flexsim.collectives.tree import PIECES, broadcast_parents, depths

Float = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Exchange:
    """Flows between members (positions in the order of the layout), a row a flow."""

    source: Ints
    target: Ints
    lane: Ints
    fraction: Float
    hops: Float
    in_a_ring: bool = False
    """Whether a part passes all flows in turn, so that their mean latency counts."""

    count: Ints | None = None
    """How many flows each row stands for, where that is not one."""


Exchanges = Callable[[int, tuple[int, ...]], list[Exchange]]
"""From the number of passes (2 for an all-reduce, else 1) and the layout."""


def bidirectional_ring(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return both directions of all rings, each with its share of the message."""
    source, target, count = ring_neighbours(layout)
    return [_both_ways(passes, (source, target, count), int(count.sum()) // math.prod(layout))]


def multi_ring(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return both directions of several rings; the layout is ``(rings, members)``."""
    orders = np.arange(math.prod(layout)).reshape(layout)
    flows = orders.ravel(), np.roll(orders, -1, axis=1).ravel(), np.ones(orders.size, np.int64)
    return [_both_ways(passes, flows, layout[0])]


def _both_ways(passes: int, flows: tuple[Ints, Ints, Ints], num_rings: int) -> Exchange:
    """Return both directions of rings, from sources, targets and the rings that each pair is on."""
    source, target, count = flows
    n = int(count.sum()) // num_rings
    steps = passes * (n - 1)
    ends = np.concatenate([source, target]), np.concatenate([target, source])
    one_way = _exchange(*ends, steps / n / (2 * num_rings), steps, in_a_ring=True)
    return replace(one_way, count=np.tile(count, 2))


def halving_doubling(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return the exchanges at distances 1, 2, 4, ..., of halves, quarters, ..."""
    n = math.prod(layout)
    member = np.arange(n)
    distances = [1 << bit for bit in range(n.bit_length() - 1)]
    return [_exchange(member, member ^ d, passes / (2 * d), passes) for d in distances]


def direct(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return everybody's part to everybody else at once."""
    n = math.prod(layout)
    source, target = np.divmod(np.arange(n * n), n)
    other = source != target
    return [_exchange(source[other], target[other], passes / n, passes)]


def hierarchical_all_to_all(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return exchanges of all pairs inside hosts, then of all pairs on each rail."""
    hosts, k = hosts_and_members(layout)
    members = np.arange(hosts * k).reshape(hosts, k)
    inside = _pairs(members)
    between = _pairs(members.T)
    legs = [_exchange(*inside, 1 / k, 1), _exchange(*between, 1 / hosts, 1)]
    return [leg for leg in legs if len(leg.source)]


def tree_broadcast(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return all edges of both trees, each with half of the message, in pieces."""
    n = math.prod(layout)
    above = broadcast_parents(n)
    levels = max(int(depths(parent).max()) for parent in above)
    ends = above[:, 1:].ravel(), np.tile(np.arange(1, n), 2)
    return [_exchange(*ends, (PIECES + levels - 1) / PIECES / 2, levels)]


def torus(passes: int, layout: tuple[int, ...]) -> list[Exchange]:
    """Return the rings of all dimensions, both ways; share j begins with dimension j."""
    n, num_dims = math.prod(layout), len(layout)
    here = np.stack(np.unravel_index(np.arange(n), layout))
    ends = [_neighbours(here, layout, dim, way) for dim in range(num_dims) for way in (1, -1)]
    fraction = np.empty((num_dims, num_dims))
    for share in range(num_dims):
        rest = passes / (2 * num_dims)
        for dim in (*range(share, num_dims), *range(share)):
            fraction[share, dim] = rest * (layout[dim] - 1) / layout[dim]
            rest /= layout[dim]
    # Where sizes differ, shares meet: a dimension then takes as long as all of them on it.
    fraction = np.concatenate([fraction, np.diag(fraction.sum(axis=0))])
    hops = np.tile(passes * (np.array(layout, np.float64) - 1), (2 * num_dims, 1))
    lane = np.repeat(np.arange(num_dims), 2 * n)
    source = np.tile(np.arange(n), 2 * num_dims)
    return [Exchange(source, np.concatenate(ends), lane, fraction, hops)]


EXCHANGES: Mapping[str, Exchanges] = {
    "bidirectional-ring": bidirectional_ring,
    "multi-ring": multi_ring,
    "halving-doubling": halving_doubling,
    "direct": direct,
    "torus": torus,
}
"""What sums and gathers exchange, by algorithm."""


def exchanges_of(collective: str, algorithm: str, layout: tuple[int, ...]) -> list[Exchange]:
    """Return the exchanges of one collective by one algorithm in a layout."""
    passes = 2 if collective == "all-reduce" else 1
    special = {
        ("all-to-all", "hierarchical"): hierarchical_all_to_all,
        ("broadcast", "tree"): tree_broadcast,
    }
    return (special.get((collective, algorithm)) or EXCHANGES[algorithm])(passes, layout)


def _exchange(
    source: Ints, target: Ints, fraction: float, hops: int, *, in_a_ring: bool = False
) -> Exchange:
    lane = np.zeros(len(source), np.int64)
    one = np.ones((1, 1))
    return Exchange(source, target, lane, one * fraction, one * hops, in_a_ring)


def _pairs(blocks: Ints) -> tuple[Ints, Ints]:
    """Return all pairs of different members of each row."""
    shape = (*blocks.shape, blocks.shape[1])
    source = np.broadcast_to(blocks[:, :, None], shape).ravel()
    target = np.broadcast_to(blocks[:, None, :], shape).ravel()
    return source[source != target], target[source != target]


def _neighbours(here: Ints, layout: tuple[int, ...], dim: int, way: int) -> Ints:
    there = here.copy()
    there[dim] = (there[dim] + way) % layout[dim]
    return np.asarray(np.ravel_multi_index(tuple(there), layout), np.int64)
