"""Families of device assignments: which devices the parts of an operator may lie on, in order.

A family draws, counts and lists ordered choices of ``count`` of the devices. The last family
holds all of them; the others are the regular ones that people would think of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import perm

import numpy as np

from flexsim.device_graph import DeviceGraph
from flexsim.errors import FlexSimError, choices_text

Devices = tuple[int, ...]
_IRREGULAR = 0.15
_MOST_LISTS = 256


@dataclass(frozen=True)
class Pool:
    """The devices that may be chosen, ascending, and how many lie on each of their hosts.

    ``per_host`` is 0 where hosts do not hold equally many.
    """

    devices: Devices
    per_host: int

    @classmethod
    def of(cls, graph: DeviceGraph, devices: Sequence[int]) -> Pool:
        """Return the pool of some devices of a graph."""
        ordered = tuple(sorted(int(device) for device in devices))
        hosts = graph.host_of_device[list(ordered)]
        _, counts = np.unique(hosts, return_counts=True)
        in_runs = bool((np.diff(hosts) >= 0).all())
        even = in_runs and len(set(counts.tolist())) == 1
        return cls(ordered, int(counts[0]) if even else 0)

    @property
    def size(self) -> int:
        """Number of devices."""
        return len(self.devices)


@dataclass(frozen=True)
class Family:
    """How a family lists its members for a number of devices, and how many there are."""

    members: Callable[[Pool, int], Iterator[Devices]]
    count: Callable[[Pool, int], int]
    draw: Callable[[Pool, int, np.random.Generator], Devices | None]
    """One member at random; None where there is none."""


def first_devices(pool: Pool, count: int) -> Iterator[Devices]:
    """The first devices in order: the one choice where devices are not searched."""
    if count <= pool.size:
        yield pool.devices[:count]


def contiguous(pool: Pool, count: int) -> Iterator[Devices]:
    """Runs of neighbouring devices."""
    for start in range(pool.size - count + 1):
        yield pool.devices[start : start + count]


def aligned(pool: Pool, count: int) -> Iterator[Devices]:
    """Runs that begin at a multiple of their length, as whole hosts do."""
    for start in range(0, pool.size - count + 1, count):
        yield pool.devices[start : start + count]


def strided(pool: Pool, count: int) -> Iterator[Devices]:
    """Devices at equal distances, runs among them."""
    most = 1 if count == 1 else (pool.size - 1) // (count - 1)
    for stride in range(1, most + 1):
        for start in range(pool.size - (count - 1) * stride):
            yield pool.devices[start : start + (count - 1) * stride + 1 : stride]


def hierarchical(pool: Pool, count: int) -> Iterator[Devices]:
    """A run of hosts times a run of places on each, numbered along hosts or places first."""
    per_host = pool.per_host or pool.size
    grid = np.array(pool.devices).reshape(-1, per_host)
    for hosts, places in _grids(grid.shape, count):
        for host in range(grid.shape[0] - hosts + 1):
            for place in range(per_host - places + 1):
                chosen = grid[host : host + hosts, place : place + places]
                yield tuple(chosen.reshape(-1).tolist())
                if hosts > 1 and places > 1:
                    yield tuple(chosen.T.reshape(-1).tolist())


def arbitrary(pool: Pool, count: int) -> Iterator[Devices]:
    """Every ordered choice."""
    return permutations(pool.devices, count)


def _grids(shape: tuple[int, ...], count: int) -> list[tuple[int, int]]:
    return [
        (hosts, count // hosts)
        for hosts in range(1, min(shape[0], count) + 1)
        if count % hosts == 0 and count // hosts <= shape[1]
    ]


def _listed(members: Callable[[Pool, int], Iterator[Devices]]) -> Family:
    """Return a family small enough to be listed whenever it is counted or drawn from."""

    def count(pool: Pool, number: int) -> int:
        return sum(1 for _ in members(pool, number))

    @lru_cache(maxsize=_MOST_LISTS)
    def listed(pool: Pool, number: int) -> tuple[Devices, ...]:
        return tuple(members(pool, number))

    def draw(pool: Pool, number: int, rng: np.random.Generator) -> Devices | None:
        found = listed(pool, number)
        return found[int(rng.integers(len(found)))] if found else None

    return Family(members, count, draw)


def _permutations(pool: Pool, number: int) -> int:
    return perm(pool.size, number)


def _draw_any(pool: Pool, number: int, rng: np.random.Generator) -> Devices | None:
    """Draw a regular choice most of the time, since among all they hardly ever come up."""
    if number > pool.size:
        return None
    if rng.random() >= _IRREGULAR:
        regular = REGULAR[int(rng.integers(len(REGULAR)))]
        return regular.draw(pool, number, rng)
    chosen = rng.choice(np.array(pool.devices), number, replace=False)
    return tuple(chosen.tolist())


FIRST, ARBITRARY = "first", "arbitrary"
_ALIGNED = _listed(aligned)
FAMILIES: Mapping[str, Family] = {
    FIRST: _listed(first_devices),
    "contiguous": _listed(contiguous),
    "strided": _listed(strided),
    "hierarchical": _listed(hierarchical),
    ARBITRARY: Family(arbitrary, _permutations, _draw_any),
}
REGULAR = (
    _ALIGNED,
    _ALIGNED,
    FAMILIES["contiguous"],
    FAMILIES["strided"],
    FAMILIES["hierarchical"],
    FAMILIES["hierarchical"],
)
"""What arbitrary placements are drawn from most of the time, the usual ones more often."""


def family(name: str) -> Family:
    """Return a family by name; raise :class:`FlexSimError` with the choices for another one."""
    if name not in FAMILIES:
        raise FlexSimError(f"search.placement = {name!r}: {choices_text(name, FAMILIES)}")
    return FAMILIES[name]
