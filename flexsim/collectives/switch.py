"""Sums that are made in one place: in a switch, or on one member."""

from __future__ import annotations

import math

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn
from flexsim.collectives.layouts import hosts_and_members
from flexsim.collectives.program import Int64


def in_network(layout: tuple[int, ...]) -> Plan:
    """Return every member's whole message up to the switch and the sum down, once.

    A flow from each member to the next stands for both: what it takes of the links up from
    its source and down to its target is what the switch takes of them.
    """
    n = math.prod(layout)
    member = np.arange(n, dtype=np.int64)
    rows = _whole(member, (member + 1) % n, False)
    return Plan(rows, 1, np.zeros(1, np.int64), in_switch=True)


def star(layout: tuple[int, ...]) -> Plan:
    """Return whole messages to each host's first member, on to the first host, and back."""
    hosts, k = hosts_and_members(layout)
    h, m = (axis.ravel() for axis in np.mgrid[:hosts, 1:k])
    host = np.arange(1, hosts, dtype=np.int64)
    spokes = [(h * k + m, h * k), (host * k, np.zeros_like(host))]
    legs = [_whole(low, high, True) for low, high in spokes]
    legs += [_whole(high, low, False) for low, high in reversed(spokes)]
    return Plan(in_turn(legs), 1, np.zeros(1, np.int64))


def _whole(source: Int64, target: Int64, sums: bool) -> Flows:
    return flows(
        step=np.zeros_like(source),
        channel=0,
        source=source,
        target=target,
        first_part=0,
        part_stride=1,
        parts=1,
        sums=int(sums),
    )
