"""Where a pipeline stands, and what messages cost there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.collectives import Communication, Pace
from flexsim.cost.rings import Rings
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.symbolic import Message
from flexsim.task_graph.ways import (
    Leg,
    Tariff,
    Ways,
    fares_of,
    joined_ways,
    leg_of,
    one_price,
    tariff_of,
)

if TYPE_CHECKING:
    from flexsim.task_graph.uniform import Seed


@dataclass(frozen=True, eq=False)
class Site:
    """The devices of a pipeline: ``devices[r]`` are those of rank r, replica by replica.

    Stages go round the ranks. What is found out about routes is kept.
    """

    devices: Int32
    num_chunks: int
    num_replicas: int
    communication: Communication
    _ways: dict[Hashable, Ways] = field(default_factory=dict, repr=False)
    _alike: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False)

    @property
    def num_ranks(self) -> int:
        """Pipeline ranks."""
        return len(self.devices)

    @property
    def num_stages(self) -> int:
        """Global stages."""
        return self.num_ranks * self.num_chunks

    @property
    def representatives(self) -> Int32:
        """The first device of every rank."""
        first: Int32 = self.devices[:, 0]
        return first

    def rank(self, stage: int) -> int:
        """Return the rank of a global stage."""
        return stage % self.num_ranks

    def prices_ns(self, message: Message, seed: Seed) -> Int64:
        """Return what a message of a small pipeline costs on every rank of this one."""
        leg = leg_of(message, seed.devices_per_rank, seed.num_replicas)
        prices: Int64 = self._on_ranks(message.kind, [message.num_bytes], self._ways_of(leg))[0]
        return prices

    def sums_ns(self, kind: str, sizes: Sequence[int], groups: NDArray[np.integer]) -> Int64:
        """Return what collectives of ``sizes`` cost, a row each, on every rank.

        ``groups`` are places of a rank's devices.
        """
        key = groups.shape, groups.tobytes()
        return self._on_ranks(kind, sizes, self._once(key, lambda: self._ring_ways(groups)))

    def joint_ns(self, kind: str, num_bytes: int, groups: NDArray[np.integer]) -> int:
        """Return what a collective of several ranks costs; ``groups`` are devices."""
        known = self.communication.in_first_hosts(groups.reshape(1, -1)).reshape(groups.shape)
        key = kind, num_bytes, known.shape, known.tobytes()
        find = self.communication.collective_ns
        before = self.communication.before
        return before.of_groups(key, lambda: one_price(find(kind, num_bytes, known)))

    def tariff(self, seed: Seed) -> Tariff:
        """Return what the messages of a small pipeline go on here."""
        ways = [self._ways_of(leg) for leg in seed.legs]
        return tariff_of(self.communication, seed.messages, ways, self.num_ranks)

    def _on_ranks(self, kind: str, sizes: Sequence[int], ways: Ways) -> Int64:
        fares = fares_of(self.communication, kind, ways)
        prices = np.array(fares.of_sets(sizes), np.int64)
        on_ranks: Int64 = prices[:, list(ways.set_of_rank)]
        return on_ranks

    def _once(self, key: Hashable, find: Callable[[], Ways]) -> Ways:
        if key not in self._ways:
            self._ways[key] = find()
        return self._ways[key]

    def _ways_of(self, leg: Leg) -> Ways:
        return self._once(leg, lambda: self._leg_ways(leg))

    def _leg_ways(self, leg: Leg) -> Ways:
        members = leg.spread(leg.members, self.num_replicas)
        if not leg.ahead:
            return self._ring_ways(members)
        receivers = leg.spread(leg.receivers, self.num_replicas)
        return self._transfer_ways(members[:, 0], receivers[:, 0], leg.ahead)

    def _ring_ways(self, groups: NDArray[np.integer]) -> Ways:
        first, alike = self._ranks_alike(0)
        rings = [self.communication.rings_of(self.devices[rank][groups]) for rank in first]
        return joined_ways(Rings, rings, alike)

    def _transfer_ways(self, senders: Int64, receivers: Int64, ahead: int) -> Ways:
        first, alike = self._ranks_alike(ahead)
        following = np.roll(self.devices, -ahead, axis=0)
        paces = [
            self._pace_of(self.devices[rank][senders], following[rank][receivers]) for rank in first
        ]
        return joined_ways(Pace, paces, alike)

    def _pace_of(self, sources: Int32, targets: Int32) -> Pace:
        known = self.communication.in_first_hosts(np.concatenate([sources, targets])[None])
        ends = known.reshape(2, -1)
        find = self.communication.pace_of
        key = "pace", ends.tobytes()
        return self.communication.before.of_groups(key, lambda: find(ends[0], ends[1]))

    def _ranks_alike(self, ahead: int) -> tuple[list[int], list[int]]:
        """Return the first of ranks that stand alike, and which of them every rank is like.

        Ranks are alike here together with those ``ahead`` of them (0: on their own).
        """
        if ahead not in self._alike:
            around = [self.devices, np.roll(self.devices, -ahead, axis=0)]
            known = self.communication.in_first_hosts(np.concatenate(around, axis=1))
            number: dict[bytes, int] = {}
            alike = [number.setdefault(row.tobytes(), len(number)) for row in known]
            self._alike[ahead] = [alike.index(n) for n in number.values()], alike
        return self._alike[ahead]
