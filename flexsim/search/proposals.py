"""Proposals: small random changes of a strategy, a function each and a line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from flexsim.search.arrangement import degrees_of, moved, prime_factors
from flexsim.search.moves import Change, Edge, Moves, State, axis_dims_of
from flexsim.search.placements import Pool
from flexsim.search.units import Unit
from flexsim.search.whole_proposals import axis, even, sharers
from flexsim.strategy import ParallelConfig

Rng = np.random.Generator
Propose = Callable[[Moves, State, Rng], Change | None]
"""Returns a change of the state, or None where it has none to propose."""

T = TypeVar("T")
_SPREAD = 0.2
"""A config is handed on five times in the mean."""


def operator(moves: Moves, state: State, rng: Rng) -> Change | None:
    """One unit gets any config of the space."""
    unit = _unit(moves, rng)
    found = moves.space.draw(unit, moves.pool(unit, state), rng)
    return _of_unit("operator", unit, found, state)


def degree(moves: Moves, state: State, rng: Rng) -> Change | None:
    """One unit gets a prime factor more, less, or on another dimension, on devices drawn anew."""
    unit = _unit(moves, rng)
    if not unit.is_on_one_mesh(state.configs):
        return None
    pool = moves.pool(unit, state)
    degrees = _shifted(degrees_of(unit.config(state.configs)), moves, unit, rng)
    if any(dim not in moves.space.limits(unit) for dim in degrees):
        return None
    return _of_unit("degree", unit, moves.space.placed(unit, degrees, pool, rng), state)


def neighbour(moves: Moves, state: State, rng: Rng) -> Change | None:
    """The config of an operator is handed on along an edge, to who reads it or writes for it."""
    if not moves.edges:
        return None
    edge = _pick(moves.edges, rng)
    to_reader = bool(rng.random() < 0.5)
    giver = edge.writer if to_reader else edge.reader
    handed = _handed_on(moves, state, edge, state.configs[giver.name], to_reader)
    return None if handed is None else _of_unit("neighbour", *handed, state)


def spread(moves: Moves, state: State, rng: Rng) -> Change | None:
    """A config drawn for one unit is handed on to its neighbours, as far as a coin decides.

    Half of the time all repeated layers get what one of them got.
    """
    unit = _unit(moves, rng)
    config = moves.space.draw(unit, moves.pool(unit, state), rng)
    if config is None:
        return None
    new, reached = dict(unit.configs(config)), [unit]
    for _ in range(int(rng.geometric(_SPREAD))):
        edges = moves.edges_of[_pick(reached, rng).name]
        edge = _pick(edges, rng) if edges else None
        ends = (edge.writer.name in new, edge.reader.name in new) if edge else (True, True)
        if edge is None or ends[0] == ends[1]:
            continue
        giver = edge.writer if ends[0] else edge.reader
        handed = _handed_on(moves, state, edge, new[giver.name], ends[0])
        if handed is not None:
            new |= handed[0].configs(handed[1])
            reached.append(handed[0])
    if rng.random() < 0.5:
        for each in reached:
            pairs = [(each, peer) for peer in moves.peers[each.name] if peer not in reached]
            change = _of_peers("spread", each.config(new), pairs, moves, state)
            new |= change.configs if change else {}
    return _changing("spread", new, state)


def block(moves: Moves, state: State, rng: Rng) -> Change | None:
    """A config is given to the units of one role in all repeated layers, or in a run of them."""
    if not moves.repeated:
        return None
    unit = _pick(moves.repeated, rng)
    if rng.random() < 0.5:
        config = moves.space.draw(unit, moves.pool(unit, state), rng)
    else:
        config = unit.config(state.configs) if unit.is_on_one_mesh(state.configs) else None
    peers = moves.peers[unit.name]
    if rng.random() < 0.5:
        low, high = sorted(rng.integers(len(peers), size=2).tolist())
        peers = peers[low : high + 1]
    return _of_peers("block", config, [(unit, peer) for peer in peers], moves, state)


def layer(moves: Moves, state: State, rng: Rng) -> Change | None:
    """All configs of one repeated layer are copied to the other layers, or to a run of them."""
    names = list(moves.blocks)
    if len(names) < 2:
        return None
    model = moves.blocks[_pick(names, rng)]
    low, high = sorted(rng.integers(len(names), size=2).tolist())
    targets = names if rng.random() < 0.5 else names[low : high + 1]
    configs: dict[str, ParallelConfig] = {}
    for unit in model:
        peers = [peer for peer in moves.peers[unit.name] if peer.block in targets]
        config = unit.config(state.configs) if unit.is_on_one_mesh(state.configs) else None
        change = _of_peers("layer", config, [(unit, peer) for peer in peers], moves, state)
        configs |= change.configs if change else {}
    return Change("layer", configs) if configs else None


def swap(moves: Moves, state: State, rng: Rng) -> Change | None:
    """Two devices change places in one unit, or in all units on the same mesh."""
    unit = _unit(moves, rng)
    pool, restrictions = moves.pool(unit, state), moves.space.restrictions
    if "O" not in restrictions.dimensions or not unit.is_on_one_mesh(state.configs):
        return None
    config = unit.config(state.configs)
    if restrictions.placement != "arbitrary" or rng.random() < 0.5:
        found = restrictions.family.draw(pool, config.mesh.size, rng)
        devices = list(found) if found else config.mesh.flat.tolist()
    else:
        devices = _exchanged(config.mesh.flat.tolist(), pool, rng)
    together = moves.units if rng.random() < 0.5 else (unit,)
    configs: dict[str, ParallelConfig] = {}
    for each in together:
        if each.is_on_one_mesh(state.configs):
            own = each.config(state.configs)
            configs |= each.configs(moved(own, devices)) if own.mesh == config.mesh else {}
    return _changing("swap", configs, state)


def stage(moves: Moves, state: State, rng: Rng) -> Change | None:
    """A stage boundary is moved by an operator or a layer; what moves is cut as before."""
    if moves.base.num_stages < 2:
        return None
    boundary = int(rng.integers(moves.base.num_stages - 1))
    forward = bool(rng.random() < 0.5)
    source, target = (boundary, boundary + 1) if forward else (boundary + 1, boundary)
    inside = [u for u in moves.units if state.stage_of.get(u.name, 0) == source]
    inside = inside[::-1] if forward else inside
    if len(inside) < 2:
        return None
    count = 1 if rng.random() < 0.5 else sum(u.block == inside[0].block for u in inside)
    if count >= len(inside):
        return None
    configs: dict[str, ParallelConfig] = {}
    pools = [moves.space.pools[moves.base.rank_of_stage[s]] for s in (source, target)]
    for unit in inside[:count]:
        config = _transferred(unit, state, pools[0], pools[1])
        if config is None:
            return None
        configs |= unit.configs(config)
    return Change("stage", configs, dict.fromkeys(configs, target))


@dataclass(frozen=True)
class Proposal:
    """A way to change a strategy: how often it is drawn, and which letters it may touch."""

    propose: Propose
    weight: float
    letters: str


PROPOSALS: Mapping[str, Proposal] = {
    "operator": Proposal(operator, 4.0, "SOAP"),
    "degree": Proposal(degree, 2.0, "SOAP"),
    "neighbour": Proposal(neighbour, 2.0, "SOAP"),
    "spread": Proposal(spread, 3.0, "SOAP"),
    "block": Proposal(block, 2.0, "SOAP"),
    "layer": Proposal(layer, 1.0, "SOAP"),
    "swap": Proposal(swap, 1.0, "O"),
    "stage": Proposal(stage, 2.0, "O"),
    "axis": Proposal(axis, 4.0, "SOAP"),
    "even": Proposal(even, 1.0, "SOAP"),
    "sharers": Proposal(sharers, 6.0, "SOAP"),
}
_MOST_DRAWS = 1000


def propose(moves: Moves, state: State, rng: Rng) -> Change | None:
    """Draw a kind of proposal and a change of that kind; None if no kind has any."""
    names = list(PROPOSALS)
    ends = np.cumsum([each.weight for each in PROPOSALS.values()])
    for _ in range(_MOST_DRAWS):
        name = names[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]
        change = PROPOSALS[name].propose(moves, state, rng)
        change = change and _in_order(change, moves, state)
        if change is not None:
            return change
    return None


def _in_order(change: Change, moves: Moves, state: State) -> Change | None:
    """Return a change whose parts lie as the space lists them; None if it changes nothing."""
    if moves.space.has_any_order:
        return change
    new = {**state.configs, **change.configs}
    configs: dict[str, ParallelConfig] = {}
    for unit in dict.fromkeys(moves.space.by_operator[name] for name in change.configs):
        if unit.is_on_one_mesh(new):
            configs |= unit.configs(moves.space.in_order(unit, unit.config(new)))
    if change.stages:
        return replace(change, configs={**change.configs, **configs})
    return _changing(change.kind, configs, state)


def _unit(moves: Moves, rng: Rng) -> Unit:
    """Return a unit: any role, then any of its units, so that what is repeated counts once."""
    return _pick(_pick(moves.roles, rng), rng)


def _pick(choices: Sequence[T], rng: Rng) -> T:
    return choices[int(rng.integers(len(choices)))]


def _of_unit(kind: str, unit: Unit, config: ParallelConfig | None, state: State) -> Change | None:
    return None if config is None else _changing(kind, unit.configs(config), state)


def _changing(kind: str, configs: dict[str, ParallelConfig], state: State) -> Change | None:
    """Return the change without what stays as it is; None if nothing is left."""
    new = {name: config for name, config in configs.items() if state.configs[name] != config}
    return Change(kind, new) if new else None


def _of_peers(
    kind: str,
    config: ParallelConfig | None,
    pairs: Sequence[tuple[Unit, Unit]],
    moves: Moves,
    state: State,
) -> Change | None:
    """Give a config of the first unit of each pair to the second, on the devices of its rank."""
    configs: dict[str, ParallelConfig] = {}
    for unit, peer in pairs if config is not None else ():
        source, target = moves.pool(unit, state), moves.pool(peer, state)
        found = _mapped(config, source, target) if config is not None else None
        configs |= peer.configs(found) if found is not None else {}
    return _changing(kind, configs, state)


def _mapped(config: ParallelConfig, source: Pool, target: Pool) -> ParallelConfig | None:
    """Return the same cut on the devices at the same places of another pool."""
    if source == target:
        return config
    devices = config.mesh.flat.tolist()
    if source.size != target.size or not set(devices) <= set(source.devices):
        return None
    place = {device: index for index, device in enumerate(source.devices)}
    return moved(config, [target.devices[place[device]] for device in devices])


def _transferred(unit: Unit, state: State, source: Pool, target: Pool) -> ParallelConfig | None:
    if not unit.is_on_one_mesh(state.configs):
        return None
    return _mapped(unit.config(state.configs), source, target)


def _shifted(degrees: dict[str, int], moves: Moves, unit: Unit, rng: Rng) -> dict[str, int]:
    """Take a prime factor from one dimension, give one to another, or both."""
    changed = dict(degrees)
    limits = moves.space.limits(unit)
    factor = 2 if rng.random() < 0.8 or moves.space.restrictions.powers_of_two else 3
    action = int(rng.integers(3))
    if changed and action != 1:
        dim = _pick(list(changed), rng)
        factor = _pick(prime_factors(changed[dim]), rng)
        changed[dim] //= factor
    if limits and action != 0:
        dim = _pick(list(limits), rng)
        if changed.get(dim, 1) * factor <= limits[dim]:
            changed[dim] = changed.get(dim, 1) * factor
    return {dim: changed[dim] for dim in [*limits, *changed] if changed.get(dim, 1) > 1}


def _handed_on(
    moves: Moves, state: State, edge: Edge, config: ParallelConfig, to_reader: bool
) -> tuple[Unit, ParallelConfig] | None:
    """Return who takes a config along an edge and what it becomes there; None if it cannot."""
    ends = (edge.writer, edge.written), (edge.reader, edge.read)
    (giver, given), (taker, taken) = ends if to_reader else ends[::-1]
    unit = moves.space.by_operator[taker.name]
    pools = [moves.pool(moves.space.by_operator[op.name], state) for op in (giver, taker)]
    if not moves.space.is_free(unit) or pools[0] is not pools[1]:
        return None
    splits = _taken_over(config, axis_dims_of(given), axis_dims_of(taken), unit)
    found = ParallelConfig.of(config.mesh, splits)
    return (unit, found) if moves.space.contains(unit, found) else None


def _taken_over(
    config: ParallelConfig,
    given: Sequence[tuple[str, ...]],
    taken: Sequence[tuple[str, ...]],
    unit: Unit,
) -> dict[str, tuple[str, ...]]:
    """Return the mesh axes of each dimension of the taker that lies on an axis the giver cuts.

    What the giver cuts and the tensor lacks is cut again if the taker knows it by name.
    """
    splits: dict[str, tuple[str, ...]] = {}
    for theirs, ours in zip(given, taken, strict=True):
        for their, our in zip(theirs, ours, strict=False):
            if config.degree(their) <= unit.limits.get(our, 1):
                splits.setdefault(our, config.axes(their))
    used = {axis for axes in splits.values() for axis in axes}
    for dim, axes in config.splits:
        if dim in unit.limits and dim not in splits and not used & set(axes):
            splits[dim] = axes
    return splits


def _exchanged(devices: list[int], pool: Pool, rng: Rng) -> list[int]:
    """Return the devices with one of them in another's place, or replaced by one of the pool."""
    first = int(rng.integers(len(devices)))
    other = _pick(pool.devices, rng)
    if other in devices:
        second = devices.index(other)
        devices[first], devices[second] = devices[second], devices[first]
    else:
        devices[first] = other
    return devices
