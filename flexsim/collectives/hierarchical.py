"""Hierarchical collectives: a ring inside every host, and a ring of the hosts on every rail.

Member (h, m) is the m-th of host h. The message is k shares of ``hosts`` parts: inside hosts,
whole shares go round; rail m carries the parts of share m.
"""

from __future__ import annotations

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn
from flexsim.collectives.layouts import hosts_and_members
from flexsim.collectives.program import Int64

_LEGS = {
    "all-reduce": ((True, True), (False, True), (False, False), (True, False)),
    "reduce-scatter": ((True, True), (False, True)),
    "all-gather": ((False, False), (True, False)),
}
"""For each ring: whether it is inside the hosts, and whether receivers add."""


def hierarchical(collective: str, layout: tuple[int, ...]) -> Plan:
    """Return reduce-scatter, all-gather, or an all-reduce of both."""
    hosts, k = hosts_and_members(layout)
    legs = [
        inside(hosts, k, hosts, reducing) if local else _between(hosts, k, reducing)
        for local, reducing in _LEGS[collective]
    ]
    share, part = np.divmod(np.arange(hosts * k), hosts)
    return Plan(in_turn(legs), hosts * k, part * k + share)


def inside(hosts: int, k: int, parts: int, reducing: bool) -> Flows:
    """Return one time round the rings inside hosts, with shares of ``parts`` parts."""
    s, h, m = np.ogrid[: k - 1, :hosts, :k]
    share = (m - s - reducing) % k
    return _round(s, h * k + m, h * k + (m + 1) % k, share * parts, parts, reducing)


def _between(hosts: int, k: int, reducing: bool) -> Flows:
    s, h, m = np.ogrid[: hosts - 1, :hosts, :k]
    part = m * hosts + (h - s - reducing) % hosts
    return _round(s, h * k + m, (h + 1) % hosts * k + m, part, 1, reducing)


def _round(
    step: Int64, source: Int64, target: Int64, first_part: Int64, parts: int, reducing: bool
) -> Flows:
    return flows(
        step=step,
        channel=0,
        source=source,
        target=target,
        first_part=first_part,
        part_stride=1,
        parts=parts,
        sums=int(reducing),
    )
