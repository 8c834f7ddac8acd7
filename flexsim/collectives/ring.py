"""Rings: every member passes parts on to the next one, in one direction or in both.

Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
2009. An all-reduce is a reduce-scatter and an all-gather, each once round the ring.
"""

from __future__ import annotations

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn
from flexsim.collectives.layouts import ring_orders
from flexsim.collectives.program import Int64

FORWARD = 1
BACKWARD = -1
CHAIN_PIECES = 64
"""Pieces in which a broadcast streams along its chain."""

_PASSES = {"all-reduce": (True, False), "reduce-scatter": (True,), "all-gather": (False,)}
"""Whether receivers add, for each time round."""


def ring(
    collective: str, layout: tuple[int, ...], directions: tuple[int, ...] = (FORWARD,)
) -> Plan:
    """Return all-reduce, all-gather or reduce-scatter on rings in each of ``directions``."""
    orders = np.concatenate([ring_orders(layout)[:, ::way] for way in directions])
    return _on_rings(collective, orders)


def multi_ring(collective: str, layout: tuple[int, ...]) -> Plan:
    """Return the same on several rings of the same members, each in both directions.

    The layout is ``(rings, members)``: every ring has positions of its own, in its own order.
    """
    orders = np.arange(layout[0] * layout[1], dtype=np.int64).reshape(layout)
    return _on_rings(collective, np.concatenate([orders, orders[:, ::BACKWARD]]))


def _on_rings(collective: str, orders: Int64) -> Plan:
    rounds = [_round(orders, reducing) for reducing in _PASSES[collective]]
    return Plan(in_turn(rounds), orders.size, orders.ravel())


def _round(orders: Int64, reducing: bool) -> Flows:
    """Return one way round: at step s, position r passes on the part it got at step s - 1.

    In ring c, part ``c · n + r`` belongs to the member at position r.
    """
    num_rings, n = orders.shape
    s, c, r = np.ogrid[: n - 1, :num_rings, :n]
    return flows(
        step=s,
        channel=c,
        source=orders[c, r],
        target=orders[c, (r + 1) % n],
        first_part=c * n + (r - s - reducing) % n,
        part_stride=1,
        parts=1,
        sums=int(reducing),
    )


def chain(layout: tuple[int, ...]) -> Plan:
    """Return a broadcast from member 0 along every ring, piece after piece."""
    orders = ring_orders(layout)
    num_rings, n = orders.shape
    start = np.argmin(orders, axis=1)
    c, r = np.ogrid[:num_rings, : n - 1]
    rows = flows(
        step=r,
        channel=c,
        source=orders[c, (start[c] + r) % n],
        target=orders[c, (start[c] + r + 1) % n],
        first_part=c,
        part_stride=1,
        parts=1,
        sums=0,
    )
    return Plan(rows, num_rings, np.zeros(num_rings, np.int64), num_pieces=CHAIN_PIECES)
