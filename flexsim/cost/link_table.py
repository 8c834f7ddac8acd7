"""What the links of a device graph achieve: data-sheet figures times profile constants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.profiles import NCCL, CollectiveConstants, DeviceProfile, LinkConstants
from flexsim.device_graph.graph import DeviceGraph

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinkTable:
    """A row a directed link of one device graph; times in ns, bandwidths in bytes a second."""

    collective_bandwidth_bytes_per_s: Float
    transfer_bandwidth_bytes_per_s: Float
    in_switch_bandwidth_bytes_per_s: Float
    """0 where no switch at the link's end can sum."""
    in_switch_latency_ns: Float
    latency_ns: Float
    step_latency_ns: Float
    transfer_latency_ns: Float

    @classmethod
    def of(cls, graph: DeviceGraph, profiles: Sequence[DeviceProfile]) -> LinkTable:
        """Build the table; on mixed clusters a kind of link is as good as its slowest user."""
        constants = [slowest(p.link(kind) for p in profiles) for kind in graph.links.link_kinds]
        links = graph.links

        def column(name: str) -> Float:
            return np.array([getattr(row, name) for row in constants], np.float64)[links.kind]

        ends = np.maximum(links.source, links.target)
        sums = (ends >= graph.num_devices) & graph.in_network_reduction
        in_switch = column("in_switch_bandwidth_bytes_per_s") * sums
        return cls(
            links.bandwidth_bytes_per_s * column("efficiency"),
            links.bandwidth_bytes_per_s * column("transfer_efficiency"),
            in_switch,
            column("in_switch_latency_ns"),
            links.latency_ns.astype(np.float64),
            column("step_latency_ns"),
            column("transfer_latency_ns"),
        )


def slowest(constants: Iterable[LinkConstants]) -> LinkConstants:
    """Return the least efficiencies and the longest latencies."""
    rows = list(constants)
    return LinkConstants(
        efficiency=min(row.efficiency for row in rows),
        step_latency_ns=max(row.step_latency_ns for row in rows),
        transfer_efficiency=min(row.transfer_efficiency for row in rows),
        transfer_latency_ns=max(row.transfer_latency_ns for row in rows),
        in_switch_bandwidth_bytes_per_s=min(r.in_switch_bandwidth_bytes_per_s for r in rows),
        in_switch_latency_ns=max(row.in_switch_latency_ns for row in rows),
    )


def slowest_collectives(profiles: Sequence[DeviceProfile]) -> CollectiveConstants:
    """Return the collective constants of the slowest device type."""
    rows = [profile.collectives for profile in profiles]
    return replace(
        rows[0],
        launch_ns=max(row.launch_ns for row in rows),
        ramp=max(row.ramp for row in rows),
        copy_bandwidth_bytes_per_s=min(row.copy_bandwidth_bytes_per_s for row in rows),
        algorithms={name: _common(rows, name) for name in NCCL},
    )


def _common(rows: Sequence[CollectiveConstants], collective: str) -> tuple[str, ...]:
    """Return the algorithms that all have, or those of the first where there is none."""
    lists = [row.algorithms_of(collective) for row in rows]
    return tuple(name for name in lists[0] if all(name in x for x in lists)) or lists[0]
