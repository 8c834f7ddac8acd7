"""Direct exchange: every member sends to every other, and nobody passes anything on.

Rounds go by distance, so that in each everybody sends once and receives once; rounds inside
hosts and rounds between them use other links and run side by side.
"""

from __future__ import annotations

import numpy as np

from flexsim.collectives.flows import Flows, Plan, flows, in_turn
from flexsim.collectives.layouts import hosts_and_members
from flexsim.collectives.program import Int64

_LEGS = {"all-reduce": (True, False), "reduce-scatter": (True,), "all-gather": (False,)}
"""Whether receivers add, for each exchange."""


def all_to_all(layout: tuple[int, ...]) -> Plan:
    """Return every member's own message to every other."""
    step, source, target = _pairs(layout)
    n = int(source.max(initial=0)) + 1
    return Plan(_sent(step, source, target, source * n + target, False), n, np.arange(n))


def gather_or_scatter(collective: str, layout: tuple[int, ...]) -> Plan:
    """Return all-gather, reduce-scatter, or an all-reduce of both, everything in one hop."""
    step, source, target = _pairs(layout)
    part = {True: target, False: source}
    legs = [_sent(step, source, target, part[sums], sums) for sums in _LEGS[collective]]
    n = int(source.max(initial=0)) + 1
    return Plan(in_turn(legs), n, np.arange(n))


def hierarchical_all_to_all(layout: tuple[int, ...]) -> Plan:
    """Return exchanges inside hosts, then between equal places of hosts.

    The first collects at each member what its host has for its place on other hosts, so that
    all traffic between hosts stays on its rail (NCCL calls it PXN).
    """
    hosts, k = hosts_and_members(layout)
    n = hosts * k
    return Plan(in_turn([_inside(hosts, k), _between(hosts, k)]), n, np.arange(n))


def _pairs(layout: tuple[int, ...]) -> tuple[Int64, Int64, Int64]:
    """Return round, source and target of all pairs; a round has equal distances."""
    hosts, k = hosts_and_members(layout)
    dh, dm, h, m = np.ogrid[:hosts, :k, :hosts, :k]
    round_ = np.where(dh == 0, dm - 1, (dh - 1) * k + dm)
    target = (h + dh) % hosts * k + (m + dm) % k
    columns = np.broadcast_arrays(round_, h * k + m, target)
    step, source, target = (column.ravel() for column in columns)
    real = source != target
    return step[real], source[real], target[real]


def _sent(step: Int64, source: Int64, target: Int64, part: Int64, sums: bool) -> Flows:
    return flows(
        step=step,
        since=0,
        until=0,
        channel=0,
        source=source,
        target=target,
        first_part=part,
        part_stride=1,
        parts=1,
        sums=int(sums),
    )


def _inside(hosts: int, k: int) -> Flows:
    d, h, m = np.ogrid[: k - 1, :hosts, :k]
    source, place = h * k + m, (m + d + 1) % k
    return flows(
        step=d,
        since=0,
        until=0,
        channel=0,
        source=source,
        target=h * k + place,
        first_part=source * hosts * k + place,
        part_stride=k,
        parts=hosts,
        sums=0,
    )


def _between(hosts: int, k: int) -> Flows:
    d, h, m = np.ogrid[: hosts - 1, :hosts, :k]
    target = (h + d + 1) % hosts * k + m
    return flows(
        step=d,
        since=0,
        until=0,
        channel=0,
        source=h * k + m,
        target=target,
        first_part=h * k * hosts * k + target,
        part_stride=hosts * k,
        parts=k,
        sums=0,
    )
