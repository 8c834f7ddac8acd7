"""What a layout says: hosts and members a host, or the sizes of a torus."""

from __future__ import annotations

import math

import numpy as np

from flexsim.collectives.program import Int64


def hosts_and_members(layout: tuple[int, ...]) -> tuple[int, int]:
    """Return the hosts and the members of each; a flat layout is one host."""
    return (1, layout[0]) if len(layout) == 1 else (layout[0], math.prod(layout[1:]))


def ring_orders(layout: tuple[int, ...]) -> Int64:
    """Return the rings of a layout as rows of members in ring order.

    Between hosts of k members each there are k rings, each with 1/k of the message. Ring c
    enters every other host at member c and leaves it at member c - 1, and the hosts between
    in the opposite order, so that it crosses from a member to the same member of the next
    host, and no two rings cross on the same network card.
    """
    hosts, k = hosts_and_members(layout)
    if hosts == 1 or k == 1:
        return np.arange(hosts * k, dtype=np.int64)[None]
    return _entered_at(np.arange(k)[:, None, None], hosts, k).reshape(k, hosts * k)


def ring_neighbours(layout: tuple[int, ...]) -> tuple[Int64, Int64, Int64]:
    """Return who sends to whom on any ring of a layout, and on how many of its rings.

    Ring c is ring 0 with every member moved on by c inside its host, so that what ring 0 does
    k - 1 times, from a member to the next one, each of the k members does on k - 1 rings.
    """
    hosts, k = hosts_and_members(layout)
    if hosts == 1 or k == 1:
        ring = np.arange(hosts * k, dtype=np.int64)
        return ring, np.roll(ring, -1), np.ones_like(ring)
    here = _entered_at(np.zeros((1, 1, 1), np.int64), hosts, k).ravel()
    there = np.roll(here, -1)
    steps = np.stack([here // k, there // k, (there - here) % k], axis=1)
    kinds, count = np.unique(steps, axis=0, return_counts=True)
    member = np.arange(k)
    source = kinds[:, :1] * k + member
    target = kinds[:, 1:2] * k + (member + kinds[:, 2:]) % k
    return source.ravel(), target.ravel(), np.repeat(count, k)


def _entered_at(c: Int64, hosts: int, k: int) -> Int64:
    """Return the members that rings pass, [c, host, step]; they enter even hosts at ``c``."""
    _, h, t = np.ogrid[:1, :hosts, :k]
    inside = np.where(h % 2 == 0, c + t, c - 1 - t) % k
    return np.asarray(h * k + inside, np.int64)
