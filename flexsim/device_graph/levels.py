"""A cluster of equal hosts: its links lie in blocks, so that routes are arithmetic.

Every device hangs on its host's switch. Between hosts, NIC ``n`` of every host hangs on rail
switch ``n mod rails``; a message stays on its rail, or crosses the spine where the receiver's
NIC is on another one. Each NIC has a lane of its own between its rail and the spine (a
non-blocking tree with static routing), so crossing traffic meets no other than at the NICs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import SHARED, DeviceGraph, Links
from flexsim.ragged import Csr

if TYPE_CHECKING:
    from flexsim.device_graph.schema import LevelsFile, LevelTable

Int64 = NDArray[np.int64]

ABSENT = -1


@dataclass(frozen=True)
class LevelsRouter:
    """Counts of a levels cluster and the first link of each block that it has.

    A block holds the ``up`` links of its members, then their ``down`` links. Members of the
    blocks ``intra`` and ``nic`` are devices, of ``network`` and ``spine`` NICs.
    """

    num_hosts: int
    devices_per_host: int
    nics_per_host: int
    rails: int
    first_intra: int = ABSENT
    first_nic: int = ABSENT
    first_network: int = ABSENT
    first_spine: int = ABSENT

    @property
    def num_devices(self) -> int:
        """Devices of all hosts."""
        return self.num_hosts * self.devices_per_host

    @property
    def num_nics(self) -> int:
        """NICs of all hosts."""
        return self.num_hosts * self.nics_per_host

    def nic_of(self, devices: Int64) -> Int64:
        """Return the NIC that each device uses, counted over all hosts."""
        # NICs divide the devices of a host, so one division serves all hosts at once.
        return devices // (self.devices_per_host // self.nics_per_host)

    def rail_of(self, nics: Int64) -> Int64:
        """Return the rail switch of each NIC."""
        return nics % self.nics_per_host % self.rails

    def links_of_hosts(self) -> Int64:
        """Return the links of every host, block by block: up, then down; a row a host."""
        blocks = [
            (self.first_intra, self.devices_per_host),
            (self.first_nic, self.devices_per_host),
        ]
        blocks += [(self.first_network, self.nics_per_host), (self.first_spine, self.nics_per_host)]
        rows = [self._links_of_block(*block) for block in blocks if block[0] != ABSENT]
        return np.concatenate([np.zeros((self.num_hosts, 0), np.int64), *rows], axis=1)

    def _links_of_block(self, first: int, per_host: int) -> Int64:
        numbers = first + np.arange(2 * self.num_hosts * per_host)
        table: Int64 = numbers.reshape(2, self.num_hosts, per_host).swapaxes(0, 1)
        return table.reshape(self.num_hosts, -1)

    def of_one_host(self) -> tuple[int | bool, ...]:
        """Return all that does not grow with the number of hosts; equal where routes are alike."""
        firsts = (self.first_intra, self.first_nic, self.first_network, self.first_spine)
        counts = (self.devices_per_host, self.nics_per_host, self.rails)
        return (*counts, self.num_hosts > 1, *(first != ABSENT for first in firsts))

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the link ids of every pair's route: at most three up and three down."""
        hops = np.full((len(sources), 6), ABSENT, np.int64)
        same_host = sources // self.devices_per_host == targets // self.devices_per_host
        inside = same_host & (sources != targets)
        hops[inside, 0] = self.first_intra + sources[inside]
        hops[inside, 5] = self.first_intra + self.num_devices + targets[inside]
        hops[~same_host] = self._between_hosts(sources[~same_host], targets[~same_host])
        taken = hops != ABSENT
        offsets = np.concatenate(([0], np.cumsum(taken.sum(axis=1)))).astype(np.int64)
        return Csr(offsets, hops[taken].astype(np.int32))

    def _between_hosts(self, sources: Int64, targets: Int64) -> Int64:
        hops = np.full((len(sources), 6), ABSENT, np.int64)
        nic_out, nic_in = self.nic_of(sources), self.nic_of(targets)
        if self.first_nic != ABSENT:
            hops[:, 0] = self.first_nic + sources
            hops[:, 5] = self.first_nic + self.num_devices + targets
        hops[:, 1] = self.first_network + nic_out
        hops[:, 4] = self.first_network + self.num_nics + nic_in
        crossing = self.rail_of(nic_out) != self.rail_of(nic_in)
        hops[crossing, 2] = self.first_spine + nic_out[crossing]
        hops[crossing, 3] = self.first_spine + self.num_nics + nic_in[crossing]
        return hops


@dataclass(frozen=True)
class Block:
    """Links between ``low`` and ``high`` vertices, up and down, that share one level's numbers."""

    low: Int64
    high: Int64
    level: LevelTable


def build_levels(file: LevelsFile, name: str, source: str, num_hosts: int) -> DeviceGraph:
    """Return the device graph of ``num_hosts`` hosts of a levels file."""
    counts = LevelsRouter(num_hosts, file.devices_per_host, file.nics_per_host, file.rails)
    vertex_names, hosts, first_vertex = _vertices(file, counts)
    blocks = _blocks(file, counts, first_vertex)
    first_links = _first_links(blocks)
    return DeviceGraph(
        name=name,
        source=source,
        title=file.title,
        device_types=(file.device_type,) * counts.num_devices,
        vertex_names=tuple(vertex_names),
        host_names=tuple(f"host{host}" for host in range(num_hosts)),
        host_of_vertex=np.array(hosts, np.int32),
        links=_links(list(blocks.values())),
        router=LevelsRouter(
            num_hosts, file.devices_per_host, file.nics_per_host, file.rails, **first_links
        ),
        in_network_reduction=file.intra_host is None or file.intra_host.in_network_reduction,
    )


def _vertices(
    file: LevelsFile, counts: LevelsRouter
) -> tuple[list[str], list[int], dict[str, int]]:
    """Return names and hosts of all vertices, and the first vertex of each group of them."""
    groups = {
        "device": _named(counts.num_hosts, counts.devices_per_host, "gpu"),
        "intra": _switches(file, counts.num_hosts),
    }
    if counts.num_hosts > 1:
        nics = counts.nics_per_host if file.nic else 0
        groups["nic"] = _named(counts.num_hosts, nics, "nic")
        groups["rail"] = [(f"rail{rail}", SHARED) for rail in range(counts.rails)]
        groups["spine"] = [("spine", SHARED)] if counts.rails > 1 else []
    first, total = {}, 0
    for group, members in groups.items():
        first[group], total = total, total + len(members)
    everyone = [member for members in groups.values() for member in members]
    return [name for name, _ in everyone], [host for _, host in everyone], first


def _switches(file: LevelsFile, num_hosts: int) -> list[tuple[str, int]]:
    if file.intra_host is None:
        return []
    return [(f"host{host}.{file.intra_host.kind}-switch", host) for host in range(num_hosts)]


def _named(num_hosts: int, per_host: int, what: str) -> list[tuple[str, int]]:
    return [(f"host{h}.{what}{i}", h) for h in range(num_hosts) for i in range(per_host)]


def _blocks(file: LevelsFile, counts: LevelsRouter, first: dict[str, int]) -> dict[str, Block]:
    blocks: dict[str, Block] = {}
    devices = np.arange(counts.num_devices, dtype=np.int64)
    nics = np.arange(counts.num_nics, dtype=np.int64)
    if file.intra_host:
        hosts = devices // counts.devices_per_host
        blocks["first_intra"] = Block(devices, first["intra"] + hosts, file.intra_host)
    if counts.num_hosts == 1 or not file.inter_host:
        return blocks
    if file.nic:
        blocks["first_nic"] = Block(devices, first["nic"] + counts.nic_of(devices), file.nic)
    rails = first["rail"] + counts.rail_of(nics)
    cards = first["nic"] + nics if file.nic else devices
    blocks["first_network"] = Block(cards, rails, file.inter_host)
    if counts.rails > 1:
        spine = np.full_like(rails, first["spine"])
        blocks["first_spine"] = Block(rails, spine, file.inter_host)
    return blocks


def _first_links(blocks: dict[str, Block]) -> dict[str, int]:
    first, total = {}, 0
    for name, block in blocks.items():
        first[name], total = total, total + 2 * len(block.low)
    return first


def _links(blocks: list[Block]) -> Links:
    kinds = tuple(dict.fromkeys(block.level.kind for block in blocks))
    sizes = [2 * len(block.low) for block in blocks]
    levels = [block.level for block in blocks]
    return Links(
        source=_joined([end for block in blocks for end in (block.low, block.high)]),
        target=_joined([end for block in blocks for end in (block.high, block.low)]),
        bandwidth_bytes_per_s=np.repeat([level.bandwidth for level in levels], sizes),
        latency_ns=np.repeat(np.array([level.latency for level in levels], np.int64), sizes),
        kind=np.repeat(np.array([kinds.index(x.kind) for x in levels], np.int32), sizes),
        link_kinds=kinds,
    )


def _joined(ends: list[Int64]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int64), *ends]).astype(np.int32)
