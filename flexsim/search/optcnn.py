"""OptCNN's dynamic programming (Jia, Lin, Qi, Aiken, ICML 2018), section 5.

The cost of a strategy is what its operators compute and synchronize plus what its edges
transfer, one after the other: nothing overlaps. That sum is minimized exactly by eliminating
units: one with a single neighbour or two is replaced by an edge that holds the least cost over
its configs. What cannot be eliminated is improved one unit at a time. The strategy found is then
simulated like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.transfer_table import with_transfer_table
from flexsim.operator_graph import Operator
from flexsim.operator_graph.graph import SAMPLE_DIM
from flexsim.search.arrangement import arranged
from flexsim.search.moves import Change, Edge, Moves
from flexsim.search.objective import Problem
from flexsim.search.placements import Pool
from flexsim.search.prices import Prices, longest
from flexsim.search.space import Restrictions, Space
from flexsim.search.trace import NEVER
from flexsim.search.units import Unit
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig

Costs = NDArray[np.float64]
_MOST_ALIKE = 3
"""Of configs that cut the samples equally often, so many are looked at: the cheapest."""


def optcnn(walk: Walk) -> bool:
    """Propose the strategy of least summed cost; it is kept if it is better than the start."""
    walk.step(Change("optcnn", least_cost(walk.problem, walk.moves)), NEVER)
    return False


def least_cost(problem: Problem, moves: Moves) -> dict[str, ParallelConfig]:
    """Return the configs of the strategy of least summed cost, for all units that are free."""
    prices = Prices(replace(problem, costs=with_transfer_table(problem.costs)))
    space = _on_first_devices(moves.space)
    known: dict[object, tuple[list[ParallelConfig], Costs]] = {}
    for unit in moves.units:
        if _signature(unit) not in known:
            known[_signature(unit)] = _candidates(space, prices, unit)
    candidates = {unit.name: known[_signature(unit)] for unit in moves.units}
    choice = _least(_table(moves, prices, candidates), moves.units)
    configs: dict[str, ParallelConfig] = {}
    for unit in moves.units:
        configs |= unit.configs(candidates[unit.name][0][choice[unit.name]])
    return configs


def _signature(unit: Unit) -> tuple[object, ...]:
    """Return what units that cost the same under every config have in common."""
    return tuple(_alike(op) for op in unit.operators), unit.limits.get(SAMPLE_DIM)


def _alike(operator: Operator) -> tuple[object, ...]:
    passes = tuple(step.pass_name for step in operator.steps)
    return operator.kind, operator.dims, passes, len(operator.inputs)


def _on_first_devices(space: Space) -> Space:
    """Return OptCNN's space: degrees as in the given one, parts on the first devices."""
    letters = space.restrictions.dimensions.replace("O", "") or "S"
    own = Restrictions(letters, True, "contiguous", copies=False)
    return Space(space.units, space.pools, space.rank_of, own)


def _candidates(
    space: Space, prices: Prices, unit: Unit
) -> tuple[list[ParallelConfig], NDArray[np.float64]]:
    """Return configs of a unit and what each costs: for every degree of samples the cheapest."""
    ranked = sorted(
        ((_unit_cost(prices, unit, config), config) for config in _configs(space, unit)),
        key=lambda pair: pair[0],
    )
    seen: dict[int, int] = {}
    kept = []
    for cost, config in ranked:
        samples = config.degree(SAMPLE_DIM)
        seen[samples] = seen.get(samples, 0) + 1
        if seen[samples] <= _MOST_ALIKE:
            kept.append((cost, config))
    return [config for _, config in kept], np.array([cost for cost, _ in kept])


def _configs(space: Space, unit: Unit) -> Iterator[ParallelConfig]:
    """Yield configs on one device, on one host and on all devices."""
    pool = space.pool(unit)
    counts = _counts(pool)
    for degrees in space.degrees(unit):
        count = prod(degrees.values())
        if count in counts:
            config = arranged(degrees, pool.devices[:count])
            if unit.accepts(config):
                yield config


def _counts(pool: Pool) -> set[int]:
    return {1, 1 << pool.per_host.bit_length() >> 1, 1 << pool.size.bit_length() >> 1}


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


def _table(
    moves: Moves, prices: Prices, candidates: Mapping[str, tuple[list[ParallelConfig], Costs]]
) -> _Table:
    table = _Table({name: costs for name, (_, costs) in candidates.items()}, {})
    known: dict[object, Costs] = {}
    for edge in moves.edges:
        pair = [moves.space.by_operator[op.name] for op in (edge.writer, edge.reader)]
        if not all(unit.name in candidates for unit in pair):
            continue
        key = _edge_signature(edge, pair)
        if key not in known:
            known[key] = _edge_costs(prices, edge, pair, [candidates[u.name][0] for u in pair])
        table.add(pair[0].name, pair[1].name, known[key])
    return table


def _edge_signature(edge: Edge, pair: list[Unit]) -> tuple[object, ...]:
    """Return what edges that cost the same have in common."""
    written = [use.tensor for step in edge.writer.forward for use in step.writes]
    places = written.index(edge.written.tensor), list(edge.reader.inputs).index(edge.read.tensor)
    ends = _alike(edge.writer), _alike(edge.reader)
    return places, ends, edge.written.axes, edge.read.axes, *map(_signature, pair)


def _edge_costs(
    prices: Prices, edge: Edge, pair: list[Unit], candidates: list[list[ParallelConfig]]
) -> Costs:
    """Return what an edge costs there and back, a row a config of the writer."""
    writers, readers = (
        [unit.configs(config)[op.name] for config in configs]
        for unit, op, configs in zip(pair, (edge.writer, edge.reader), candidates, strict=True)
    )
    costs = [
        [_round_trip(prices, edge, writer, reader) for reader in readers] for writer in writers
    ]
    return np.array(costs, float)


def _round_trip(prices: Prices, edge: Edge, writer: ParallelConfig, reader: ParallelConfig) -> int:
    forward = prices.forward(edge, writer, reader)
    return longest(forward) + longest(prices.backward(edge, writer, reader))


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
