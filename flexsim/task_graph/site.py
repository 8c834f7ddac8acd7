"""Where a pipeline stands, and what messages cost there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flexsim.cost.collectives import Communication, Pace
from flexsim.cost.rings import Rings
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.symbolic import Message

if TYPE_CHECKING:
    from flexsim.task_graph.uniform import Seed

UNEQUAL = -2
"""The price of a message that costs more on some devices of a rank than on others."""


class _Ways(NamedTuple):
    """Distinct ways on which messages go, and the way of every (rank, member)."""

    distinct: Rings | Pace
    number: Int64


@dataclass(frozen=True, eq=False)
class Site:
    """The devices of a pipeline: ``devices[r]`` are those of rank r, replica by replica.

    Stages go round the ranks. What is found out about routes is kept.
    """

    devices: Int32
    num_chunks: int
    num_replicas: int
    communication: Communication
    _ways: dict[Hashable, _Ways] = field(default_factory=dict, repr=False)
    _prices: dict[Hashable, Int64] = field(default_factory=dict, repr=False)

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
        key = message, seed.devices_per_rank, seed.num_replicas
        if key not in self._prices:
            self._prices[key] = self._price(message, seed)
        return self._prices[key]

    def _price(self, message: Message, seed: Seed) -> Int64:
        ways = self._ways_of(message, seed)
        if isinstance(ways.distinct, Pace):
            prices = self.communication.paced_ns(message.num_bytes, ways.distinct)
            prices = np.where(np.isinf(ways.distinct.bandwidth_bytes_per_s), 0, prices)
        else:
            kind, num_bytes = message.kind, message.num_bytes
            prices = self.communication.ring_ns(kind, num_bytes, ways.distinct)
        table = np.maximum(prices, 1)[ways.number]
        equal = (table == table[:, :1]).all(axis=1)
        return np.where(equal, table[:, 0], UNEQUAL)

    def _ways_of(self, message: Message, seed: Seed) -> _Ways:
        """Return the ways of a message, which do not depend on its size."""
        width = seed.devices_per_rank // seed.num_replicas
        inside = message.members % seed.devices_per_rank
        near = (inside < width).all(axis=1)
        members = inside[near]
        if message.kind != "transfer":
            key: Hashable = width, members.shape, members.tobytes()
            if key not in self._ways:
                self._ways[key] = self._ring_ways(members)
            return self._ways[key]
        receivers = (message.receivers % seed.devices_per_rank)[near, None]
        ahead = 1 if message.receivers[0] > message.members[0, 0] else -1
        key = width, ahead, members.tobytes(), receivers.tobytes()
        if key not in self._ways:
            self._ways[key] = self._transfer_ways(members, receivers, ahead)
        return self._ways[key]

    def _spread(self, positions: Int64, rank: int) -> Int32:
        """Return groups of devices of a rank: positions in the first replica, on all replicas."""
        starts = self.devices.shape[1] // self.num_replicas * np.arange(self.num_replicas)
        places = positions[None] + starts[:, None, None]
        groups: Int32 = self.devices[rank][places].reshape(-1, positions.shape[1])
        return groups

    def _ring_ways(self, positions: Int64) -> _Ways:
        ranks = range(self.num_ranks)
        rings = [self.communication.rings_of(self._spread(positions, rank)) for rank in ranks]
        columns = [np.concatenate([getattr(ring, f.name) for ring in rings]) for f in fields(Rings)]
        first, number = _distinct(columns)
        distinct = Rings(*(column[first] for column in columns))
        return _Ways(distinct, number.reshape(self.num_ranks, -1))

    def _transfer_ways(self, senders: Int64, receivers: Int64, ahead: int) -> _Ways:
        paces = [
            self.communication.pace_of(
                self._spread(senders, rank)[:, 0],
                self._spread(receivers, (rank + ahead) % self.num_ranks)[:, 0],
            )
            for rank in range(self.num_ranks)
        ]
        columns = [np.concatenate([getattr(pace, f.name) for pace in paces]) for f in fields(Pace)]
        first, number = _distinct(columns)
        distinct = Pace(*(column[first] for column in columns))
        return _Ways(distinct, number.reshape(self.num_ranks, -1))


def _distinct(columns: list[np.ndarray]) -> tuple[Int64, Int64]:
    """Return the first of each set of equal rows, and the set of every row."""
    table = np.stack([column.astype(np.float64) for column in columns], axis=1)
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.int64), number.reshape(-1).astype(np.int64)
