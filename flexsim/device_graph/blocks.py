"""Clusters of blocks: a block is a host or a pod with links of its own, a fabric joins them.

A route inside a block is the block's own; between blocks it goes from the device to its port,
through the fabric, and from the other port to the other device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexsim.device_graph.graph import Router
from flexsim.ragged import Csr

Int64 = NDArray[np.int64]


class Inside(Protocol):
    """The routes of one kind of block; devices, ports and links are counted within the block."""

    @property
    def port_of_device(self) -> Int64:
        """The port of every device."""

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return routes between devices of the block."""

    def outward(self, devices: Int64) -> Csr:
        """Return routes from devices to their ports; empty where a device is its own port."""

    def inward(self, devices: Int64) -> Csr:
        """Return routes from the devices' ports to them."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a cluster, a row a block: its kind and where its own things begin."""

    kind: Int64
    first_device: Int64
    first_port: Int64
    first_link: Int64

    def of_device(self, devices: Int64) -> Int64:
        """Return the block of each device."""
        return np.searchsorted(self.first_device, devices, side="right") - 1


@dataclass(frozen=True, eq=False)
class BlockRouter:
    """Routes over blocks, ``kinds`` says how inside each kind, and the fabric between ports."""

    blocks: Blocks
    kinds: Sequence[Inside]
    fabric: Router
    first_fabric_link: int

    def routes(self, sources: Int64, targets: Int64) -> Csr:
        """Return the link ids of every pair's route."""

        def between(inside: Inside, pairs: Int64, first: Int64) -> Csr:
            return inside.routes(sources[pairs] - first, targets[pairs] - first)

        def outward(inside: Inside, pairs: Int64, first: Int64) -> Csr:
            return inside.outward(sources[pairs] - first)

        def inward(inside: Inside, pairs: Int64, first: Int64) -> Csr:
            return inside.inward(targets[pairs] - first)

        together = self.blocks.of_device(sources) == self.blocks.of_device(targets)
        here, across = np.flatnonzero(together), np.flatnonzero(~together)
        return _joined(
            len(sources),
            [
                *self._legs(here, sources[here], between),
                *self._legs(across, sources[across], outward),
                (across, self._through_fabric(sources[across], targets[across])),
                *self._legs(across, targets[across], inward),
            ],
        )

    def ports(self, devices: Int64) -> Int64:
        """Return the port of each device, counted over all blocks."""
        block = self.blocks.of_device(devices)
        ports = np.empty_like(devices)
        for kind, inside in enumerate(self.kinds):
            mine = np.flatnonzero(self.blocks.kind[block] == kind)
            local = devices[mine] - self.blocks.first_device[block[mine]]
            ports[mine] = self.blocks.first_port[block[mine]] + inside.port_of_device[local]
        return ports

    def _legs(
        self, pairs: Int64, devices: Int64, way: Callable[[Inside, Int64, Int64], Csr]
    ) -> Iterator[tuple[Int64, Csr]]:
        """Yield some pairs and their links inside the blocks of ``devices``, a kind at a time."""
        block = self.blocks.of_device(devices)
        for kind, inside in enumerate(self.kinds):
            mine = np.flatnonzero(self.blocks.kind[block] == kind)
            links = way(inside, pairs[mine], self.blocks.first_device[block[mine]])
            yield pairs[mine], _shifted(links, self.blocks.first_link[block[mine]][links.rows])

    def _through_fabric(self, sources: Int64, targets: Int64) -> Csr:
        links = self.fabric.routes(self.ports(sources), self.ports(targets))
        return _shifted(links, self.first_fabric_link)


def _shifted(links: Csr, by: Int64 | int) -> Csr:
    return Csr(links.offsets, (links.values + by).astype(np.int32))


def _joined(num_pairs: int, legs: list[tuple[Int64, Csr]]) -> Csr:
    """Return the legs of each pair one after the other."""
    rows = np.concatenate([pairs[leg.rows] for pairs, leg in legs])
    return Csr.from_pairs(num_pairs, rows, np.concatenate([leg.values for _, leg in legs]))
