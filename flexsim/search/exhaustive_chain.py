"""Branch and bound over the strategies of a chain of operators on devices that are all alike.

Units are given configs in the chain's order. Devices are numbered anew after each, so that the
last unit lies on devices 0, 1, … and what comes next is looked up in tables, for all its configs
at once. Where parts may lie anywhere, strategies that differ only in the devices' numbers have one
bound, and are met together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.transfer_table import with_transfer_table
from flexsim.operator_graph import Operator
from flexsim.operator_graph.records import gradient
from flexsim.search.bound_chain import Prefix, begin, extend
from flexsim.search.bound_rest import Rest, rests
from flexsim.search.exhaustive_leaves import Leaves
from flexsim.search.exhaustive_tables import (
    NEVER,
    EdgeTable,
    UnitTable,
    edge_table,
    renumbered,
    unit_table,
)
from flexsim.search.moves import Edge
from flexsim.search.placements import FAMILIES
from flexsim.search.prices import Int64, Prices
from flexsim.search.space import LETTERS, Restrictions
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig
from flexsim.strategy.sharding import WHOLE
from flexsim.task_graph.blocks import why_not

_MOST_PAIRS = 500_000
"""Pairs of neighbours' configs up to which tables are made."""


def chain_tree(walk: Walk) -> ChainTree | None:
    """Return the search of a problem that is a chain; None where it is none, or too wide.

    The caller has made sure that all devices are alike.
    """
    edges = _chain_edges(walk)
    if edges is None:
        return None
    problem = walk.problem
    prices = Prices(replace(problem, costs=with_transfer_table(problem.costs)))
    num_devices = walk.moves.space.pools[0].size
    space = walk.moves.space
    anywhere = replace(space, restrictions=_anywhere(space.restrictions))
    configs = [list(anywhere.configs(unit)) for unit in walk.moves.units]
    is_apart = _bucket_bytes(walk) == 0
    tables = [
        unit_table(unit, found, prices, num_devices, is_apart)
        for unit, found in zip(walk.moves.units, configs, strict=True)
    ]
    pairs = pairwise(tables)
    if sum(len(a.first_forms) * len(b.configs) for a, b in pairs) > _MOST_PAIRS:
        return None
    return ChainTree(walk, tables, _edge_tables(walk, edges, tables, prices), prices)


def _anywhere(restrictions: Restrictions) -> Restrictions:
    """Return the same restrictions with parts on any devices, as tables need them."""
    letters = "".join(letter for letter in LETTERS if letter in {*restrictions.dimensions, "O"})
    copies = restrictions.copies and "O" in restrictions.dimensions
    return replace(restrictions, dimensions=letters, placement="arbitrary", copies=copies)


def _edge_tables(
    walk: Walk, edges: tuple[Edge, ...], tables: list[UnitTable], prices: Prices
) -> list[EdgeTable]:
    """Return the tables of all edges; those that the budget leaves no time for stay out."""
    found = []
    for edge, writer, reader in zip(edges, tables, tables[1:], strict=False):
        if not walk.goes_on():
            break
        found.append(edge_table(edge, writer, reader, prices))
    return found


def _bucket_bytes(walk: Walk) -> float:
    software = walk.problem.costs.software
    if walk.problem.base.overlap_gradients:
        return software.overlapped_gradient_bucket_bytes
    return software.gradient_bucket_bytes


def _chain_edges(walk: Walk) -> tuple[Edge, ...] | None:
    """Return the edges of a chain in order; None where the problem is no chain."""
    moves, base, graph = walk.moves, walk.problem.base, walk.problem.graph
    units = moves.units
    if walk.problem.costs.software.host_runs_ahead:
        return None
    if why_not(base) or base.sharding != WHOLE or len(units) != len(moves.space.units):
        return None
    if len(units) < 2 or any(len(unit.operators) > 1 for unit in units):
        return None
    edges = _distinct(moves.edges)
    names = [(edge.writer.name, edge.reader.name) for edge in edges]
    chain = [(a.name, b.name) for a, b in pairwise(units)]
    once = all(_reads_alike(edge, graph.readers[edge.read.tensor]) for edge in edges)
    plain = all(_is_plain(operator) for operator in graph.operators)
    if not once or not plain or names != chain:
        return None
    return edges if all(map(_goes_back, edges)) else None


def _distinct(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """Return edges without those that steps of one operator have in common."""
    found = {(e.writer.name, e.reader.name, e.read.tensor): e for e in reversed([*edges])}
    return tuple(reversed(found.values()))


def _reads_alike(edge: Edge, readers: tuple[str, ...]) -> bool:
    """Whether one operator alone reads a tensor, in one layout, and whole sums."""
    steps = [s for s in edge.reader.forward if any(u.tensor == edge.read.tensor for u in s.reads)]
    axes = {u.axes for s in steps for u in s.reads if u.tensor == edge.read.tensor}
    lenient = any(step.accepts_partial for step in steps)
    return len(readers) == 1 and len(axes) == 1 and not lenient


def _is_plain(operator: Operator) -> bool:
    """Whether forward steps lead one to the other, and at most one leaves an input gradient."""
    steps = operator.forward
    leads = all(
        {use.tensor for use in step.writes} & {u.tensor for s in steps[i + 1 :] for u in s.reads}
        for i, step in enumerate(steps[:-1])
    )
    inputs = [step for step in operator.backward if step.pass_name == "I"]
    return leads and len(inputs) <= 1 and all(s.kernel != "alias" for s in operator.steps)


def _goes_back(edge: Edge) -> bool:
    """Whether the reader leaves a gradient that every step of the writer's backward waits for."""
    name = gradient(edge.read.tensor)
    left = any(use.tensor == name for step in edge.reader.backward for use in step.writes)
    steps = edge.writer.backward
    return left and all(any(u.tensor == name for u in step.reads) for step in steps)


@dataclass
class ChainTree:
    """The search: what it knows of a chain, and how much of the tree it has seen."""

    walk: Walk
    tables: list[UnitTable]
    edges: list[EdgeTable]
    prices: Prices
    num_visited: int = 0

    @cached_property
    def rests(self) -> list[Rest]:
        """What comes after every unit."""
        return rests(self.tables, self.edges)

    @cached_property
    def step_ns(self) -> Callable[[int], int]:
        """The optimizer's time for a number of parameters."""
        return lru_cache(maxsize=None)(self.prices.optimizer_ns)

    def search(self) -> bool:
        """Try every strategy that the bound does not rule out; return whether all were tried."""
        if len(self.edges) < len(self.tables) - 1:
            return False
        first = self.tables[0]
        lines = begin(first)
        bounds = self.bounds(0, lines)
        if self._is_anywhere:
            others = np.ones(len(bounds), bool)
            others[first.first_forms] = False
            bounds[others] = np.iinfo(np.int64).max
        return self._visit(lines, bounds, np.arange(first.uses.shape[1]), [])

    @cached_property
    def _is_anywhere(self) -> bool:
        return self.walk.moves.space.restrictions.family is FAMILIES["arbitrary"]

    @cached_property
    def _allowed(self) -> frozenset[tuple[int, ...]]:
        """The ordered choices of devices that the space leaves."""
        space = self.walk.moves.space
        pool, members = space.pools[0], space.restrictions.family.members
        counts = range(1, pool.size + 1)
        return frozenset(tuple(each) for n in counts for each in members(pool, n))

    def _is_inside(self, config: ParallelConfig) -> bool:
        """Whether the space has a config on the devices that it lies on."""
        return self._is_anywhere or tuple(config.mesh.flat.tolist()) in self._allowed

    def _visit(
        self,
        lines: Prefix,
        bounds: Int64,
        numbers: NDArray[np.int64],
        chosen: list[ParallelConfig],
    ) -> bool:
        """Try the configs of a unit, the lowest bound first, in the numbers of the last one."""
        depth = len(chosen)
        table = self.tables[depth]
        for row in np.argsort(bounds, kind="stable").tolist():
            if not self.walk.goes_on():
                return False
            if bounds[row] >= self.walk.best_evaluation.makespan_ns:
                break
            here = [*chosen, renumbered(table.configs[row], numbers)]
            if not self._is_inside(here[-1]):
                continue
            self.num_visited += 1
            is_leaf = depth + 1 == len(self.tables)
            if not (
                self._try(here) if is_leaf else self._descend(lines.line(row), row, numbers, here)
            ):
                return False
        return True

    def _descend(
        self, prefix: Prefix, row: int, numbers: NDArray[np.int64], chosen: list[ParallelConfig]
    ) -> bool:
        """Go on with one prefix, in the numbers in which its last unit's config is first."""
        depth = len(chosen) - 1
        table = self.tables[depth]
        own = table.renumbering[row]
        form = int(table.first_form_of[row])
        pair = table, self.tables[depth + 1]
        more = extend(prefix.renumbered(own), form, self.edges[depth], *pair)
        return self._visit(more, self.bounds(depth + 1, more), numbers[own], chosen)

    def _try(self, chosen: list[ParallelConfig]) -> bool:
        """Simulate a whole strategy; return whether there was time to."""
        configs: dict[str, ParallelConfig] = {}
        for table, config in zip(self.tables, chosen, strict=True):
            configs |= table.unit.configs(config)
        return self._leaves.try_all(configs)

    @cached_property
    def _leaves(self) -> Leaves:
        num_alike = self.walk.moves.space.pools[0].size if self._is_anywhere else 0
        return Leaves(self.walk, num_alike)

    def bounds(self, depth: int, lines: Prefix) -> Int64:
        """Return the bound of every prefix, whose last unit is that of the given depth."""
        table, rest = self.tables[depth], self.rests[depth]
        steps = self._steps_ns(lines.parameters)
        joint = (table.is_joint & lines.is_kept) | table.is_weightless
        back = np.where(joint[:, None, None], lines.block_ns[0], lines.back_ns)
        after = (back + steps[:, None, :]).max(2)
        num_devices = table.uses.shape[1]
        syncs = lines.sync_ns.sum(1) // num_devices + steps.min(1)
        loads = (lines.load_ns.sum(1) + rest.load_ns) // num_devices
        busy = np.maximum(lines.load_ns, lines.sync_ns) + steps
        busiest = np.maximum(busy.max(1), loads + steps.min(1))
        ends = [
            (_last(lines.ready_ns, table), _first(after, table)),
            (_first(lines.ready_ns, table), _last(after, table)),
        ]
        first = ends[1][0]
        to_loss = rest.loss_ns[table.first_form_of] - self._last_back_ns
        found: Int64 = first + to_loss + busiest
        for (begins, after_way), frontiers in zip(ends, rest.frontiers, strict=True):
            for form, frontier in enumerate(frontiers):
                at = table.first_form_of == form
                ways = (begins + after_way)[at, None] + frontier[:, 0]
                sums = (first + syncs)[at, None] + frontier[:, 1]
                found[at] = np.maximum(found[at], np.maximum(ways, sums).min(1))
        return found

    @cached_property
    def _last_back_ns(self) -> int:
        """The most that an input gradient of the loss takes: its part of every way to the loss."""
        return int(self.tables[-1].back_ns.max())

    def _steps_ns(self, parameters: Int64) -> Int64:
        values, at = np.unique(parameters, return_inverse=True)
        steps = np.array([self.step_ns(value) if value else 0 for value in values.tolist()])
        found: Int64 = steps[at].reshape(parameters.shape)
        return found


def _first(times: Int64, table: UnitTable) -> Int64:
    """Return the least of the devices that a config uses."""
    found: Int64 = np.where(table.uses, times, -NEVER).min(1)
    return found


def _last(times: Int64, table: UnitTable) -> Int64:
    """Return the most of the devices that a config uses."""
    found: Int64 = np.where(table.uses, times, NEVER).max(1)
    return found
