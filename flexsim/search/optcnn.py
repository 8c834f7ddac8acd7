"""OptCNN's dynamic programming (Jia, Lin, Qi, Aiken, ICML 2018), section 5.

The cost of a strategy is what its operators compute and synchronize plus what its edges
transfer, one after the other: nothing overlaps. That sum is minimized exactly by eliminating
units: one with a single neighbour or two is replaced by an edge that holds the least cost over
its configs. What cannot be eliminated is improved one unit at a time. The strategy found is then
simulated like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flexsim.search.moves import Change, Moves
from flexsim.search.prices import Prices, longest
from flexsim.search.space import Restrictions, Space
from flexsim.search.units import Unit
from flexsim.search.walk import NEVER, Walk
from flexsim.strategy import ParallelConfig

Costs = NDArray[np.float64]
_MOST_CONFIGS = 128
"""Configs a unit that are looked at; those that compute fastest are kept."""


def optcnn(walk: Walk) -> bool:
    """Propose the strategy of least summed cost; it is kept if it is better than the start."""
    space = _on_first_devices(walk.moves.space)
    prices = Prices(walk.problem)
    candidates = {unit.name: _candidates(space, prices, unit) for unit in walk.moves.units}
    table = _table(walk.moves, prices, candidates)
    choice = _least(table, walk.moves.units)
    configs: dict[str, ParallelConfig] = {}
    for unit in walk.moves.units:
        configs |= unit.configs(candidates[unit.name][choice[unit.name]])
    walk.step(Change("optcnn", configs), NEVER)
    return False


def _on_first_devices(space: Space) -> Space:
    """Return OptCNN's space: degrees as in the given one, parts on the first devices."""
    letters = space.restrictions.dimensions.replace("O", "") or "S"
    own = Restrictions(letters, True, "contiguous", copies=False)
    return Space(space.units, space.pools, space.rank_of, own)


def _candidates(space: Space, prices: Prices, unit: Unit) -> list[ParallelConfig]:
    found = list(space.configs(unit))
    return sorted(found, key=lambda config: _unit_cost(prices, unit, config))[:_MOST_CONFIGS]


def _unit_cost(prices: Prices, unit: Unit, config: ParallelConfig) -> float:
    """Return what a unit computes on its slowest part, and synchronizes."""
    own = unit.configs(config)
    computing = sum(int(prices.parts(op, own[op.name], "FIW").max()) for op in unit.operators)
    return float(computing + longest(prices.synchronization(unit, config)))


@dataclass
class _Table:
    """Costs by unit and config, and by pair of units and their configs."""

    nodes: dict[str, Costs]
    edges: dict[tuple[str, str], Costs]
    eliminated: list[tuple[str, tuple[str, ...], NDArray[np.int64]]] = field(default_factory=list)

    def neighbours(self, name: str) -> tuple[str, ...]:
        """Return the units that share an edge with one."""
        return tuple(b if a == name else a for a, b in self.edges if name in (a, b))

    def edge(self, one: str, other: str) -> Costs:
        """Return the costs of an edge, a row a config of ``one``."""
        found = self.edges.get((one, other))
        return self.edges[other, one].T if found is None else found

    def add(self, one: str, other: str, costs: Costs) -> None:
        """Add costs to the edge between two units."""
        if (other, one) in self.edges:
            one, other, costs = other, one, costs.T
        self.edges[one, other] = self.edges.get((one, other), np.zeros(costs.shape)) + costs

    def drop(self, name: str) -> None:
        """Take a unit and its edges out."""
        self.edges = {pair: costs for pair, costs in self.edges.items() if name not in pair}
        del self.nodes[name]


def _table(moves: Moves, prices: Prices, candidates: dict[str, list[ParallelConfig]]) -> _Table:
    units = {unit.name: unit for unit in moves.units}
    nodes = {
        name: np.array([_unit_cost(prices, units[name], config) for config in configs])
        for name, configs in candidates.items()
    }
    table = _Table(nodes, {})
    for edge in moves.edges:
        pair = [moves.space.by_operator[op.name] for op in (edge.writer, edge.reader)]
        if not all(unit.name in candidates for unit in pair):
            continue
        configs = [
            [unit.configs(config)[op.name] for config in candidates[unit.name]]
            for unit, op in zip(pair, (edge.writer, edge.reader), strict=True)
        ]
        costs = [
            [
                longest(prices.forward(edge, writer, reader))
                + longest(prices.backward(edge, writer, reader))
                for reader in configs[1]
            ]
            for writer in configs[0]
        ]
        table.add(pair[0].name, pair[1].name, np.array(costs, float))
    return table


def _least(table: _Table, units: tuple[Unit, ...]) -> dict[str, int]:
    """Return the config of every unit in the strategy of least cost."""
    order = [unit.name for unit in units]
    while True:
        open_ = [name for name in order if name in table.nodes]
        name = next((n for n in open_ if len(table.neighbours(n)) <= 2), None)
        if name is None or len(open_) == 1:
            break
        _eliminate(table, name)
    choice = _by_turns(table)
    for name, others, best in reversed(table.eliminated):
        choice[name] = int(best[tuple(choice[other] for other in others)])
    return choice


def _eliminate(table: _Table, name: str) -> None:
    """Replace a unit with at most two neighbours by the least that it costs for theirs."""
    others = table.neighbours(name)
    own = table.nodes[name]
    if not others:
        total = own
    elif len(others) == 1:
        total = table.edge(others[0], name) + own
        table.nodes[others[0]] = table.nodes[others[0]] + total.min(-1)
    else:
        left, right = table.edge(others[0], name), table.edge(others[1], name)
        total = left[:, None, :] + right[None, :, :] + own
        table.add(others[0], others[1], total.min(-1))
    table.eliminated.append((name, others, total.argmin(-1)))
    table.drop(name)


def _by_turns(table: _Table) -> dict[str, int]:
    """Return configs for what is left, each the best for the others' until nothing changes."""
    choice = {name: int(costs.argmin()) for name, costs in table.nodes.items()}
    changed = True
    while changed:
        changed = False
        for name, costs in table.nodes.items():
            total = costs.copy()
            for other in table.neighbours(name):
                total += table.edge(name, other)[:, choice[other]]
            best = int(total.argmin())
            if total[best] < total[choice[name]]:
                choice[name], changed = best, True
    return choice
