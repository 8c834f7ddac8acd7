"""Groups as collectives see them: the order of their members, and the layout of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives.halving import check_power_of_two
from flexsim.cost.meshes import disjoint_rings
from flexsim.cost.rings import ordered_by_host
from flexsim.cost.tori import NO_SHAPE, whole_shapes
from flexsim.device_graph.graph import DeviceGraph
from flexsim.errors import FlexSimError

Ints = NDArray[np.int64]
Layout = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Placed:
    """Groups ([K, ...] devices in the order of their layouts) and the layout of each.

    An empty layout marks a group that the algorithm does not serve.
    """

    devices: Ints
    layouts: list[Layout]


def place(graph: DeviceGraph, groups: NDArray[np.integer], algorithm: str) -> Placed:
    """Return groups in the order in which an algorithm takes their members."""
    if algorithm == "torus":
        return Placed(np.sort(groups, axis=1).astype(np.int64), whole_shapes(graph, groups))
    if algorithm == "multi-ring":
        return _on_rings(graph, groups)
    devices, num_hosts = ordered_by_host(graph, groups)
    size = devices.shape[1]
    if algorithm == "halving-doubling" and size & (size - 1):
        return Placed(devices, [NO_SHAPE] * len(devices))
    return Placed(devices, [(h, size // h) if h > 1 else (size,) for h in num_hosts.tolist()])


def _on_rings(graph: DeviceGraph, groups: NDArray[np.integer]) -> Placed:
    """Return the members of each group once for every ring, filled up with zeros."""
    rings = [disjoint_rings(graph, tuple(row)) for row in np.sort(groups, axis=1).tolist()]
    size = groups.shape[1]
    devices = np.zeros((len(groups), size * max(1, *map(len, rings))), np.int64)
    for row, found in enumerate(rings):
        devices[row, : size * len(found)] = np.array(found, np.int64).ravel()
    return Placed(devices, [(len(found), size) if found else NO_SHAPE for found in rings])


def check_served(graph: DeviceGraph, placed: Placed, collective: str, algorithm: str) -> None:
    """Raise :class:`FlexSimError` where there is a group that the algorithm does not serve."""
    if NO_SHAPE not in placed.layouts:
        return
    group = placed.devices[placed.layouts.index(NO_SHAPE)]
    if algorithm == "multi-ring":
        raise FlexSimError(
            f"{graph.source}: direct links between devices form no ring through a whole group "
            f"inside a host, so that {collective} cannot take the algorithm 'multi-ring'; choose "
            "from auto, ring, bidirectional-ring"
        )
    if algorithm == "halving-doubling":
        check_power_of_two(collective, len(group))
    if graph.torus is None:
        raise FlexSimError(
            f"{graph.source}: its devices form no torus, so that {collective} cannot take the "
            "algorithm 'torus'; choose from auto, ring, direct"
        )
    sizes = " x ".join(str(size) for size in graph.torus)
    some = ", ".join(str(device) for device in group[:4].tolist())
    raise FlexSimError(
        f"{graph.source}: the {len(group)} devices {some}, ... are not whole axes of the {sizes} "
        f"torus, so that {collective} cannot take the algorithm 'torus'; choose from auto, ring, "
        f"direct, or from groups such as all {math.prod(graph.torus)} devices of a pod"
    )
