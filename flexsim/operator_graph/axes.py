"""Axes of tensors: which dimensions of an index space index them, plainly or through a window.

A plain axis is a tuple of dimensions, major first. A window is what convolution, pooling and
concatenation need: the positions of the axis are an affine image of one dimension and of a tap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

Bounds = tuple[tuple[int, int], ...]
"""[low, high) of every part along one tensor axis."""


@dataclass(frozen=True, slots=True)
class Window:
    """A tensor axis of ``size`` elements that a dimension walks over.

    Index ``d`` of dimension ``dim``, which has ``length``, stands with tap ``t`` at
    ``stride * d + t + offset``; what falls outside the axis is padding. ``tap`` names the
    dimension of the kernel, which is never split; without one the window is one element.
    ``transposed`` turns the relation round: element ``x`` is met by the ``d`` and ``t`` with
    ``stride * x + t + offset = d``. ``positions`` names the dimension that runs over the axis
    itself where its gradient is written; it is cut wherever ``dim`` is.
    """

    dim: str
    length: int
    positions: str
    size: int
    tap: str = ""
    taps: int = 1
    stride: int = 1
    offset: int = 0
    transposed: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        """The dimension and its tap."""
        return (self.dim, self.tap) if self.tap else (self.dim,)

    def transpose(self) -> Window:
        """Return the same relation seen from the other side."""
        return replace(
            self,
            dim=self.positions,
            length=self.size,
            positions=self.dim,
            size=self.length,
            transposed=not self.transposed,
        )

    def interval(self, low: int, high: int) -> tuple[int, int]:
        """Return the elements that indices [low, high) of the dimension touch, not yet clipped.

        Elements that no window touches belong to the window before them, so that neighbouring
        intervals leave no gap.
        """
        if not self.transposed:
            reach = max(self.taps, self.stride)
            return self.stride * low + self.offset, self.stride * (high - 1) + reach + self.offset
        first = -((self.offset + self.taps - 1 - low) // self.stride)
        return first, (high - 1 - self.offset) // self.stride + 1

    def extent(self, length: int) -> int:
        """Return how many elements ``length`` indices touch at most."""
        if self.transposed:
            return min(self.size, (length + self.taps - 2) // self.stride + 1)
        return min(self.size, self.stride * (length - 1) + max(self.taps, self.stride))

    def bounds(self, cuts: Bounds) -> Bounds:
        """Return the elements that every part of the dimension, given by ``cuts``, touches."""
        return tuple(self._clipped(low, high, cuts[-1][1]) for low, high in cuts)

    def _clipped(self, low: int, high: int, total: int) -> tuple[int, int]:
        if low >= high:
            return 0, 0
        first, end = self.interval(low, high)
        first = min(max(first, 0), self.size) if low else 0
        end = min(max(end, 0), self.size) if high < total else self.size
        return (first, end) if first < end else (0, 0)


Axis = tuple[str, ...] | Window
"""One axis of a tensor: dimensions, major first (heads are groups x repeats), or a window."""


def axis_dims(axis: Axis) -> tuple[str, ...]:
    """Return the dimensions that index an axis."""
    return axis.dims if isinstance(axis, Window) else axis


def axis_size(axis: Axis, sizes: Mapping[str, int]) -> int:
    """Return the size of a whole axis, given that of every dimension."""
    return axis.size if isinstance(axis, Window) else prod(sizes[dim] for dim in axis)


def axis_extent(axis: Axis, box: Mapping[str, int]) -> int:
    """Return how many elements of an axis a box of the index space touches at most."""
    if isinstance(axis, Window):
        return axis.extent(box[axis.dim]) if box[axis.dim] else 0
    return prod(box[dim] for dim in axis)
