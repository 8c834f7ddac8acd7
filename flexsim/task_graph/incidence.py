"""Who takes part in what: the members of all rows and the devices that they run on.

Rows that share their places share their members here, so a model of a thousand equal layers
is as small as one of a single layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.places import Places
from flexsim.task_graph.rows import Row

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

Key = tuple[int, int, int]

TARGET = np.uint64(0x5851F42D4C957F2D)
"""What tells the target of a transfer from its source."""
_NAME = np.uint64(0x14057B7EF767814F)  # numbers of places are no colors of devices


@dataclass(frozen=True, eq=False)
class Incidence:
    """Members of all distinct places, numbered one after the other, and their devices.

    Row k of ``device``, ``member`` and ``role`` says that a device (its position in
    ``devices``) takes part in a member, as :data:`TARGET` where it receives a transfer.
    ``label`` differs where places, durations or bytes of members differ.
    """

    keys: list[Key]
    """Of every row, the identities of its places, durations and bytes."""
    samples: dict[Key, Row]
    """The last row with each key."""

    devices: NDArray[np.int32]
    places: tuple[Places, ...]
    number: dict[Places, int]
    """Of every row's places, the position in ``places`` of those equal to it."""
    device: Int64
    member: Int64
    role: UInt64
    label: UInt64

    @cached_property
    def offsets(self) -> Int64:
        """The first member of every entry of ``places``, and the number of all."""
        return np.cumsum([0, *(places.num_members for places in self.places)])

    @cached_property
    def place_of_member(self) -> Int64:
        """Position in ``places`` of every member."""
        return np.repeat(np.arange(len(self.places)), np.diff(self.offsets))

    @cached_property
    def is_transfer(self) -> NDArray[np.bool_]:
        """Whether each entry of ``places`` has targets."""
        return np.array([places.targets is not None for places in self.places], bool)


def incidence(rows: Sequence[Row], devices: NDArray[np.int32]) -> Incidence:
    """Return who takes part in ``rows``; ``devices`` are all that do, sorted."""
    keys = [(id(row.places), id(row.duration_ns), id(row.num_bytes)) for row in rows]
    samples = dict(zip(keys, rows, strict=True))
    places, number = _distinct_places(samples.values())
    position = positions(devices)
    counts = np.array([p.num_members for p in places], np.int64)
    widths = np.repeat([p.groups.shape[1] for p in places], counts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    targets = [(k, p.targets) for k, p in enumerate(places) if p.targets is not None]
    holders = np.concatenate([p.groups.reshape(-1) for p in places])
    receivers = [position[ids] for _, ids in targets]
    received = [np.arange(offsets[k], offsets[k + 1]) for k, _ in targets]
    num_received = sum(map(len, received))
    return Incidence(
        keys=keys,
        samples=samples,
        devices=devices,
        places=tuple(places),
        number=number,
        device=np.concatenate([position[holders], *receivers]),
        member=np.concatenate([np.repeat(np.arange(len(widths)), widths), *received]),
        role=np.repeat(np.array([0, TARGET], np.uint64), [len(holders), num_received]),
        label=_labels(samples.values(), number, offsets),
    )


def mixed(numbers: UInt64) -> UInt64:
    """Return a 64-bit hash of every number (the finalizer of SplitMix64).

    Sums of such hashes tell multisets apart: two different ones among n agree by accident
    with a probability of about n² / 2⁶⁵.
    """
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: UInt64 = z ^ (z >> np.uint64(31))
    return result


def varies(values: Int64) -> bytes:
    """Return the bytes of ``values``; none where all are equal."""
    content = values.tobytes()
    return b"" if content == content[: values.itemsize] * len(values) else content


def _distinct_places(rows: Iterable[Row]) -> tuple[list[Places], dict[Places, int]]:
    number: dict[Places, int] = {}
    found: dict[tuple[object, ...], int] = {}
    places: list[Places] = []
    for one in dict.fromkeys([row.places for row in rows]):
        targets = b"" if one.targets is None else one.targets.tobytes()
        key = (one.groups.shape, one.groups.tobytes(), targets)
        number[one] = found.setdefault(key, len(places))
        if number[one] == len(places):
            places.append(one)
    return places, number


def _labels(rows: Collection[Row], number: dict[Places, int], offsets: Int64) -> UInt64:
    """Label the members of every places by what differs between them in some row."""
    names = mixed(np.arange(len(offsets) - 1).astype(np.uint64) + _NAME)
    label = np.repeat(names, np.diff(offsets))
    columns = {id(row.duration_ns): row.duration_ns for row in rows}
    columns |= {id(row.num_bytes): row.num_bytes for row in rows}
    content = {key: found for key, column in columns.items() if (found := varies(column))}
    seen: set[tuple[int, bytes]] = set()
    for row in rows if content else ():
        for values in (row.duration_ns, row.num_bytes):
            cell = number[row.places], content.get(id(values), b"")
            if cell[1] and cell not in seen:
                label[offsets[cell[0]] : offsets[cell[0] + 1]] += salted(values, len(seen))
                seen.add(cell)
    return label


def salted(values: Int64, salt: int) -> UInt64:
    """Return a hash of every value that depends on ``salt`` too."""
    return mixed(values.astype(np.uint64) + mixed(np.array([salt], np.uint64)))


def positions(devices: NDArray[np.int32]) -> Int64:
    """Return the place of every device id in ``devices`` (sorted)."""
    position = np.zeros(int(devices[-1]) + 1, np.int64)
    position[devices] = np.arange(len(devices))
    return position
