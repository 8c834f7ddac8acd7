"""Configs in one normal form, so that equal cuts of neighbouring operators are seen as equal.

The mesh of a normal config has one axis a prime factor, named ``x0, x1, …`` (a single device has
one of size 1); a dimension that is cut six ways takes two of them. Layouts on meshes of one form
are joined by collectives where their axes agree, whatever the dimensions are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from flexsim.strategy import Mesh, ParallelConfig

COPIES = ""
"""Stands among the dimensions for a number of equal copies of every part."""


@lru_cache(maxsize=4096)
def prime_factors(number: int) -> tuple[int, ...]:
    """Return the prime factors of a number in ascending order; none for 1."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return (*factors, number) if number > 1 else tuple(factors)


def normal_mesh(devices: ArrayLike) -> Mesh:
    """Return the mesh over an array of devices whose axes all have prime sizes."""
    array = np.asarray(devices, np.int32)
    shape = [factor for size in array.shape for factor in prime_factors(size)] or [1]
    return Mesh([f"x{i}" for i in range(len(shape))], array.reshape(shape))


def arranged(degrees: Mapping[str, int], devices: Sequence[int]) -> ParallelConfig:
    """Return the normal config with these degrees, the first major, over devices in order.

    :data:`COPIES` among ``degrees`` stands for copies of every part.
    """
    mesh = normal_mesh(np.reshape(np.asarray(devices, np.int32), [*degrees.values()]))
    splits: dict[str, tuple[str, ...]] = {}
    position = 0
    for dim, degree in degrees.items():
        following = position + len(prime_factors(degree))
        if dim != COPIES:
            splits[dim] = mesh.names[position:following]
        position = following
    return ParallelConfig.of(mesh, splits)


def normal(config: ParallelConfig) -> ParallelConfig:
    """Return the same cut on the same devices in normal form."""
    mesh = normal_mesh(config.mesh.devices)
    taken: dict[str, tuple[str, ...]] = {}
    position = 0
    for name, size in zip(config.mesh.names, config.mesh.shape, strict=True):
        following = position + len(prime_factors(size))
        taken[name] = mesh.names[position:following]
        position = following
    splits = {dim: tuple(x for axis in axes for x in taken[axis]) for dim, axes in config.splits}
    return ParallelConfig.of(mesh, splits)


def degrees_of(config: ParallelConfig) -> dict[str, int]:
    """Return the degree of every dimension that is cut, and of copies where there are any."""
    degrees = {dim: config.degree(dim) for dim, _ in config.splits if config.degree(dim) > 1}
    copies = config.mesh.size // prod(degrees.values())
    return {**degrees, COPIES: copies} if copies > 1 else degrees


def moved(config: ParallelConfig, devices: ArrayLike) -> ParallelConfig:
    """Return the same cut over other devices, given in the order of the parts."""
    array = np.reshape(np.asarray(devices, np.int32), config.mesh.shape)
    return ParallelConfig(Mesh(config.mesh.names, array), config.splits)
