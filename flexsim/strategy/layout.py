"""Layouts: how a tensor lies on a mesh, read off a config and the way a map uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod

from flexsim.errors import StrategyError
from flexsim.operator_graph.axes import Axis, Bounds, Window
from flexsim.operator_graph.records import Dim, Map, Operator, Use
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.mesh import Mesh, largest_part, part_bounds


@dataclass(frozen=True)
class Layout:
    """For each tensor axis the mesh axes that split it, and the mesh axes with partial results.

    Mesh axes that stand nowhere replicate the tensor. ``partial`` pairs a mesh axis with how
    its partial results combine ("sum" or "max"). A tensor read through windows has ``bounds``:
    for each tensor axis what every part needs, which may overlap, or None for even cuts.
    """

    mesh: Mesh
    axes: tuple[tuple[str, ...], ...]
    partial: tuple[tuple[str, str], ...] = ()
    bounds: tuple[Bounds | None, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal."""
        return self is other or (
            isinstance(other, Layout)
            and self._hash == other._hash
            and self._content == other._content
        )

    def __hash__(self) -> int:
        """Return a hash computed once."""
        return self._hash

    @cached_property
    def _content(self) -> tuple[object, ...]:
        return self.mesh, self.axes, self.partial, self.bounds

    @cached_property
    def _hash(self) -> int:
        return hash(self._content)

    @cached_property
    def split_axes(self) -> frozenset[str]:
        """Mesh axes that split some axis of the tensor."""
        return frozenset(name for axis in self.axes for name in axis)

    @cached_property
    def partial_axes(self) -> frozenset[str]:
        """Mesh axes over which the tensor holds partial results."""
        return frozenset(name for name, _ in self.partial)

    @cached_property
    def replicated_axes(self) -> tuple[str, ...]:
        """Mesh axes along which every device holds the same."""
        used = self.split_axes | self.partial_axes
        return tuple(name for name in self.mesh.names if name not in used)

    def local_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sizes of the largest part of a tensor of ``shape``."""
        return tuple(
            max(high - low for low, high in bounds)
            if bounds
            else largest_part(size, self.mesh.degree(axes))
            for size, axes, bounds in zip(
                shape, self.axes, self.bounds or (None,) * len(shape), strict=True
            )
        )

    def local_elements(self, shape: tuple[int, ...]) -> int:
        """Return the number of elements of the largest part."""
        found = self._elements.get(shape)
        if found is None:
            found = self._elements[shape] = prod(self.local_shape(shape))
        return found

    @cached_property
    def _elements(self) -> dict[tuple[int, ...], int]:
        """Elements of the largest part by shape, counted once."""
        return {}

    def with_partial(self, partial: Iterable[tuple[str, str]]) -> Layout:
        """Return the same split with other partial axes, in mesh order."""
        order = self.mesh.names.index
        return replace(self, partial=tuple(sorted(set(partial), key=lambda p: order(p[0]))))

    def on(self, mesh: Mesh) -> Layout:
        """Return the same layout on another mesh of the same shape."""
        return replace(self, mesh=mesh)

    def without_single_axes(self) -> Layout:
        """Return the same placement without mesh axes of one device, which split nothing."""
        if min(self.mesh.shape, default=2) > 1:
            return self
        names, shape = self.mesh.names, self.mesh.shape
        kept = {name for name, size in zip(names, shape, strict=True) if size > 1}
        axes = tuple(tuple(n for n in axis if n in kept) for axis in self.axes)
        partial = tuple(p for p in self.partial if p[0] in kept)
        return Layout(self.mesh, axes, partial, self.bounds)

    def whole(self) -> Layout:
        """Return the same split with nothing partial."""
        return replace(self, partial=()) if self.partial else self


def read_layout(operator: Operator, config: ParallelConfig, use: Use) -> Layout:
    """Return the layout in which a part finds the box of ``use`` that it needs."""
    try:
        return _read_layout(operator.dims, config, use.axes)
    except StrategyError as problem:
        raise StrategyError(f"operator {operator.name!r}: {problem}") from problem


def write_layout(operator: Operator, config: ParallelConfig, m: Map) -> Layout:
    """Return the layout in which a map leaves its result.

    A split dimension that the write lacks makes partial results if a read of the map has it,
    and replicas otherwise.
    """
    try:
        return _write_layout(operator.dims, config, m.write.placing, m.summed_dims)
    except StrategyError as problem:
        raise StrategyError(f"operator {operator.name!r}: {problem}") from problem


@lru_cache(maxsize=65536)
def _read_layout(dims: tuple[Dim, ...], config: ParallelConfig, axes: tuple[Axis, ...]) -> Layout:
    by_name = {dim.name: dim for dim in dims}
    splits = tuple(_axis_splits(by_name, config, axis) for axis in axes)
    bounds = tuple(_axis_bounds(by_name, config, axis) for axis in axes)
    return Layout(config.mesh, splits, (), bounds if any(bounds) else ())


@lru_cache(maxsize=65536)
def _write_layout(
    dims: tuple[Dim, ...],
    config: ParallelConfig,
    write: tuple[tuple[Axis, ...], str],
    summed: tuple[str, ...],
) -> Layout:
    axes, combine = write
    layout = _read_layout(dims, config, axes)
    leader = {dim.name: dim.follows or dim.name for dim in dims}
    found = ((axis, combine) for dim in summed for axis in config.axes(leader[dim]))
    return layout.with_partial(found)


def _axis_splits(dims: Mapping[str, Dim], config: ParallelConfig, axis: Axis) -> tuple[str, ...]:
    if isinstance(axis, Window):
        return config.axes(dims[axis.dim].follows or axis.dim)
    splits: tuple[str, ...] = ()
    for position, dim in enumerate(axis):
        minor_split = any(config.axes(later) for later in axis[position + 1 :])
        leader, size = dims[dim].follows or dim, dims[dim].size
        degree = config.degree(leader)
        if (minor_split and degree != size) or (len(axis) > 1 and size % degree):
            raise StrategyError(
                f"dimension {dim!r} of size {size} is split {degree} times, which leaves "
                f"{'x'.join(axis)} in pieces; choose a divisor"
                + (f", or {size} itself" if minor_split else "")
            )
        splits += config.axes(leader)
    return splits


def _axis_bounds(dims: Mapping[str, Dim], config: ParallelConfig, axis: Axis) -> Bounds | None:
    """Return what every part of a window touches; None where that is the even cut."""
    if not isinstance(axis, Window):
        return None
    degree = config.degree(dims[axis.dim].follows or axis.dim)
    bounds = axis.bounds(_even(dims[axis.dim].size, degree))
    return None if bounds == _even(axis.size, degree) else bounds


def _even(size: int, degree: int) -> Bounds:
    cuts = part_bounds(size, degree).tolist()
    return tuple(pairwise(cuts))
