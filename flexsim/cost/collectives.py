"""Times of collectives and point-to-point transfers on a device graph.

A collective takes ``launch + L + T + ramp·√(T·(launch + L))`` with the latency ``L`` and the
transfer time ``T`` of its fastest algorithm and ``T`` with each member's own share: the last
term is the start-up and drain of a message sent in chunks; without it this is plain α-β.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.algorithms import ALGORITHMS, STAR, WAYS, Cost
from flexsim.cost.link_table import LinkTable, slowest_collectives
from flexsim.cost.profiles import CollectiveConstants, SoftwareProfile, load_device_profile
from flexsim.cost.rings import Rings, find_rings, route_latency, shared_bandwidth
from flexsim.cost.stars import find_stars
from flexsim.device_graph.graph import DeviceGraph
from flexsim.errors import FlexSimError, choices_text
from flexsim.units import NS_PER_S

Float = NDArray[np.float64]
Int64 = NDArray[np.int64]

_MAX_CACHED_GROUPS = 256


@dataclass(frozen=True, eq=False)
class Pace:
    """What transfers get of their routes, a value each; infinite from a device to itself."""

    bandwidth_bytes_per_s: Float
    latency_ns: Float


@dataclass(frozen=True, eq=False)
class Communication:
    """Prices communication on one device graph under one software stack."""

    device_graph: DeviceGraph
    links: LinkTable
    constants: CollectiveConstants
    host_time_ns: float
    """Least time of anything that the host must issue."""
    all_reduce: str = "rings"
    """Which algorithms the software has, a key of :data:`flexsim.cost.algorithms.WAYS`."""
    _rings: OrderedDict[tuple[int, bytes], Rings] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def of(cls, device_graph: DeviceGraph, software: SoftwareProfile) -> Communication:
        """Build from the profiles of the graph's device types."""
        profiles = [load_device_profile(name) for name in sorted(set(device_graph.device_types))]
        return cls(
            device_graph,
            LinkTable.of(device_graph, profiles),
            slowest_collectives(profiles),
            software.host_time_per_kernel_ns,
            software.all_reduce,
        )

    def collective_ns(self, collective: str, num_bytes: int, groups: NDArray[np.integer]) -> Int64:
        """Return the time of one collective in each of ``groups``, all concurrent.

        ``collective`` is a key of :data:`flexsim.cost.algorithms.ALGORITHMS`; ``groups`` is
        [K, g] device ids; ``num_bytes`` is the full message: an all-reduce's buffer, an
        all-gather's result, a reduce-scatter's input, one member's buffer of an all-to-all.
        At least 1; 0 where nothing moves (one member, or no bytes).
        """
        if collective not in ALGORITHMS:
            choices = choices_text(collective, ALGORITHMS)
            raise FlexSimError(f"there is no collective {collective!r}: {choices}")
        members = np.asarray(groups)
        if members.shape[1] == 1 or num_bytes == 0:
            return np.zeros(len(members), np.int64)
        return self.ring_ns(collective, num_bytes, self.rings_of(members))

    def ring_ns(self, collective: str, num_bytes: int, rings: Rings) -> Int64:
        """Return the time of one collective on each of ``rings``, all concurrent."""
        size = np.full(len(rings.num_hosts), float(num_bytes))
        share = np.zeros_like(size) if collective == "broadcast" else size / rings.num_members
        own_s = share / self.constants.copy_bandwidth_bytes_per_s
        ways = WAYS[self.all_reduce][collective]
        totals = [self._total_s(price(size, rings), own_s) for price in ways]
        return self._whole_ns(np.min(totals, axis=0))

    def transfer_ns(
        self, num_bytes: Int64 | int, sources: NDArray[np.integer], targets: NDArray[np.integer]
    ) -> Int64:
        """Return the time of one transfer of ``num_bytes`` (one number, or one a pair) for each
        pair, all concurrent.

        At least 1; 0 from a device to itself and where no bytes move.
        """
        pace = self.pace_of(sources, targets)
        total = self.paced_ns(num_bytes, pace)
        return np.where(
            np.isinf(pace.bandwidth_bytes_per_s) | (np.asarray(num_bytes) == 0), 0, total
        )

    def pace_of(self, sources: NDArray[np.integer], targets: NDArray[np.integer]) -> Pace:
        """Return what each of some concurrent transfers gets of its route."""
        routes = self.device_graph.routes(sources, targets)
        bandwidth = shared_bandwidth(routes, self.links.transfer_bandwidth_bytes_per_s)
        latency_ns = route_latency(routes, self.links, self.links.transfer_latency_ns)
        return Pace(bandwidth, latency_ns)

    def paced_ns(self, num_bytes: Int64 | int, pace: Pace) -> Int64:
        """Return the time of transfers of ``num_bytes`` each at their ``pace``."""
        seconds = num_bytes / pace.bandwidth_bytes_per_s + pace.latency_ns / NS_PER_S
        return self._whole_ns(seconds)

    def _total_s(self, cost: Cost, own_s: Float) -> Float:
        start_s = self.constants.launch_ns / NS_PER_S + cost.latency_s
        transfer_s = cost.transfer_s + own_s
        return start_s + transfer_s + self.constants.ramp * np.sqrt(transfer_s * start_s)

    def _whole_ns(self, seconds: Float) -> Int64:
        least = max(1.0, self.host_time_ns)
        return np.rint(np.maximum(seconds * NS_PER_S, least)).astype(np.int64)

    def rings_of(self, groups: NDArray[np.integer]) -> Rings:
        """Return the rings of ``groups``, all concurrent."""
        key = (groups.shape[1], np.ascontiguousarray(groups, np.int64).tobytes())
        if key not in self._rings:
            self._rings[key] = self._found(groups)
            if len(self._rings) > _MAX_CACHED_GROUPS:
                self._rings.popitem(last=False)
        return self._rings[key]

    def _found(self, groups: NDArray[np.integer]) -> Rings:
        rings = find_rings(self.device_graph, self.links, groups)
        if self.all_reduce != STAR:
            return rings
        stars = find_stars(self.device_graph, self.links, groups)
        return replace(rings, star_s_per_byte=stars.s_per_byte, star_latency_ns=stars.latency_ns)
