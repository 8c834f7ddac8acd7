"""The fat tree between the hosts of a cluster: who hangs where, and what its links carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.columns import LinkBlock, both_ways, joined_links
from flexsim.device_graph.fat_tree import FatTree
from flexsim.errors import DeviceGraphError

if TYPE_CHECKING:
    from flexsim.device_graph.cluster import Fleet
    from flexsim.device_graph.graph import Links
    from flexsim.device_graph.schema import NetworkTable
    from flexsim.device_graph.schema_fat_tree import FatTreeTable, HostType

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Uplinks:
    """How many links lead up from a leaf and from a spine, and what each carries."""

    spines: int
    cores: int
    leaf_bandwidth_bytes_per_s: float
    spine_bandwidth_bytes_per_s: float


def plan_fat_tree(fleet: Fleet, table: FatTreeTable | None, source: str) -> FatTree:
    """Return the fat tree that joins all ports; without a table, one that never blocks.

    NIC n of a host hangs on rail ``n mod rails``: a leaf of its own in each unit of hosts. A unit
    is as many hosts as the leaves have room for.
    """
    rails = max(kind.rails for kind in fleet.tables)
    unit_of_host = _units(fleet, rails, table, source)
    nics = np.concatenate([np.arange(n) for n in np.diff(fleet.first_port)])
    leaf_of_port = np.repeat(unit_of_host, np.diff(fleet.first_port)) * rails + nics % rails
    num_leaves = int(unit_of_host[-1] + 1) * rails
    leaves_per_pod = (table.leaves_per_pod if table else None) or num_leaves
    uplinks = _uplinks(fleet, table, leaf_of_port, leaves_per_pod)
    return FatTree(
        leaf_of_port=leaf_of_port,
        place_of_port=_places(leaf_of_port),
        num_leaves=num_leaves,
        leaves_per_pod=leaves_per_pod,
        spines=uplinks.spines if num_leaves > 1 else 0,
        cores=uplinks.cores if num_leaves > leaves_per_pod else 0,
        hashed=table is not None and table.spreading == "hash",
    )


def fabric_links(fleet: Fleet, table: FatTreeTable | None, tree: FatTree) -> Links:
    """Return the links of the fat tree in the order that it numbers them."""
    first = fleet.num_vertices
    ends = np.stack([fleet.ports(), first + tree.leaf_of_port], axis=1)
    kinds = np.repeat(fleet.kind_of_host, np.diff(fleet.first_port))
    hosts = [
        both_ways(ends[kinds == kind, 0], ends[kinds == kind, 1], _network(table_of_kind))
        for kind, table_of_kind in enumerate(fleet.tables)
    ]
    blocks = [pair[0] for pair in hosts] + [pair[1] for pair in hosts]
    return joined_links([*blocks, *_uplink_blocks(fleet, table, tree)])


def _uplink_blocks(fleet: Fleet, table: FatTreeTable | None, tree: FatTree) -> list[LinkBlock]:
    uplinks = _uplinks(fleet, table, tree.leaf_of_port, tree.leaves_per_pod)
    network = _fastest(fleet)
    (leaves, spines), (lower, cores) = tree.ends()
    first = fleet.num_vertices
    leaf = both_ways(first + leaves, first + spines, network, uplinks.leaf_bandwidth_bytes_per_s)
    above = both_ways(first + lower, first + cores, network, uplinks.spine_bandwidth_bytes_per_s)
    return [*leaf, *above]


def _uplinks(
    fleet: Fleet, table: FatTreeTable | None, leaf_of_port: Int64, leaves_per_pod: int
) -> Uplinks:
    """Return the uplinks that give a full leaf, and a full pod, the oversubscription asked for."""
    nics = table.nics_per_leaf if table else int(np.bincount(leaf_of_port).max())
    of_leaf, of_pod = table.factors if table else (1.0, 1.0)
    spines = (table.uplinks if table else None) or math.ceil(nics / of_leaf)
    leaf_bandwidth = nics * _fastest(fleet).bandwidth / of_leaf / spines
    cores = math.ceil(leaves_per_pod / of_pod)
    return Uplinks(spines, cores, leaf_bandwidth, leaves_per_pod * leaf_bandwidth / of_pod / cores)


def _units(fleet: Fleet, rails: int, table: FatTreeTable | None, source: str) -> Int64:
    """Return the unit of every host: the next one begins where a leaf would be overfull."""
    loads = [np.bincount(np.arange(kind.num_nics) % rails).max() for kind in fleet.tables]
    if table is None:
        return np.zeros(len(fleet.kind_of_host), np.int64)
    if max(loads) > table.nics_per_leaf:
        raise DeviceGraphError(
            f"{source}: fat_tree.nics_per_leaf = {table.nics_per_leaf}, but a host has"
            f" {max(loads)} NICs on one leaf; choose {max(loads)} or more, or more rails"
        )
    units, used, unit = [], 0, 0
    for kind in fleet.kind_of_host.tolist():
        if used + loads[kind] > table.nics_per_leaf:
            used, unit = 0, unit + 1
        used += loads[kind]
        units.append(unit)
    return np.array(units, np.int64)


def _places(leaf_of_port: Int64) -> Int64:
    """Return the position of every port among those of its leaf."""
    order = np.argsort(leaf_of_port, kind="stable")
    counts = np.bincount(leaf_of_port)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty_like(order)
    places[order] = np.arange(len(order)) - first
    return places


def _fastest(fleet: Fleet) -> NetworkTable:
    return max((_network(kind) for kind in fleet.tables), key=lambda network: network.bandwidth)


def _network(kind: HostType) -> NetworkTable:
    network = kind.inter_host
    assert network is not None, "checked where the number of hosts is known"
    return network
