"""How much a cluster carries between its halves, and how far apart its devices are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.blocks import BlockRouter
from flexsim.device_graph.graph import DeviceGraph
from flexsim.device_graph.levels import LevelsRouter
from flexsim.device_graph.pods import Pod
from flexsim.device_graph.torus import Torus, TorusRouter

Int64 = NDArray[np.int64]

_LARGEST_FLOW = 2**30


def torus_of(graph: DeviceGraph) -> Torus | None:
    """Return the torus of a pod, None where the devices form none."""
    router = graph.router
    inside = router.kinds[0] if isinstance(router, BlockRouter) else router
    if isinstance(inside, Pod):
        return inside.router.torus
    return inside.torus if isinstance(inside, TorusRouter) else None


def bisection_bytes_per_s(graph: DeviceGraph) -> tuple[float, str]:
    """Return the bandwidth across the natural cut, one way, and which cut it is.

    One torus is cut across the dimension that gives least; any other cluster between the first
    half of its devices and the rest.
    """
    torus = torus_of(graph)
    if torus and torus.size == graph.num_devices:
        cuts = [torus_cut_links(torus, dimension) for dimension in range(len(torus.shape))]
        least = min((cut, d) for d, cut in enumerate(cuts) if torus.shape[d] > 1)
        across = f"across dimension {least[1] + 1}"
        return least[0] * float(graph.links.bandwidth_bytes_per_s[0]), across
    return halves_bytes_per_s(graph), _halves_of(graph)


def torus_cut_links(torus: Torus, dimension: int) -> int:
    """Return how many links lead, one way, from one half of a torus to the other.

    The cut is across ``dimension`` in its middle. A ring is cut twice, an open row once; through
    the seams of a twist leads every link whose shift changes the half.
    """
    size = torus.shape[dimension]
    if size == 1:
        return 0
    area = torus.size // size
    links = (2 if torus.rings[dimension] else 1) * area
    if dimension not in torus.seams:
        links += sum(torus.size // torus.shape[seam] for seam in torus.seams)
    return links


def halves_bytes_per_s(graph: DeviceGraph) -> float:
    """Return the maximum flow from the first half of the devices to the rest, by device id."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_flow

    links, start = graph.links, graph.num_vertices
    devices = np.arange(graph.num_devices)
    first, second = np.array_split(devices, [graph.num_devices // 2])
    leaving = np.bincount(links.source, links.bandwidth_bytes_per_s, minlength=start)
    entering = np.bincount(links.target, links.bandwidth_bytes_per_s, minlength=start)
    ends = (
        np.concatenate([links.source, np.full(len(first), start), second]),
        np.concatenate([links.target, first, np.full(len(second), start + 1)]),
    )
    capacity = np.concatenate([links.bandwidth_bytes_per_s, leaving[first], entering[second]])
    unit = _unit(capacity, float(leaving[first].sum()))
    whole = np.minimum(np.rint(capacity / unit), _LARGEST_FLOW).astype(np.int32)
    flow = maximum_flow(csr_matrix((whole, ends), shape=(start + 2,) * 2), start, start + 1)
    return float(flow.flow_value * unit)


def diameter_hops(graph: DeviceGraph) -> int:
    """Return the number of links on the longest route between two devices."""
    everyone = np.arange(graph.num_devices)
    farthest = [
        int(graph.routes(source, everyone).counts.max()) for source in _representatives(graph)
    ]
    return max(farthest)


def _representatives(graph: DeviceGraph) -> list[int]:
    """Return devices from one of which a longest route begins."""
    router = graph.router
    if isinstance(router, LevelsRouter) or torus_of(graph):
        return [0]
    if not isinstance(router, BlockRouter):
        return list(range(graph.num_devices))
    # The fabric looks alike from every host; inside, all hosts of one kind are alike.
    _, blocks = np.unique(router.blocks.kind, return_index=True)
    hosts = [np.flatnonzero(graph.host_of_device == block).tolist() for block in blocks]
    return [device for host in hosts for device in host]


def _unit(capacity: NDArray[np.float64], most: float) -> float:
    """Return the bytes a second that one unit of flow stands for: exact where integers allow."""
    common = math.gcd(*np.rint(capacity).astype(np.int64).tolist())
    return float(common) if common and most / common < _LARGEST_FLOW else most / _LARGEST_FLOW


def _halves_of(graph: DeviceGraph) -> str:
    half = graph.num_devices // 2
    is_even = graph.num_devices == 2 * half
    return (
        "between the first half of the devices and the rest"
        if is_even
        else (f"between the first {half:,} devices and the rest")
    )
