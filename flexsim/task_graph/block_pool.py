"""Rows as arrays: what members do and where, each content once, numbered from 0.

Compute rows and collectives take part on a device once, so they lie in *device space*: one value
for every device of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flexsim.task_graph.block_pool_kernel import (
    CHANNELS,
    COLLECTIVE,
    COMPUTE,
    DURATIONS,
    HEAD_DEVICE,
    HEAD_DURATION,
    HEAD_KIND,
    HEAD_LEAST,
    HEAD_MEMBERS,
    HEAD_TYPE,
    HEAD_WIDTH,
    PLACES,
    ROWS,
    TRANSFER,
    Contents,
    Entry,
    write_row,
)
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row

__all__ = [
    "COLLECTIVE", "COMPUTE", "HEAD_DEVICE", "HEAD_DURATION", "HEAD_KIND", "HEAD_LEAST",
    "HEAD_MEMBERS", "HEAD_TYPE", "HEAD_WIDTH", "TRANSFER", "Contents", "Pool", "Stint", "num_words",
]  # fmt: skip

_NOWHERE = np.zeros(0, np.int32)
_NO_TIMES = np.zeros(0, np.int64)
_NO_CHANNELS = np.zeros((0, 0), np.int32)
_FIRST_VALUES = 1 << 22
"""Values by device for which there is room at first. It takes no memory before it is used, while
growing copies all that is there."""
_MEASURED_BY = {"duration_ns": DURATIONS, "device": PLACES}
"""What tells how much of a column is used, where that is not the number of rows."""


class Stint(NamedTuple):
    """What of a row its content depends on."""

    kind: int
    places: Places
    duration_ns: Int64
    is_compute: bool = True


class Pool:
    """Numbers rows by their content; equal objects are found again."""

    def __init__(self, num_devices: int) -> None:
        """Begin empty."""
        self.num_devices = num_devices
        self._number: dict[tuple[int, int, int], int] = {}
        self._channel: dict[int, Int32] = {}
        self._places: dict[tuple[bytes, int, bytes], Places] = {}
        self._kept: list[Row | Stint] = []
        self._counts = np.zeros(4, np.int64)
        self._contents = _room((_FIRST_VALUES // num_devices, *[_FIRST_VALUES] * 2), num_devices)

    @property
    def size(self) -> int:
        """Number of values held by device."""
        return int(self._counts[ROWS]) * self.num_devices

    @property
    def num_channels(self) -> int:
        """Number of channels that any row has used."""
        return int(self._counts[CHANNELS])

    @property
    def contents(self) -> Contents:
        """All rows so far, and room behind them."""
        return self._contents

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
        shape = TRANSFER if targets is not None else COMPUTE if row.is_compute else COLLECTIVE
        self._make_room(self.num_devices + groups.size, 4 * groups.size)
        self._kept.append(row)  # so that its arrays keep their identity
        entry = Entry(
            shape,
            row.kind,
            np.ascontiguousarray(groups, np.int32),
            _NOWHERE if targets is None else np.ascontiguousarray(targets, np.int32),
            np.ascontiguousarray(row.duration_ns, np.int64),
            self._channels_of(row.kind) if shape == TRANSFER else _NO_CHANNELS,
        )
        write_row(self._contents, self._counts, entry)
        return int(self._counts[ROWS]) - 1

    def _make_room(self, num_durations: int, num_places: int) -> None:
        """Grow what has no room for one more row."""
        old, used = self._contents, self._counts[:3].tolist()
        have = (len(old.head), len(old.duration_ns), len(old.device))
        wanted = [n + more for n, more in zip(used, (1, num_durations, num_places), strict=True)]
        if all(want <= has for want, has in zip(wanted, have, strict=True)):
            return
        sizes = [has if want <= has else 2 * want for want, has in zip(wanted, have, strict=True)]
        self._contents = _room(sizes, self.num_devices, old)
        for name in Contents._fields:
            values, more = getattr(old, name), getattr(self._contents, name)
            if more is not values:
                num_used = used[_MEASURED_BY.get(name, ROWS)]
                more[:num_used] = values[:num_used]

    def _channels_of(self, kind: int) -> Int32:
        """Return the numbers of the channels of a kind, -1 for those never used."""
        shape = (self.num_devices, self.num_devices)
        return self._channel.setdefault(kind, np.full(shape, -1, np.int32))


def _room(sizes: Sequence[int], num_devices: int, old: Contents | None = None) -> Contents:
    """Return room for so many rows, durations and places; what has it in ``old``, as it is."""
    num_rows, num_durations, num_places = sizes
    num_bits = 2 * num_words(num_devices)
    if old is None or len(old.head) < num_rows:
        table = (num_rows, num_devices)
        rows = Contents(
            head=np.empty((num_rows, 7), np.int64),
            duration_ns=_NO_TIMES,
            device=_NOWHERE,
            devices=np.empty((num_rows, num_bits), np.uint64),
            leader=np.empty(table, np.int32),
            num_left=np.empty(table, np.int32),
            work_ns=np.empty(table, np.int64),
            first=np.empty((num_rows, num_devices + 1), np.int32),
        )
    else:
        rows = old
    has_times = old is not None and len(old.duration_ns) >= num_durations
    has_places = old is not None and len(old.device) >= num_places
    return rows._replace(
        duration_ns=old.duration_ns if old and has_times else np.empty(num_durations, np.int64),
        device=old.device if old and has_places else np.empty(num_places, np.int32),
    )


def num_words(num_devices: int) -> int:
    """Return how many words of 64 bits hold a bit a device."""
    return -(-num_devices // 64)
