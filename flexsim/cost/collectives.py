"""Times of collectives and point-to-point transfers on a device graph.

A collective takes ``launch + L + T + ramp·√(T·(launch + L))`` with the latency ``L`` and the
transfer time ``T`` of its fastest algorithm and ``T`` with each member's own share: the last
term is the start-up and drain of a message sent in chunks; without it this is plain α-β.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from flexsim.collectives.table import algorithms_of, builder_of
from flexsim.cost.algorithms import ALGORITHMS as ON_RINGS
from flexsim.cost.algorithms import STAR, Cost, can_sum
from flexsim.cost.alike_hosts import (
    devices_per_equal_host,
    each_in_first_hosts,
    likeness_of_hosts,
)
from flexsim.cost.lines import Lines, find_lines
from flexsim.cost.link_table import LinkTable, slowest_collectives
from flexsim.cost.placement import check_served, place
from flexsim.cost.profiles import CollectiveConstants, SoftwareProfile, load_device_profile
from flexsim.cost.recollection import Recollection, recollection_of
from flexsim.cost.rings import Rings, find_rings, route_latency, shared_bandwidth
from flexsim.cost.stars import find_stars
from flexsim.device_graph.graph import DeviceGraph
from flexsim.errors import FlexSimError
from flexsim.kept import Kept
from flexsim.units import NS_PER_S

Float = NDArray[np.float64]
Int64 = NDArray[np.int64]
Groups = NDArray[np.integer]

AUTO = "auto"
IN_NETWORK = "in-network"

_MAX_CACHED_GROUPS = 256


@dataclass(frozen=True, eq=False)
class Pace:
    """What transfers get of their routes, a value each; infinite from a device to itself."""

    bandwidth_bytes_per_s: Float
    latency_ns: Float


@dataclass(frozen=True, eq=False)
class FlowLinks:
    """What the flows of one algorithm get of links, a row a directed link.

    A flow is on its route for its bytes over the least bandwidth there, and arrives later by
    all latencies and the longest step latency.
    """

    bandwidth_bytes_per_s: Float
    latency_ns: Float
    step_latency_ns: Float


@dataclass(frozen=True, eq=False)
class Communication:
    """Prices communication on one device graph under one software stack."""

    device_graph: DeviceGraph
    links: LinkTable
    constants: CollectiveConstants
    host_time_ns: float
    """Least time of anything that the host must issue."""
    all_reduce: str = "rings"
    """Which all-reduces the software has: a library's ("rings"), or "star" alone."""
    transfer_time_ns: float = 0.0
    """What the software adds to every transfer."""
    transfer_bandwidth_bytes_per_s: float = np.inf
    """The most that one transfer gets of its route under the software."""
    _lines: Kept = field(default_factory=lambda: Kept(_MAX_CACHED_GROUPS), repr=False)

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
            software.transfer_time_ns,
            software.transfer_bandwidth_bytes_per_s,
        )

    def collective_ns(
        self, collective: str, num_bytes: int, groups: Groups, algorithm: str = AUTO
    ) -> Int64:
        """Return the time of one collective in each of ``groups``, all concurrent.

        ``collective`` and ``algorithm`` are keys of :data:`flexsim.collectives.ALGORITHMS`;
        "auto" takes the fastest of those that the devices' library has. ``groups`` is
        [K, g] device ids; ``num_bytes`` is the full message: an all-reduce's buffer, an
        all-gather's result, a reduce-scatter's input, one member's buffer of an all-to-all.
        At least 1; 0 where nothing moves (one member, or no bytes).
        """
        algorithms_of(collective)
        members = np.asarray(groups)
        if members.shape[1] == 1 or num_bytes == 0:
            return np.zeros(len(members), np.int64)
        if algorithm == AUTO and self.prices_on_rings(collective):
            return self.ring_ns(collective, num_bytes, self.rings_of(members))
        totals_s = self._totals_s(collective, num_bytes, members, algorithm)
        return self._whole_ns(totals_s.min(axis=0))

    def ring_ns(self, collective: str, num_bytes: int | Int64, rings: Rings) -> Int64:
        """Return the time of one collective on each of ``rings``, all concurrent.

        There is a row for each of several ``num_bytes``.
        """
        size = np.asarray(num_bytes, np.float64)[..., None] * np.ones(len(rings.num_hosts))
        own_s = self._own_s(collective, size, rings.num_members)
        ways = [ON_RINGS[collective][name] for name in self.algorithms_for(collective)]
        totals = [self._total_s(price(size, rings), own_s) for price in ways]
        return self._whole_ns(np.min(totals, axis=0))

    def algorithms_for(self, collective: str) -> tuple[str, ...]:
        """Return the algorithms of which "auto" takes the fastest."""
        if collective == "all-reduce" and self.all_reduce == STAR:
            return (STAR,)
        return self.constants.algorithms_of(collective)

    def prices_on_rings(self, collective: str) -> bool:
        """Whether rings tell all that "auto" needs to know of groups."""
        return all(self._is_on_rings(collective, name) for name in self.algorithms_for(collective))

    def choose(self, collective: str, num_bytes: int, groups: Groups) -> list[str]:
        """Return the algorithm that "auto" takes for each of ``groups``, all concurrent."""
        names = self.algorithms_for(collective)
        totals_s = self._totals_s(collective, num_bytes, np.asarray(groups), AUTO)
        return [names[place] for place in np.argmin(totals_s, axis=0)]

    def placed(self, group: Groups, algorithm: str = "ring") -> tuple[Int64, tuple[int, ...]]:
        """Return a group's members in the order of programs of ``algorithm``, and the layout."""
        placed = place(self.device_graph, np.asarray(group, np.int64)[None], algorithm)
        check_served(self.device_graph, placed, "a collective", algorithm)
        return placed.devices[0], placed.layouts[0]

    def overhead_ns(self, collective: str, algorithm: str, num_bytes: int, group: Groups) -> int:
        """Return what a collective takes beside its steps: launch, ramp, copies, the host."""
        members = np.asarray(group)[None]
        cost = self._cost(collective, algorithm, float(num_bytes), members)
        steps_ns = float(cost.transfer_s[0] + cost.latency_s[0]) * NS_PER_S
        whole_ns = int(self.collective_ns(collective, num_bytes, members, algorithm)[0])
        return max(0, round(whole_ns - steps_ns))

    def flow_links(self, algorithm: str) -> FlowLinks:
        """Return what the flows of an algorithm's program get of links."""
        links = self.links
        rate, late_ns = links.collective_bandwidth_bytes_per_s, links.step_latency_ns
        if algorithm == STAR:
            rate = np.minimum(
                links.transfer_bandwidth_bytes_per_s, self.transfer_bandwidth_bytes_per_s
            )
            late_ns = links.transfer_latency_ns + self.transfer_time_ns
        if algorithm == IN_NETWORK:
            rate = np.minimum(rate, links.in_switch_bandwidth_bytes_per_s)
            late_ns = links.in_switch_latency_ns
        return FlowLinks(rate, links.latency_ns, late_ns)

    def transfer_ns(self, num_bytes: Int64 | int, sources: Groups, targets: Groups) -> Int64:
        """Return the time of one transfer of ``num_bytes`` (one number, or one a pair) for each
        pair, all concurrent.

        At least 1; 0 from a device to itself and where no bytes move.
        """
        pace = self.pace_of(sources, targets)
        total = self.paced_ns(num_bytes, pace)
        return np.where(
            np.isinf(pace.bandwidth_bytes_per_s) | (np.asarray(num_bytes) == 0), 0, total
        )

    def pace_of(self, sources: Groups, targets: Groups) -> Pace:
        """Return what each of some concurrent transfers gets of its route."""
        routes = self.device_graph.routes(sources, targets)
        bandwidth = shared_bandwidth(routes, self.links.transfer_bandwidth_bytes_per_s)
        latency_ns = route_latency(routes, self.links, self.links.transfer_latency_ns)
        most = np.minimum(bandwidth, self.transfer_bandwidth_bytes_per_s)
        most[np.isinf(bandwidth)] = np.inf
        return Pace(most, latency_ns + self.transfer_time_ns)

    def paced_ns(self, num_bytes: Int64 | int, pace: Pace) -> Int64:
        """Return the time of transfers of ``num_bytes`` each at their ``pace``."""
        seconds = num_bytes / pace.bandwidth_bytes_per_s + pace.latency_ns / NS_PER_S
        return self._whole_ns(seconds)

    def rings_of(self, groups: Groups) -> Rings:
        """Return the rings of ``groups``, all concurrent."""
        known = self.in_first_hosts(np.asarray(groups).reshape(1, -1)).reshape(groups.shape)
        return self.before.of_groups(_key(known), lambda: self._found(known))

    def in_first_hosts(self, rows: Groups) -> Groups:
        """Return every row of devices where it costs the same: in the first hosts if all are alike.

        Rows that stand alike become equal.
        """
        size, count = self._devices_per_host, self.device_graph.num_devices
        is_known = size and rows.min(initial=0) >= 0 and rows.max(initial=0) < count
        return each_in_first_hosts(rows, size) if is_known else rows

    @cached_property
    def _devices_per_host(self) -> int:
        return devices_per_equal_host(self.device_graph)

    @cached_property
    def before(self) -> Recollection:
        """What was found before, on clusters that differ in the number of hosts at most.

        What is kept there has to hold on all of them.
        """
        hosts = likeness_of_hosts(self.device_graph, self.links)
        if hosts is None:
            return Recollection()
        transfers = self.transfer_time_ns, self.transfer_bandwidth_bytes_per_s
        software = repr(self.constants), self.host_time_ns, self.all_reduce, *transfers
        return recollection_of((hosts, software))

    def _totals_s(self, collective: str, num_bytes: int, groups: Groups, algorithm: str) -> Float:
        """Return seconds by each algorithm in question, a row each, for every group."""
        if algorithm == AUTO:
            names: Iterable[str] = self.algorithms_for(collective)
        else:
            names = (algorithm,)
            self._check_known(collective, algorithm, groups)
        own_s = self._own_s(collective, np.full(len(groups), float(num_bytes)), groups.shape[1])
        costs = [self._cost(collective, name, float(num_bytes), groups) for name in names]
        totals_s = np.stack([self._total_s(cost, own_s) for cost in costs])
        if np.isinf(totals_s.min(axis=0)).any():
            self._refuse(collective, algorithm, groups)
        return totals_s

    def _cost(self, collective: str, algorithm: str, num_bytes: float, groups: Groups) -> Cost:
        size = np.full(len(groups), num_bytes)
        if self._is_on_rings(collective, algorithm):
            return ON_RINGS[collective][algorithm](size, self.rings_of(groups))
        lines = self._lines_of(collective, algorithm, groups)
        return Cost(size * lines.s_per_byte, lines.latency_ns / NS_PER_S)

    def _total_s(self, cost: Cost, own_s: Float) -> Float:
        start_s = self.constants.launch_ns / NS_PER_S + cost.latency_s
        transfer_s = cost.transfer_s + own_s
        ramp = self.constants.ramp  # 0 x infinity, where an algorithm cannot serve, is no number
        return start_s + transfer_s + (ramp * np.sqrt(transfer_s * start_s) if ramp else 0.0)

    def _whole_ns(self, seconds: Float) -> Int64:
        least = max(1.0, self.host_time_ns)
        return np.rint(np.maximum(seconds * NS_PER_S, least)).astype(np.int64)

    def _own_s(self, collective: str, size: Float, num_members: Int64 | int) -> Float:
        share = np.zeros_like(size) if collective == "broadcast" else size / num_members
        return np.asarray(share / self.constants.copy_bandwidth_bytes_per_s, np.float64)

    def _is_on_rings(self, collective: str, algorithm: str) -> bool:
        if algorithm == STAR:
            return self.all_reduce == STAR
        # On a torus, what neighbours get of their links says nothing about distant pairs.
        distant = collective == "all-to-all" and self.device_graph.torus is not None
        return algorithm in ON_RINGS[collective] and not distant

    def _check_known(self, collective: str, algorithm: str, groups: Groups) -> None:
        builder_of(collective, algorithm)
        if algorithm == IN_NETWORK and not can_sum(self.rings_of(groups)).all():
            raise FlexSimError(
                f"{self.device_graph.source}: no switch reaches and sums all members of a group, "
                f"so that {collective} cannot take the algorithm 'in-network'; choose from auto, "
                "ring, tree"
            )

    def _refuse(self, collective: str, algorithm: str, groups: Groups) -> None:
        """Say why no algorithm in question serves every group."""
        graph = self.device_graph
        if algorithm != AUTO:
            check_served(graph, place(graph, groups, algorithm), collective, algorithm)
        names = ", ".join(self.algorithms_for(collective))
        raise FlexSimError(
            f"{graph.source}: none of the algorithms of {collective} that the device profile "
            f"lists ({names}) serves every group; add ring or direct"
        )

    def _lines_of(self, collective: str, algorithm: str, groups: Groups) -> Lines:
        key = (collective, algorithm, *_key(groups))
        find = partial(self._drawn, collective, algorithm, groups)
        return self._lines.once(key, find)

    def _drawn(self, collective: str, algorithm: str, groups: Groups) -> Lines:
        graph = self.device_graph
        if algorithm == STAR:
            return Lines(*find_stars(graph, self.links, groups))
        return find_lines(graph, self.links, place(graph, groups, algorithm), collective, algorithm)

    def _found(self, groups: Groups) -> Rings:
        rings = find_rings(self.device_graph, self.links, groups)
        if self.all_reduce != STAR:
            return rings
        stars = find_stars(self.device_graph, self.links, groups)
        return replace(rings, star_s_per_byte=stars.s_per_byte, star_latency_ns=stars.latency_ns)


def _key(groups: Groups) -> tuple[int, bytes]:
    return groups.shape[1], np.ascontiguousarray(groups, np.int64).tobytes()
