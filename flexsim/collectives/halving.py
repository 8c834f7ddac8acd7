"""Recursive halving and doubling: pairs at distances 1, 2, 4, ... exchange halves.

Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in
MPICH", 2005. The largest exchanges are between neighbours, who are the nearest.
"""

from __future__ import annotations

import math

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn
from flexsim.errors import FlexSimError

_LEGS = {"all-reduce": (True, False), "reduce-scatter": (True,), "all-gather": (False,)}
"""Whether receivers add: halving, and doubling."""


def halving_doubling(collective: str, layout: tuple[int, ...]) -> Plan:
    """Return all-reduce, reduce-scatter (halving) or all-gather (doubling)."""
    n = math.prod(layout)
    check_power_of_two(collective, n)
    legs = [_exchanges(n, reducing) for reducing in _LEGS[collective]]
    return Plan(in_turn(legs), n, np.arange(n))


def check_power_of_two(collective: str, num_members: int) -> None:
    """Raise :class:`FlexSimError` where recursive halving does not come out even."""
    if num_members & (num_members - 1):
        least = 1 << num_members.bit_length() - 1
        raise FlexSimError(
            f"{collective} by halving-doubling needs a power of two members, not {num_members}; "
            f"choose from groups of {least} or {2 * least}, or another algorithm"
        )


def _exchanges(n: int, reducing: bool) -> Flows:
    """Return exchanges of the parts whose low bits are the receiver's, or are the sender's."""
    rounds = n.bit_length() - 1
    round_, member = np.ogrid[:rounds, :n]
    distance = 1 << (round_ if reducing else rounds - 1 - round_)
    partner = member ^ distance
    return flows(
        step=round_,
        since=0,
        until=round_,
        channel=0,
        source=member,
        target=partner,
        first_part=(partner if reducing else member) % (2 * distance),
        part_stride=2 * distance,
        parts=n // (2 * distance),
        sums=int(reducing),
    )
