"""Where the members of a row run: one device, a group of devices, or a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Places:
    """The members of one row of a template: ``groups[k]`` are the devices of member k.

    A compute row has groups of one, a collective one group a member. A transfer has
    ``targets``: member k goes from device ``groups[k, 0]`` to ``targets[k]``.
    """

    groups: Int32
    targets: Int32 | None = None

    @property
    def num_members(self) -> int:
        """Number of tasks that the row stands for."""
        return len(self.groups)

    @cached_property
    def members(self) -> Int64:
        """The member of every device in ``groups``, flattened."""
        return np.repeat(np.arange(len(self.groups)), self.groups.shape[1])

    @cached_property
    def inputs(self) -> Sorted:
        """Devices on which members take their data."""
        return Sorted.of(self.groups.reshape(-1), self.members)

    @cached_property
    def outputs(self) -> Sorted:
        """Devices on which members leave their result."""
        if self.targets is None:
            return self.inputs
        return Sorted.of(self.targets, np.arange(len(self.targets)))

    @cached_property
    def devices(self) -> Int32:
        """Every device that takes part, sorted."""
        ends = self.groups.reshape(-1)
        return np.unique(ends if self.targets is None else np.concatenate([ends, self.targets]))

    @cached_property
    def mask(self) -> int:
        """The devices that take part as the bits of one number."""
        bits = np.zeros(int(self.devices[-1]) + 1, np.uint8)
        bits[self.devices] = 1
        return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


@dataclass(frozen=True, eq=False)
class Sorted:
    """Pairs of a device and a member, sorted by device."""

    devices: Int32
    members: Int64

    @classmethod
    def of(cls, devices: Int32, members: Int64) -> Sorted:
        """Sort pairs by device, members in order."""
        order = np.argsort(devices, kind="stable")
        return cls(devices[order], members[order])


NOWHERE = Sorted(np.zeros(0, np.int32), np.zeros(0, np.int64))
"""No pairs."""


def join(before: Sorted, after: Sorted) -> tuple[Int64, Int64]:
    """Return the pairs of members (of ``before``, of ``after``) that share a device, sorted."""
    left, right, _ = joins([(before, after)])
    return left, right


def joins(sides: Sequence[tuple[Sorted, Sorted]]) -> tuple[Int64, Int64, Int64]:
    """Return the pairs of every :func:`join` of ``sides`` in turn, and where each join begins."""
    befores, afters = [side[0] for side in sides], [side[1] for side in sides]
    keys, wanted = _keys(befores), _keys(afters)
    low = np.searchsorted(keys, wanted, side="left")
    counts = np.searchsorted(keys, wanted, side="right") - low
    right = np.repeat(np.concatenate([one.members for one in afters]), counts)
    side = np.repeat(_side_of_pair(afters), counts)
    members: Int64 = np.concatenate([one.members for one in befores])
    left = members[ragged_ranges(low, counts)]
    return _distinct(side, left, right, len(sides))


def _side_of_pair(sides: Sequence[Sorted]) -> Int64:
    return np.repeat(np.arange(len(sides)), [len(one.devices) for one in sides])


def _keys(sides: Sequence[Sorted]) -> Int64:
    """Return numbers that grow with the side and then with the device."""
    devices = np.concatenate([one.devices for one in sides])
    keys: Int64 = (_side_of_pair(sides) << 32) + devices
    return keys


def _distinct(side: Int64, left: Int64, right: Int64, num_sides: int) -> tuple[Int64, Int64, Int64]:
    """Return the distinct pairs of each side, sorted, and where each side begins."""
    height, width = (int(members.max(initial=0)) + 1 for members in (left, right))
    packed = _sorted_once((side * height + left) * width + right)
    packed, right = np.divmod(packed, width)
    side, left = np.divmod(packed, height)
    return left, right, np.searchsorted(side, np.arange(num_sides + 1))


def _sorted_once(values: Int64) -> Int64:
    """Return distinct values, sorted: as ``np.unique``, whose hash table is many times slower."""
    values = np.sort(values)
    is_first = np.ones(len(values), bool)
    is_first[1:] = values[1:] != values[:-1]
    return values[is_first]


def ragged_ranges(starts: NDArray[np.integer], counts: NDArray[np.integer]) -> Int64:
    """Return the concatenation of ``starts[i], starts[i] + 1, … (counts[i] values)``."""
    total = int(counts.sum())
    ends = np.cumsum(counts)
    offsets: Int64 = np.repeat(np.asarray(starts, np.int64) - (ends - counts), counts)
    return offsets + np.arange(total)
