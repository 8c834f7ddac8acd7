"""Proposals that cut many operators at once along the axes of one mesh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TypeVar

import numpy as np

from flexsim.operator_graph.graph import SAMPLE_DIM
from flexsim.search.arrangement import COPIES, arranged, degrees_of, prime_factors
from flexsim.search.moves import Change, Edge, Moves, State, axis_dims_of
from flexsim.search.placements import Devices, Pool
from flexsim.search.space import Restrictions
from flexsim.search.units import Unit
from flexsim.strategy import ParallelConfig

Rng = np.random.Generator
T = TypeVar("T")
_RARELY = 0.2
"""How often an even state is proposed where units share meshes anyway."""


def even(moves: Moves, state: State, rng: Rng) -> Change | None:
    """All units are spread evenly over all devices: samples, and one dimension more a role.

    It serves states without order, as random ones; where roles share meshes it is rare.
    """
    meshes = {config.mesh for config in state.configs.values()}
    if 2 * len(meshes) <= len(moves.roles) and rng.random() > _RARELY:
        return None
    pools = dict.fromkeys(moves.pool(unit, state) for unit in moves.units)
    devices = {pool: _all_of(pool, moves.space.restrictions) for pool in pools}
    share = float(rng.random(2).max())
    configs: dict[str, ParallelConfig] = {}
    for role in moves.roles:
        order = [float(number) for number in rng.random(len(role[0].dims) + 1)]
        for pool, units in _by_pool(moves, state, role).items():
            found = _spread_over(devices[pool], moves, units[0], share, order)
            if found is not None:
                configs |= {n: c for unit in units for n, c in unit.configs(found).items()}
    return _changing("even", configs, state)


def axis(moves: Moves, state: State, rng: Rng) -> Change | None:
    """A mesh axis is taken from a dimension and given to another one, or to copies.

    It is so for one unit, for all units of a role, for those that the new cut flows on to along
    edges, for all that use the axis in the same way, or for all whatever they use it for.
    """
    unit = _pick(_pick(moves.roles, rng), rng)
    config = _own(unit, state)
    if config is None or config.mesh.size == 1:
        return None
    name = _pick(config.mesh.names, rng)
    source = _holder(config, name)
    targets = [dim for dim in moves.space.limits(unit) if dim != source]
    if not targets:
        return None
    taking = _Taking(moves, state, name, source)
    target = _pick(targets, rng)
    scope = int(rng.integers(len(_SCOPES)))
    _SCOPES[scope](taking, unit, target)
    return _changing("axis", taking.configs, state)


def sharers(moves: Moves, state: State, rng: Rng) -> Change | None:
    """One config for the operators that share a weight, or for a run of them.

    It is drawn, or that of one of them. It is not proposed where they always have one config.
    """
    if not moves.sharers:
        return None
    group = _pick(moves.sharers, rng)
    unit = _pick(group, rng)
    pool = moves.pool(unit, state)
    config = moves.space.draw(unit, pool, rng) if rng.random() < 0.5 else _own(unit, state)
    if config is None:
        return None
    if rng.random() < 0.5:
        low, high = sorted(rng.integers(len(group), size=2).tolist())
        group = group[low : high + 1]
    configs: dict[str, ParallelConfig] = {}
    for each in group:
        own = each.configs(config)
        fits = moves.space.contains(each, each.config(own))
        configs |= own if fits and moves.pool(each, state) == pool else {}
    return _changing("sharers", configs, state)


class _Taking:
    """Configs in which an axis that ``source`` held is held by other dimensions."""

    def __init__(self, moves: Moves, state: State, name: str, source: str) -> None:
        self.moves, self._state = moves, state
        self._name, self._source = name, source
        self.configs: dict[str, ParallelConfig] = {}
        self._known: dict[tuple[int, ParallelConfig, str], ParallelConfig | None] = {}

    def give(self, unit: Unit, target: str, source: str | None = None) -> bool:
        """Give the axis to a dimension of a unit; return whether that could be done."""
        config = _own(unit, self._state)
        if config is None or unit.name in self.configs or self._name not in config.mesh.names:
            return False
        if source is not None and _holder(config, self._name) != source:
            return False
        key = id(self.moves.peers[unit.name]), config, target
        if key not in self._known:
            self._known[key] = self._taken(unit, config, target)
        found = self._known[key]
        self.configs |= unit.configs(found) if found is not None else {}
        return found is not None

    def _taken(self, unit: Unit, config: ParallelConfig, target: str) -> ParallelConfig | None:
        """Return the config with the axis given to ``target``; None if it is not in the space."""
        found, space = _given(config, self._name, target), self.moves.space
        known = degrees_of(found).keys() <= space.limits(unit).keys()
        return found if known and space.contains(unit, found) else None

    def give_role(self, unit: Unit, target: str) -> list[Unit]:
        """Give the axis to a dimension of all units of a role that used it alike."""
        peers = self.moves.peers[unit.name]
        return [peer for peer in peers if self.give(peer, target, self._source)]

    def give_onwards(self, unit: Unit, target: str) -> None:
        """Give the axis to a role, and along edges to whatever lies where the dimension does."""
        reached = [(unit, target)] if self.give_role(unit, target) else []
        for giver, dim in reached:
            for taker, taken in _followers(self.moves, giver, dim):
                if self.give_role(taker, taken):
                    reached.append((taker, taken))

    def give_alike(self, unit: Unit, target: str) -> None:
        """Give the axis to the dimension of this name, or to copies, wherever it is used alike."""
        self._give_all(target, self._source)

    def claim(self, unit: Unit, target: str) -> None:
        """Give the axis to the samples, or the dimension of this name, of all units."""
        self._give_all(SAMPLE_DIM if self._source != SAMPLE_DIM else target, None)

    def _give_all(self, target: str, source: str | None) -> None:
        for each in self.moves.units:
            known = target if target in each.limits else COPIES
            if not self.give(each, known, source):
                self.give(each, COPIES, source)


def _give_unit(taking: _Taking, unit: Unit, target: str) -> None:
    taking.give(unit, target)


def _give_role(taking: _Taking, unit: Unit, target: str) -> None:
    taking.give_role(unit, target)


_ONWARDS = (_Taking.give_onwards,) * 3
_SCOPES = (_give_unit, _give_role, *_ONWARDS, _Taking.give_alike, _Taking.claim)


def _followers(moves: Moves, giver: Unit, dim: str) -> Iterable[tuple[Unit, str]]:
    """Yield who touches a tensor along ``dim`` of a unit, and its own dimension there."""
    for edge in moves.edges_of[giver.name]:
        for (one, own), (other, theirs) in _both_ways(edge):
            if moves.space.by_operator[one] is giver:
                taker = moves.space.by_operator[other]
                for ours, their in zip(own, theirs, strict=True):
                    if dim in ours and len(their) > ours.index(dim) and moves.space.is_free(taker):
                        yield taker, their[ours.index(dim)]


_End = tuple[str, list[tuple[str, ...]]]


def _both_ways(edge: Edge) -> tuple[tuple[_End, _End], tuple[_End, _End]]:
    writer = edge.writer.name, axis_dims_of(edge.written)
    reader = edge.reader.name, axis_dims_of(edge.read)
    return (writer, reader), (reader, writer)


def _own(unit: Unit, state: State) -> ParallelConfig | None:
    return unit.config(state.configs) if unit.is_on_one_mesh(state.configs) else None


def _holder(config: ParallelConfig, name: str) -> str:
    return next((dim for dim, axes in config.splits if name in axes), COPIES)


def _given(config: ParallelConfig, name: str, target: str) -> ParallelConfig:
    splits = {dim: tuple(axis for axis in axes if axis != name) for dim, axes in config.splits}
    if target != COPIES:
        splits[target] = (*splits.get(target, ()), name)
    return ParallelConfig.of(config.mesh, splits)


def _by_pool(moves: Moves, state: State, units: Iterable[Unit]) -> dict[Pool, list[Unit]]:
    found: dict[Pool, list[Unit]] = {}
    for unit in units:
        found.setdefault(moves.pool(unit, state), []).append(unit)
    return found


def _all_of(pool: Pool, restrictions: Restrictions) -> Devices:
    """Return as many devices of a pool as may be used, in the order of their numbers."""
    count = 1 << pool.size.bit_length() - 1 if restrictions.powers_of_two else pool.size
    return pool.devices[:count]


def _spread_over(
    devices: Devices, moves: Moves, unit: Unit, share: float, order: Sequence[float]
) -> ParallelConfig | None:
    """Return a unit's config on all devices: a share of the prime factors cuts the samples.

    What remains goes to the first dimension by ``order`` that may be cut so often; copies are
    one of them. Where none can, fewer devices are used.
    """
    limits = moves.space.limits(unit)
    factors = prime_factors(len(devices))
    cut = round(share * len(factors))
    samples = prod(factors[:cut])
    if samples > limits.get(SAMPLE_DIM, 1):
        samples = 1
    rest = len(devices) // samples
    names = [dim.name for dim in unit.dims] + [COPIES]
    ranked = [name for _, name in sorted(zip(order, names, strict=True))]
    fitting = [d for d in ranked if d != SAMPLE_DIM and limits.get(d, 1) >= rest]
    degrees = {SAMPLE_DIM: samples, **({fitting[0]: rest} if fitting else {})}
    used = {dim: degree for dim, degree in degrees.items() if degree > 1}
    config = arranged(used, devices[: prod(used.values())])
    return config if unit.accepts(config) else None


def _pick(choices: Sequence[T], rng: Rng) -> T:
    return choices[int(rng.integers(len(choices)))]


def _changing(kind: str, configs: dict[str, ParallelConfig], state: State) -> Change | None:
    """Return the change without what stays as it is; None if nothing is left."""
    new = {name: config for name, config in configs.items() if state.configs[name] != config}
    return Change(kind, new) if new else None
