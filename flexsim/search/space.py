"""The space that is searched: for every unit its degrees, and the devices of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np

from flexsim.errors import FlexSimError
from flexsim.search.arrangement import COPIES, arranged, degrees_of, prime_factors
from flexsim.search.placements import ARBITRARY, FIRST, Family, Pool, family
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig

LETTERS = "SOAP"
_MOST_DRAWS = 64
_COPIES_LIMIT = 2**31


@dataclass(frozen=True)
class Restrictions:
    """What of the whole space is searched.

    ``dimensions`` are letters of SOAP: without O every operator lies on the first devices.
    ``placement`` is a family of device assignments; ``copies`` lets parts be replicated.
    """

    dimensions: str = LETTERS
    powers_of_two: bool = False
    placement: str = ARBITRARY
    copies: bool = True

    def __post_init__(self) -> None:
        _check_letters(self.dimensions)
        family(self.placement)

    @property
    def family(self) -> Family:
        """The device assignments that are searched."""
        return family(self.placement if "O" in self.dimensions else FIRST)


@dataclass(frozen=True)
class Space:
    """The configs of every unit: degrees along its dimensions times device assignments."""

    units: tuple[Unit, ...]
    pools: Mapping[int, Pool]
    """The devices of every pipeline rank."""
    rank_of: Mapping[str, int]
    """The pipeline rank that every operator starts on."""
    restrictions: Restrictions

    def pool(self, unit: Unit) -> Pool:
        """Return the devices that a unit may use where no stage boundary has moved."""
        return self.pools[self.rank_of[unit.name]]

    def is_free(self, unit: Unit) -> bool:
        """Whether a unit may be changed: one that several pipeline ranks share stays as it is."""
        return len({self.rank_of[op.name] for op in unit.operators}) == 1

    @cached_property
    def by_operator(self) -> dict[str, Unit]:
        """The unit of every operator."""
        return {op.name: unit for unit in self.units for op in unit.operators}

    def limits(self, unit: Unit) -> dict[str, int]:
        """Return how often each dimension that is searched may be cut, and copied."""
        wanted = self.restrictions.dimensions
        limits = {dim.name: dim.limit for dim in unit.dims if dim.letter in wanted}
        limits = {name: limit for name, limit in limits.items() if limit > 1}
        return {**limits, COPIES: _COPIES_LIMIT} if self._copies else limits

    @property
    def _copies(self) -> bool:
        return self.restrictions.copies and "O" in self.restrictions.dimensions

    def size(self, unit: Unit) -> int:
        """Return the exact number of configs of a unit."""
        if not self.is_free(unit):
            return 1
        pool = self.pool(unit)
        return _size(tuple(self.limits(unit).values()), pool, self.restrictions)

    def configs(self, unit: Unit) -> Iterator[ParallelConfig]:
        """Yield every config of a unit that its operators accept."""
        pool, allowed = self.pool(unit), self.restrictions.family
        for degrees in self.degrees(unit):
            count = prod(degrees.values())
            for devices in allowed.members(pool, count):
                config = arranged(degrees, devices)
                if not unit.accepts(config):
                    break
                yield config

    def degrees(self, unit: Unit) -> Iterator[dict[str, int]]:
        """Yield every choice of degrees of a unit, dimensions that are not cut left out."""
        pool = self.pool(unit)
        limits = self.limits(unit)
        return _degrees(list(limits.items()), pool.size, self.restrictions.powers_of_two)

    def contains(self, unit: Unit, config: ParallelConfig) -> bool:
        """Whether a config's degrees are in the space and accepted; devices are not looked at."""
        limits, degrees = self.limits(unit), degrees_of(config)
        powers = not self.restrictions.powers_of_two or all(
            degree & (degree - 1) == 0 for degree in degrees.values()
        )
        return powers and degrees.keys() <= limits.keys() and unit.accepts(config)

    @cached_property
    def has_any_order(self) -> bool:
        """Whether a config's parts may lie on its devices in any order."""
        return self.restrictions.family is family(ARBITRARY)

    def in_order(self, unit: Unit, config: ParallelConfig) -> ParallelConfig:
        """Return a config with its parts on its devices in the order that :meth:`configs` has."""
        degrees = degrees_of(config)
        order = [dim for dim in [*self.limits(unit), *degrees] if dim in degrees]
        return arranged({dim: degrees[dim] for dim in order}, config.mesh.flat.tolist())

    def draw(self, unit: Unit, pool: Pool, rng: np.random.Generator) -> ParallelConfig | None:
        """Return a config of a unit at random; None if none came up that fits."""
        for _ in range(_MOST_DRAWS):
            degrees = self._draw_degrees(unit, pool, rng)
            found = self.placed(unit, degrees, pool, rng)
            if found is not None:
                return found
        return None

    def placed(
        self, unit: Unit, degrees: Mapping[str, int], pool: Pool, rng: np.random.Generator
    ) -> ParallelConfig | None:
        """Return the config with these degrees on devices drawn at random, if it fits."""
        count = prod(degrees.values())
        order = list(degrees)
        if "O" in self.restrictions.dimensions and rng.random() < 0.5:
            rng.shuffle(order)
        shuffled = {dim: degrees[dim] for dim in order}
        devices = self.restrictions.family.draw(pool, count, rng) if count <= pool.size else None
        if devices is None:
            return None
        config = arranged(shuffled, devices)
        return config if unit.accepts(config) else None

    def _draw_degrees(self, unit: Unit, pool: Pool, rng: np.random.Generator) -> dict[str, int]:
        """Deal the prime factors of a number of devices out to the dimensions."""
        limits = self.limits(unit)
        counts = _counts(pool.size, self.restrictions.powers_of_two)
        count = counts[int(rng.integers(len(counts)))]
        degrees: dict[str, int] = {}
        for factor in rng.permutation(prime_factors(count)).astype(int).tolist():
            open_ = [d for d, most in limits.items() if degrees.get(d, 1) * factor <= most]
            if open_:
                dim = open_[int(rng.integers(len(open_)))]
                degrees[dim] = degrees.get(dim, 1) * factor
        return {dim: degrees[dim] for dim in limits if dim in degrees}


@lru_cache(maxsize=256)
def _counts(num_devices: int, powers_of_two: bool) -> tuple[int, ...]:
    """Return numbers of devices to draw from: each power of two or divisor several times."""
    powers = [2**k for k in range(num_devices.bit_length()) if 2**k <= num_devices]
    if powers_of_two:
        return tuple(powers)
    divisors = [n for n in range(1, num_devices + 1) if num_devices % n == 0]
    common = sorted({*powers, *divisors})
    weight = max(1, 4 * num_devices // len(common))
    return (*range(1, num_devices + 1), *(common * weight))


def _degrees(
    limits: list[tuple[str, int]], most: int, powers_of_two: bool
) -> Iterator[dict[str, int]]:
    if not limits:
        yield {}
        return
    (dim, limit), *rest = limits
    for degree in _choices(min(limit, most), powers_of_two):
        for others in _degrees(rest, most // degree, powers_of_two):
            yield {dim: degree, **others} if degree > 1 else others


def _choices(most: int, powers_of_two: bool) -> Iterator[int]:
    if not powers_of_two:
        yield from range(1, most + 1)
        return
    degree = 1
    while degree <= most:
        yield degree
        degree *= 2


@lru_cache(maxsize=4096)
def _size(limits: tuple[int, ...], pool: Pool, restrictions: Restrictions) -> int:
    ways = _ways(limits, pool.size, restrictions.powers_of_two)
    count = restrictions.family.count
    return sum(number * count(pool, parts) for parts, number in ways.items() if number)


def _ways(limits: tuple[int, ...], most: int, powers_of_two: bool) -> dict[int, int]:
    """Return, for every number of parts, how many choices of degrees give it."""
    ways = {1: 1}
    for limit in limits:
        more: dict[int, int] = {}
        for parts, number in ways.items():
            for degree in _choices(min(limit, most // parts), powers_of_two):
                more[parts * degree] = more.get(parts * degree, 0) + number
        ways = more
    return ways


def _check_letters(dimensions: str) -> None:
    if not dimensions or any(dimensions.count(letter) > 1 for letter in dimensions):
        raise FlexSimError(f"search.dimensions = {dimensions!r} must name letters of SOAP once")
    unknown = [letter for letter in dimensions if letter not in LETTERS]
    if unknown:
        raise FlexSimError(
            f"search.dimensions = {dimensions!r}: there is no letter {unknown[0]!r}; choose from "
            "S (sample), O (operator), A (attribute), P (parameter)"
        )
