"""Prices that grow linearly with the message: what a byte takes, and what none takes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.exchanges import Exchange, exchanges_of
from flexsim.cost.link_table import LinkTable
from flexsim.cost.placement import Placed
from flexsim.cost.rings import shared_bandwidth, step_latency
from flexsim.cost.tori import NO_SHAPE
from flexsim.device_graph.graph import DeviceGraph

Float = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lines:
    """A value a group; infinite for a group that the algorithm does not serve."""

    s_per_byte: Float
    latency_ns: Float


def find_lines(
    graph: DeviceGraph, table: LinkTable, placed: Placed, collective: str, algorithm: str
) -> Lines:
    """Return the lines of one algorithm on groups, all of them concurrent.

    The flows of an exchange share links with those of the same exchange of all other groups.
    """
    rows_of = defaultdict(list)
    for row, layout in enumerate(placed.layouts):
        rows_of[layout].append(row)
    total = Lines(np.zeros(len(placed.layouts)), np.zeros(len(placed.layouts)))
    unserved = rows_of.pop(NO_SHAPE, [])
    total.s_per_byte[unserved] = total.latency_ns[unserved] = np.inf
    plans = [
        (np.array(rows), exchanges_of(collective, algorithm, layout))
        for layout, rows in rows_of.items()
    ]
    for at in range(max((len(plan) for _, plan in plans), default=0)):
        here = [(rows, plan[at]) for rows, plan in plans if at < len(plan)]
        _add(total, graph, table, placed.devices, here)
    return total


def _add(
    total: Lines,
    graph: DeviceGraph,
    table: LinkTable,
    devices: Ints,
    exchanges: list[tuple[Ints, Exchange]],
) -> None:
    """Add what one exchange of every group takes."""
    sources = [devices[rows][:, one.source].ravel() for rows, one in exchanges]
    targets = [devices[rows][:, one.target].ravel() for rows, one in exchanges]
    routes = graph.routes(np.concatenate(sources), np.concatenate(targets))
    bandwidth = shared_bandwidth(routes, table.collective_bandwidth_bytes_per_s, _counts(exchanges))
    latency = step_latency(routes, table)
    first = 0
    for (rows, one), source in zip(exchanges, sources, strict=True):
        here = slice(first, first + len(source))
        slowest = _by_lane(np.maximum, 1 / bandwidth[here].reshape(len(rows), -1), one)
        latest = _latency(latency[here].reshape(len(rows), -1), one)
        total.s_per_byte[rows] += (slowest @ one.fraction.T).max(axis=1)
        total.latency_ns[rows] += (latest @ one.hops.T).max(axis=1)
        first += len(source)


def _counts(exchanges: list[tuple[Ints, Exchange]]) -> Ints | None:
    """Return how many flows every flow of all groups stands for; None for one each."""
    if all(one.count is None for _, one in exchanges):
        return None
    counts = [np.ones_like(one.source) if one.count is None else one.count for _, one in exchanges]
    rows = [len(rows) for rows, _ in exchanges]
    return np.concatenate([np.tile(count, n) for count, n in zip(counts, rows, strict=True)])


def _latency(latency_ns: Float, one: Exchange) -> Float:
    if one.in_a_ring:
        mean = np.average(latency_ns, axis=1, weights=one.count, keepdims=True)
        return np.asarray(mean, np.float64)
    return _by_lane(np.maximum, latency_ns, one)


def _by_lane(combine: np.ufunc, values: Float, one: Exchange) -> Float:
    """Return ``combine`` over the flows of every lane; flows stand in the order of lanes."""
    starts = np.flatnonzero(np.diff(one.lane, prepend=-1))
    return np.asarray(combine.reduceat(values, starts, axis=1), np.float64)
