"""Roads: the distinct routes of messages, and what one flow alone gets of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.network.score_kernel import Roads
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64

Float64 = NDArray[np.float64]

COLLECTIVE, TRANSFER, IN_SWITCH = range(3)
"""Sorts of flows: links are not equally good for all."""


@dataclass(frozen=True, eq=False)
class _Sort:
    """What links give one sort of flows, and how late beside their own latency."""

    bandwidth_bytes_per_s: Float64
    latency_ns: Float64


def road_key(sort: int, sources: Int64, targets: Int64, num_devices: int) -> Int64:
    """Return a number for every road, in order of (sort, source, target)."""
    return (sort * num_devices + sources.astype(np.int64)) * num_devices + targets


def find_roads(communication: Communication, keys: Int64) -> Roads:
    """Return the roads of distinct keys, in their order."""
    graph, links = communication.device_graph, communication.links
    rest, targets = np.divmod(keys, graph.num_devices)
    sort, sources = np.divmod(rest, graph.num_devices)
    routes = graph.routes(sources, targets)
    table = _sorts(communication)
    rates = np.stack([one.bandwidth_bytes_per_s for one in table])
    late = np.stack([one.latency_ns for one in table])
    sort_of_link = sort[routes.rows]
    rate = rates[sort_of_link, routes.values]
    own_ns = links.latency_ns[routes.values]
    extra_ns = _by_road(np.maximum, late[sort_of_link, routes.values], routes)
    total_ns = _by_road(np.add, own_ns, routes) + extra_ns
    hop_ns = own_ns.copy()
    hop_ns[routes.offsets[1:] - 1] += extra_ns
    return Roads(
        routes.offsets,
        routes.values,
        rate,
        _at_least_1(hop_ns),
        _by_road(np.minimum, rate, routes),
        _at_least_1(total_ns),
    )


def link_bandwidth(communication: Communication) -> Float64:
    """Return what every link carries for all its flows: as much as for its best sort."""
    table = _sorts(communication)
    best: Float64 = np.maximum(
        table[COLLECTIVE].bandwidth_bytes_per_s, table[TRANSFER].bandwidth_bytes_per_s
    )
    return best


def _sorts(communication: Communication) -> tuple[_Sort, _Sort, _Sort]:
    links = communication.links
    in_switch = links.in_switch_bandwidth_bytes_per_s
    able = np.where(in_switch > 0, in_switch, np.inf)
    return (
        _Sort(links.collective_bandwidth_bytes_per_s, links.step_latency_ns),
        _Sort(links.transfer_bandwidth_bytes_per_s, links.transfer_latency_ns),
        _Sort(np.minimum(able, links.collective_bandwidth_bytes_per_s), links.in_switch_latency_ns),
    )


def _by_road(combine: np.ufunc, values: Float64, routes: Csr) -> Float64:
    """Return ``combine`` over the links of each road; a road has one at least."""
    found: Float64 = combine.reduceat(values, routes.offsets[:-1]) if len(values) else values
    return found


def _at_least_1(nanoseconds: Float64) -> Int64:
    return np.maximum(np.rint(nanoseconds), 1).astype(np.int64)
