"""Prices as symbols: a program is built once and priced for many placements."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import Int64

SYMBOL = 2**60
"""Durations from here on are symbols: ``SYMBOL + i`` stands for message i of a ledger."""


class Message(NamedTuple):
    """A collective or, with targets, a transfer whose price is not known yet.

    ``groups`` (or the sources) and ``targets`` are device numbers, as bytes of an int64 array;
    ``kind`` is the collective, or "transfer"; ``num_bytes`` is one number for all.
    """

    kind: str
    num_bytes: int
    group_size: int
    groups: bytes
    targets: bytes = b""

    @property
    def members(self) -> Int64:
        """Groups, a row each; the sources of transfers in one column."""
        return np.frombuffer(self.groups, np.int64).reshape(-1, self.group_size)

    @property
    def receivers(self) -> Int64:
        """The target of every transfer."""
        return np.frombuffer(self.targets, np.int64)


@dataclass
class Ledger:
    """A communication model that answers with symbols and remembers what they stand for."""

    number_of: dict[Message, int] = field(default_factory=dict)

    @property
    def messages(self) -> list[Message]:
        """Message i has the duration ``SYMBOL + i``."""
        return list(self.number_of)

    def collective_ns(
        self, collective: str, num_bytes: int, groups: NDArray[np.int32], /
    ) -> NDArray[np.int64]:
        """Return the symbol of a collective, for every group."""
        flat = np.ascontiguousarray(groups, np.int64)
        return self._symbol(
            Message(collective, int(num_bytes), flat.shape[1], flat.tobytes()), len(flat)
        )

    def transfer_ns(
        self,
        num_bytes: NDArray[np.int64] | int,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        /,
    ) -> NDArray[np.int64]:
        """Return the symbol of transfers of equal size; -1 where sizes differ."""
        sizes = np.unique(num_bytes)
        if len(sizes) != 1:
            return np.full(len(sources), -1, np.int64)
        ends = [np.ascontiguousarray(side, np.int64).tobytes() for side in (sources, targets)]
        return self._symbol(Message("transfer", int(sizes[0]), 1, ends[0], ends[1]), len(sources))

    def _symbol(self, message: Message, count: int) -> NDArray[np.int64]:
        number = self.number_of.setdefault(message, len(self.number_of))
        return np.full(count, SYMBOL + number, np.int64)
