"""Stars: sums that are made on one device, as software without rings makes them.

The members of a host send their whole buffers to the host's first member, which adds them up;
the first members of all hosts send their sums to the first of these; and the result goes back
the same two ways. A group with unequal members a host is one star of all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.link_table import LinkTable
from flexsim.cost.rings import Flows, Ints, ordered_by_host, route_latency, shared_bandwidth
from flexsim.device_graph.graph import DeviceGraph

Float = NDArray[np.float64]


class Stars(NamedTuple):
    """What an all-reduce over each of some concurrent stars takes."""

    s_per_byte: Float
    latency_ns: Float


def find_stars(graph: DeviceGraph, table: LinkTable, groups: NDArray[np.integer]) -> Stars:
    """Return the stars of ``groups`` ([K, g] device ids), all of them concurrent.

    Copies that share a link share its bandwidth; the four legs follow one another.
    """
    ordered, num_hosts = ordered_by_host(graph, groups)
    count = len(ordered)
    s_per_byte, latency_ns = np.zeros(count), np.zeros(count)
    for group, members, center in _gathers(ordered, num_hosts):
        for source, target in ((members, center), (center, members)):
            leg = _leg(graph, table, Flows(group, source, target), count)
            s_per_byte += leg.s_per_byte
            latency_ns += leg.latency_ns
    return Stars(s_per_byte, latency_ns)


def _gathers(ordered: Ints, num_hosts: Ints) -> list[tuple[Ints, Ints, Ints]]:
    """Return who sends to whom inside hosts, then between them: group, sender, receiver."""
    per_host = ordered.shape[1] // num_hosts
    found: list[list[tuple[Ints, Ints, Ints]]] = [[], []]
    for size in np.unique(per_host):
        rows = np.flatnonzero(per_host == size)
        blocks = ordered[rows].reshape(len(rows), -1, int(size))
        firsts = blocks[:, :, :1]
        found[0].append(_spokes(rows, blocks[:, :, 1:], firsts))
        found[1].append(_spokes(rows, firsts[:, 1:], firsts[:, :1]))
    return [_together(parts) for parts in found]


def _spokes(rows: Ints, members: Ints, center: Ints) -> tuple[Ints, Ints, Ints]:
    each = members.shape[1] * members.shape[2]
    return np.repeat(rows, each), members.ravel(), np.broadcast_to(center, members.shape).ravel()


def _together(parts: list[tuple[Ints, Ints, Ints]]) -> tuple[Ints, Ints, Ints]:
    group, source, target = (np.concatenate(column) for column in zip(*parts, strict=True))
    return group, source, target


def _leg(graph: DeviceGraph, table: LinkTable, flows: Flows, count: int) -> Stars:
    """Return what the slowest copy of every group takes."""
    routes = graph.routes(flows.source, flows.target)
    bandwidth = shared_bandwidth(routes, table.transfer_bandwidth_bytes_per_s)
    latency = route_latency(routes, table, table.transfer_latency_ns)
    s_per_byte, latency_ns = np.zeros(count), np.zeros(count)
    np.maximum.at(s_per_byte, flows.group, 1 / bandwidth)
    np.maximum.at(latency_ns, flows.group, latency)
    return Stars(s_per_byte, latency_ns)
