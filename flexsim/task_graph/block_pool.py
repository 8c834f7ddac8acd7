"""Rows as arrays: what members do and where, each content once, numbered from 0.

Compute rows and collectives take part on a device once, so they lie in *device space*: one value
for every device of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.block_pool_kernel import Content, write_content
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row

COMPUTE, COLLECTIVE, TRANSFER = range(3)
_NOWHERE = np.zeros(0, np.int32)


class Contents(NamedTuple):
    """Distinct rows. ``head`` has a line a row: see the ``HEAD_`` numbers.

    A compute row has in ``duration_ns`` one value a device of the cluster, 0 where it does not
    run; the others have one a member. ``device`` lists the devices of members in turn, and
    behind the senders of a transfer the receivers, the numbers of the channels and the members
    by sender: those of device d from ``first[d]`` on. Of a collective ``first`` has the member
    that a device leads. ``devices``
    has the same as bits: where a row takes its data, and where it leaves them. By device,
    ``leader`` is the first device of a member's group, -1 where the row takes no data;
    ``num_left`` counts the members that leave data there; and ``work_ns`` is how long the row
    holds the stream of its kind.
    """

    head: Int64
    duration_ns: Int64
    device: Int32
    devices: NDArray[np.uint64]
    leader: Int32
    num_left: Int64
    work_ns: Int64
    first: Int32


HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS, HEAD_WIDTH, HEAD_DURATION, HEAD_DEVICE = range(6)


class Stint(NamedTuple):
    """What of a row its content depends on."""

    kind: int
    places: Places
    duration_ns: Int64
    is_compute: bool = True


class Column:
    """A growing array."""

    def __init__(self, dtype: type[np.generic], width: int = 0) -> None:
        """Begin empty, with lines of ``width`` values or single ones."""
        shape = (1024, width) if width else (1024,)
        self._values: NDArray[np.generic] = np.zeros(shape, dtype)
        self.length = 0

    @property
    def values(self) -> NDArray[np.generic]:
        """All values so far, and room behind them."""
        return self._values

    def next_line(self) -> NDArray[Any]:
        """Append a line and return it, to be written."""
        if self.length == len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
        self.length += 1
        line: NDArray[Any] = self._values[self.length - 1]
        return line

    def append(self, line: Sequence[int]) -> int:
        """Append a line and return its position."""
        self.next_line()[:] = line
        return self.length - 1

    def extend(self, more: Sequence[int] | NDArray[np.generic]) -> int:
        """Append values and return the position of the first."""
        first, after = self.length, self.length + len(more)
        while after > len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
        self._values[first:after] = more
        self.length = after
        return first


class Pool:
    """Numbers rows by their content; equal objects are found again."""

    def __init__(self, num_devices: int) -> None:
        """Begin empty."""
        self.num_devices = num_devices
        self._number: dict[tuple[int, int, int], int] = {}
        self._leader = Column(np.int32, num_devices)
        self._num_left = Column(np.int64, num_devices)
        self._work_ns = Column(np.int64, num_devices)
        self._first = Column(np.int32, num_devices + 1)
        self._channel: dict[int, Int32] = {}
        self.num_channels = 0
        self._places: dict[tuple[bytes, int, bytes], Places] = {}
        self._kept: list[Row | Stint] = []
        self._head = Column(np.int64, 6)
        self._duration_ns = Column(np.int64)
        self._device = Column(np.int32)
        self._devices = Column(np.uint64, 2 * num_words(num_devices))

    @property
    def size(self) -> int:
        """Number of values held by device."""
        return self._head.length * self.num_devices

    @property
    def contents(self) -> Contents:
        """All rows so far."""
        columns = (
            self._head,
            self._duration_ns,
            self._device,
            self._devices,
            self._leader,
            self._num_left,
            self._work_ns,
            self._first,
        )
        return Contents(*(column.values for column in columns))  # type: ignore[arg-type]

    def places(self, groups: Int32, targets: Int32 | None = None) -> Places:
        """Return the places of these members, the same object for the same devices."""
        sent_to = b"" if targets is None else targets.tobytes()
        key = groups.tobytes(), groups.shape[1], sent_to
        if key not in self._places:
            self._places[key] = Places(groups, targets)
        return self._places[key]

    def number(self, row: Row | Stint) -> int:
        """Return the number of a row's content."""
        key = (id(row.places), id(row.duration_ns), row.kind)
        found = self._number.get(key)
        if found is None:
            found = self._number[key] = self._add(row)
        return found

    def _add(self, row: Row | Stint) -> int:
        groups, targets = row.places.groups, row.places.targets
        ends = groups.reshape(-1)
        if targets is not None:
            order = np.argsort(ends, kind="stable").astype(np.int32)
            channels = self._channels(row.kind, ends, targets)
            ends = np.concatenate([ends, targets, channels, order])
        shape = TRANSFER if targets is not None else COMPUTE if row.is_compute else COLLECTIVE
        by_device = self._by_device(row)
        durations = by_device.work_ns if row.is_compute else row.duration_ns
        self._kept.append(row)  # so that its arrays keep their identity
        return self._head.append(
            (
                shape,
                row.kind,
                len(groups),
                groups.shape[1],
                self._duration_ns.extend(durations),
                self._device.extend(ends),
            )
        )

    def _by_device(self, row: Row | Stint) -> Content:
        """Write what is kept by device, and return it."""
        targets = _NOWHERE if row.places.targets is None else row.places.targets
        columns = (self._devices, self._leader, self._num_left, self._work_ns, self._first)
        content = Content(*(column.next_line() for column in columns))
        write_content(row.places.groups, targets, row.duration_ns, content)
        return content

    def _channels(self, kind: int, sources: Int32, targets: Int32) -> Int32:
        """Return the numbers of channels, new ones for those never used."""
        shape = (self.num_devices, self.num_devices)
        table = self._channel.setdefault(kind, np.full(shape, -1, np.int32))
        pairs = sources.astype(np.int64) << 32 | targets
        fresh = np.unique(pairs[table[sources, targets] < 0])
        table[fresh >> 32, fresh & (2**32 - 1)] = self.num_channels + np.arange(len(fresh))
        self.num_channels += len(fresh)
        numbers: Int32 = table[sources, targets]
        return numbers


def num_words(num_devices: int) -> int:
    """Return how many words of 64 bits hold a bit a device."""
    return -(-num_devices // 64)
