"""Double binary trees: two trees that each carry half, in which nobody is inside both.

Sanders, Speck and Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and
scan", 2009; NCCL has them since 2.4. Messages stream through them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn, joined
from flexsim.collectives.hierarchical import hierarchical, inside
from flexsim.collectives.layouts import hosts_and_members
from flexsim.collectives.program import Int64

PIECES = 32
"""Pieces in which each tree carries its half."""


def tree_all_reduce(layout: tuple[int, ...]) -> Plan:
    """Return rings inside hosts and, for each member's share, two trees of the hosts.

    Tree t has the parts from ``t · k`` on, of which rail m carries part m. In one host there
    is nothing for trees to do, as in NCCL.
    """
    hosts, k = hosts_and_members(layout)
    if hosts == 1:
        return hierarchical("all-reduce", layout)
    rows = [_on_tree(_piece(k, parent), tree, k) for tree, parent in enumerate(two_trees(hosts))]
    return Plan(joined(rows), 2 * k, np.zeros(2 * k, np.int64), num_pieces=PIECES)


def tree_broadcast(layout: tuple[int, ...]) -> Plan:
    """Return a broadcast from member 0, which sends half to each root of two trees."""
    above = broadcast_parents(math.prod(layout))
    rows = [_on_tree(_down(parent, 1), tree, 1) for tree, parent in enumerate(above)]
    return Plan(joined(rows), 2, np.zeros(2, np.int64), num_pieces=PIECES)


def _on_tree(rows: Flows, tree: int, parts: int) -> Flows:
    channel = np.full(len(rows), tree)
    return replace(rows, channel=channel, first_part=rows.first_part + tree * parts)


def broadcast_parents(n: int) -> Int64:
    """Return from whom each of ``n`` members has each half; member 0 is above both roots."""
    roots = np.arange(n - 1)
    above = [np.where(tree == roots, 0, tree + 1) for tree in two_trees(n - 1)]
    return np.pad(np.stack(above), ((0, 0), (1, 0)))


def two_trees(n: int) -> tuple[Int64, Int64]:
    """Return the parent of each of ``n`` vertices in both trees; a root is its own parent.

    The second is the first mirrored, or for odd ``n`` shifted by one.
    """
    first = parents(n)
    second = n - 1 - first[::-1] if n % 2 == 0 else np.roll((first + 1) % n, 1)
    return first, second


def parents(n: int) -> Int64:
    """Return the parent of each of ``n`` vertices in the in-order tree whose root is 0.

    A vertex whose lowest set bit is b is below the one with b cleared and the next bit set;
    where that is outside, below the one with b cleared.
    """
    here = np.arange(n, dtype=np.int64)
    low = here & -here
    above = (here ^ low) | (low << 1)
    return np.asarray(np.where(above < n, above, here ^ low), np.int64)


def depths(parent: Int64) -> Int64:
    """Return how far each vertex is from the root."""
    depth, here = np.zeros(len(parent), np.int64), np.arange(len(parent))
    while (parent[here] != here).any():
        depth += parent[here] != here
        here = parent[here]
    return depth


def _piece(k: int, parent: Int64) -> Flows:
    hosts = len(parent)
    legs = [_up(parent, k), _down(parent, k)]
    return in_turn([_share(hosts, k, True), *legs, _share(hosts, k, False)])


def _share(hosts: int, k: int, reducing: bool) -> Flows:
    return inside(hosts, k, 1, reducing)


def _up(parent: Int64, k: int) -> Flows:
    """Return the sums that go to the root, from the deepest on."""
    depth = depths(parent)
    return _edges(parent, k, depth.max(initial=0) - depth, up=True)


def _down(parent: Int64, k: int) -> Flows:
    return _edges(parent, k, depths(parent) - 1, up=False)


def _edges(parent: Int64, k: int, step: Int64, *, up: bool) -> Flows:
    child = np.flatnonzero(parent != np.arange(len(parent)))[:, None]
    m = np.arange(k, dtype=np.int64)
    low, high = child * k + m, parent[child] * k + m
    return flows(
        step=step[child],
        since=0,
        until=step[child],
        channel=0,
        source=low if up else high,
        target=high if up else low,
        first_part=m,
        part_stride=1,
        parts=1,
        sums=int(up),
    )
