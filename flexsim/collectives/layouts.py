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
    c, h, t = np.ogrid[:k, :hosts, :k]
    inside = np.where(h % 2 == 0, c + t, c - 1 - t) % k
    return np.asarray((h * k + inside).reshape(k, hosts * k), np.int64)
