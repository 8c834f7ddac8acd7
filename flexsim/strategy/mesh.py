"""A mesh: named axes over an array of devices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexsim.errors import StrategyError


class Mesh:
    """Devices in an array whose axes have names; equal by names, shape and devices.

    ``devices`` has one axis a name; a device stands in it once.
    """

    def __init__(self, names: Sequence[str], devices: ArrayLike) -> None:
        """Freeze ``devices`` (ids, any shape with one axis a name)."""
        self.names = tuple(names)
        self.devices: NDArray[np.int32] = np.array(devices, np.int32)
        self.devices.setflags(write=False)
        self.shape = self.devices.shape
        if len(self.shape) != len(self.names) or len(set(self.names)) != len(self.names):
            raise StrategyError(
                f"a mesh needs one distinct name an axis: {list(self.names)} for a "
                f"{len(self.shape)}-dimensional array of devices"
            )
        if len(np.unique(self.devices)) != self.devices.size or not self.devices.size:
            raise StrategyError(_wrong_devices(self.devices))
        self._key = (self.names, self.shape, self.devices.tobytes())
        self._hash = hash(self._key)
        self._groups: dict[tuple[str, ...], NDArray[np.int32]] = {}
        self._parts: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def __eq__(self, other: object) -> bool:
        """Whether names, shape and devices are equal."""
        return self is other or (
            isinstance(other, Mesh) and self._hash == other._hash and self._key == other._key
        )

    def __hash__(self) -> int:
        """Return a hash computed once."""
        return self._hash

    def __reduce__(self) -> tuple[type[Mesh], tuple[Sequence[str], NDArray[np.int32]]]:
        """Rebuild where it is unpickled: hashes differ between processes."""
        return Mesh, (self.names, self.devices)

    def __repr__(self) -> str:
        """Return names with sizes and the first devices."""
        axes = ", ".join(f"{n}={s}" for n, s in zip(self.names, self.shape, strict=True))
        return f"Mesh({axes}; devices {self.flat[0]}…{self.flat[-1]})"

    @cached_property
    def flat(self) -> NDArray[np.int32]:
        """All devices in row-major order: the order of parts."""
        return self.devices.reshape(-1)

    @property
    def size(self) -> int:
        """Number of devices."""
        return self.devices.size

    def axis_size(self, name: str) -> int:
        """Number of devices along one axis."""
        return int(self.shape[self.names.index(name)])

    def degree(self, axes: Sequence[str]) -> int:
        """Product of the sizes of ``axes``."""
        return prod(self.axis_size(name) for name in axes)

    def groups(self, axes: tuple[str, ...]) -> NDArray[np.int32]:
        """Devices that differ along ``axes`` only: ``[num_groups, group_size]``, in mesh order."""
        if axes not in self._groups:
            inside = [self.names.index(name) for name in axes]
            outside = [i for i in range(len(self.names)) if i not in inside]
            moved = self.devices.transpose(outside + inside)
            self._groups[axes] = moved.reshape(-1, self.degree(axes))
        return self._groups[axes]

    def part_index(self, axes: Sequence[str]) -> NDArray[np.int64]:
        """For every device in row-major order, its part along ``axes``, the first major."""
        key = tuple(axes)
        if key not in self._parts:
            index = np.zeros(self.shape, np.int64)
            for name in key:
                position = self.names.index(name)
                others = (1,) * (len(self.shape) - position - 1)
                here = np.arange(self.shape[position]).reshape(-1, *others)
                index = index * self.shape[position] + here
            self._parts[key] = index.reshape(-1)
            self._parts[key].setflags(write=False)
        return self._parts[key]

    def same_shape(self, other: Mesh) -> bool:
        """Whether the other mesh has the same axes, on whatever devices."""
        return self.names == other.names and self.shape == other.shape


def _wrong_devices(devices: NDArray[np.int32]) -> str:
    if not devices.size:
        return "a mesh needs at least one device"
    found, times = np.unique(devices, return_counts=True)
    return (
        f"device {found[times.argmax()]} stands {times.max()} times in a mesh: a device computes"
        " one part of an operator, so that each may be named once"
    )


def part_bounds(size: int, degree: int) -> NDArray[np.int64]:
    """Return the ``degree + 1`` cuts of ``size``: part k is [⌊k·size/degree⌋, ⌊(k+1)·size/degree⌋).

    Such cuts nest when a part is cut again.
    """
    return np.arange(degree + 1, dtype=np.int64) * size // degree


def largest_part(size: int, degree: int) -> int:
    """Return the size of the largest of ``degree`` parts."""
    return -(-size // degree)
