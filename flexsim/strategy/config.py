"""A parallel config: how one operator's index space is cut and where its parts run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import StrategyError, choices_text
from flexsim.operator_graph.records import Dim, Operator
from flexsim.strategy.mesh import Mesh, part_bounds


@dataclass(frozen=True)
class ParallelConfig:
    """Dimensions of one operator mapped to mesh axes, major first.

    Mesh axes that no dimension uses replicate the operator.
    """

    mesh: Mesh
    splits: tuple[tuple[str, tuple[str, ...]], ...]

    def __hash__(self) -> int:
        """Return a hash computed once."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.mesh, self.splits))

    @classmethod
    def of(cls, mesh: Mesh, splits: Mapping[str, tuple[str, ...]]) -> ParallelConfig:
        """Return the config that maps each dimension of ``splits`` to its mesh axes."""
        return cls(mesh, tuple((dim, axes) for dim, axes in splits.items() if axes))

    @classmethod
    def from_degrees(cls, degrees: Mapping[str, int], devices: Sequence[int]) -> ParallelConfig:
        """Return the config that cuts each dimension ``degrees[dim]`` times over ``devices``.

        The first dimension is major: neighbouring devices differ in the last one.
        """
        shape = tuple(degrees.values())
        if int(np.prod(shape, dtype=np.int64)) != len(devices):
            raise StrategyError(
                f"degrees {dict(degrees)} need {int(np.prod(shape))} devices, not {len(devices)}"
            )
        mesh = Mesh(tuple(degrees), np.array(devices, np.int32).reshape(shape))
        return cls.of(mesh, {dim: (dim,) for dim in degrees})

    @cached_property
    def by_dim(self) -> dict[str, tuple[str, ...]]:
        """Mesh axes of every split dimension; an axis of one device splits nothing."""
        size = self.mesh.axis_size
        return {dim: tuple(a for a in axes if size(a) > 1) for dim, axes in self.splits}

    @property
    def devices(self) -> NDArray[np.int32]:
        """The array of devices."""
        return self.mesh.devices

    def axes(self, dim: str) -> tuple[str, ...]:
        """Mesh axes that split a dimension; empty if it is whole."""
        return self.by_dim.get(dim, ())

    def degree(self, dim: str) -> int:
        """Number of parts along a dimension."""
        return self.mesh.degree(self.axes(dim))


def check_config(operator: Operator, config: ParallelConfig) -> None:
    """Raise :class:`StrategyError` where ``config`` does not fit ``operator``."""
    used = [axis for _, axes in config.splits for axis in axes]
    if len(set(used)) != len(used):
        raise StrategyError(f"operator {operator.name!r}: a mesh axis splits two dimensions")
    limits = {dim.name: min(dim.size, dim.max_degree or dim.size) for dim in operator.dims}
    for dim, axes in config.splits:
        if dim not in limits:
            known = choices_text(dim, [d for d, leader in operator.leaders.items() if d == leader])
            raise StrategyError(f"operator {operator.name!r} has no dimension {dim!r}: {known}")
        unknown = [axis for axis in axes if axis not in config.mesh.names]
        if unknown:
            known = choices_text(unknown[0], config.mesh.names)
            raise StrategyError(f"operator {operator.name!r}: no mesh axis {unknown[0]!r}: {known}")
        if config.degree(dim) > limits[dim]:
            raise StrategyError(
                f"operator {operator.name!r}: dimension {dim!r} is split "
                f"{config.degree(dim)} times; choose at most {limits[dim]}"
            )


@dataclass(frozen=True)
class PartSizes:
    """The distinct box sizes of an operator's parts and which part has which."""

    boxes: tuple[dict[str, int], ...]
    box_of_part: NDArray[np.int64]


@lru_cache(maxsize=4096)
def part_sizes(operator: Operator, config: ParallelConfig) -> PartSizes:
    """Return box sizes by dimension, parts numbered as the mesh's devices are in order."""
    degrees = {dim: config.degree(leader) for dim, leader in operator.leaders.items()}
    loaded = [dim for dim in operator.dims if dim.load is not None]
    if not loaded and all(size % degrees[dim] == 0 for dim, size in operator.sizes.items()):
        box = {dim: size // degrees[dim] for dim, size in operator.sizes.items()}
        return PartSizes((box,), np.zeros(config.mesh.size, np.int64))
    leaders = operator.leaders
    columns = [_sizes_by_part(n, config, leaders[d]) for d, n in operator.sizes.items()]
    for dim in loaded:
        position = list(operator.sizes).index(dim.name)
        columns[position] = _loaded_sizes(columns[position], dim, operator, config)
    distinct, inverse = np.unique(np.stack(columns, 1), axis=0, return_inverse=True)
    boxes = tuple(dict(zip(operator.sizes, map(int, row), strict=True)) for row in distinct)
    return PartSizes(boxes, inverse.reshape(-1))


def _loaded_sizes(
    even: NDArray[np.int64], dim: Dim, operator: Operator, config: ParallelConfig
) -> NDArray[np.int64]:
    """Return the extent of a loaded dimension in every part, at least 1 where it has any."""
    assert dim.load is not None
    along = operator.leaders[dim.load.along]
    size = operator.sizes[dim.load.along]
    cuts = part_bounds(size, config.degree(along)).tolist()
    place = config.mesh.part_index(config.axes(along)).tolist()
    extents = [
        max(min(1, each), dim.load.extent(each, cuts[part], cuts[part + 1], size))
        for each, part in zip(even.tolist(), place, strict=True)
    ]
    return np.array(extents, np.int64)


def _sizes_by_part(size: int, config: ParallelConfig, dim: str) -> NDArray[np.int64]:
    cuts = np.diff(part_bounds(size, config.degree(dim)))
    sizes: NDArray[np.int64] = cuts[config.mesh.part_index(config.axes(dim))]
    return sizes
