"""Roads: the distinct routes of messages, and what one flow alone gets of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication
from flexsim.network.score_kernel import Roads
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64

Float64 = NDArray[np.float64]

COLLECTIVE, TRANSFER, IN_NETWORK = range(3)
"""Sorts of flows: links are not equally good for all."""

_LIKE = ("ring", "star", "in-network")
"""An algorithm whose flows are of each sort; a star's are plain transfers."""


def sort_of(algorithm: str) -> int:
    """Return the sort of an algorithm's flows; an empty name stands for a transfer's."""
    return {"": TRANSFER, "star": TRANSFER, "in-network": IN_NETWORK}.get(algorithm, COLLECTIVE)


def road_key(sort: int, sources: Int64, targets: Int64, num_devices: int) -> Int64:
    """Return a number for every road, in order of (sort, source, target)."""
    return (sort * num_devices + sources.astype(np.int64)) * num_devices + targets


def find_roads(communication: Communication, keys: Int64) -> Roads:
    """Return the roads of distinct keys, in their order."""
    graph = communication.device_graph
    rest, targets = np.divmod(keys, graph.num_devices)
    sort, sources = np.divmod(rest, graph.num_devices)
    routes = graph.routes(sources, targets)
    table = [communication.flow_links(algorithm) for algorithm in _LIKE]
    rates = np.stack([one.bandwidth_bytes_per_s for one in table])
    late = np.stack([one.step_latency_ns for one in table])
    sort_of_link = sort[routes.rows]
    rate = rates[sort_of_link, routes.values]
    own_ns = communication.links.latency_ns[routes.values]
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
    links = communication.links
    best: Float64 = np.maximum(
        links.collective_bandwidth_bytes_per_s, links.transfer_bandwidth_bytes_per_s
    )
    return best


def _by_road(combine: np.ufunc, values: Float64, routes: Csr) -> Float64:
    """Return ``combine`` over the links of each road; a road has one at least."""
    found: Float64 = combine.reduceat(values, routes.offsets[:-1]) if len(values) else values
    return found


def _at_least_1(nanoseconds: Float64) -> Int64:
    return np.maximum(np.rint(nanoseconds), 1).astype(np.int64)
