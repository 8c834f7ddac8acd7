"""Operator graphs that algebraic rules lead to, with strategies that follow them.

As Unity does (Unger et al., OSDI 2022), a search may choose the graph as well as the strategy.
A move applies one rule at the same place of all repeated blocks. Graphs are taken best first by
a cost, and followed further while none costs much more than the best (TASO's backtracking
search: Jia et al., SOSP 2019, algorithm 2).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.operator_graph.transformations import TRANSFORMATIONS, Site, apply_all, sites
from flexsim.search.objective import Configs, Problem, simulated
from flexsim.search.units import Unit, find_units
from flexsim.search.walk import NEVER
from flexsim.strategy import ParallelConfig, Strategy

SLACK = 1.05
"""A graph is followed further if it costs at most so many times the least that was seen."""
DEFAULT_LIMIT = 8
Cost = Callable[[OperatorGraph], float]


class Move(NamedTuple):
    """One rule, applied at several sites at once."""

    rule: str
    sites: tuple[Site, ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """A graph and the moves that led to it from the first, in order."""

    graph: OperatorGraph
    moves: tuple[Move, ...] = ()

    @property
    def content(self) -> tuple[str, ...]:
        """The names of the operators: equal for graphs reached in another order."""
        return tuple(operator.name for operator in self.graph.operators)


def graph_moves(graph: OperatorGraph) -> tuple[Move, ...]:
    """Return every rule with its sites, those at one place of repeated blocks together."""
    found: dict[tuple[str, ...], list[Site]] = {}
    for rule in TRANSFORMATIONS:
        for site in sites(graph, rule):
            place = (_local(graph.by_name[name]) for name in site)
            found.setdefault((rule, *place), []).append(site)
    return tuple(Move(key[0], tuple(alike)) for key, alike in found.items())


def transformed_graphs(
    graph: OperatorGraph, limit: int = DEFAULT_LIMIT, cost: Cost | None = None
) -> tuple[Variant, ...]:
    """Return up to ``limit`` graphs that rules lead to, this one first, then as they were found.

    ``cost`` orders them, by default the bytes that all kernels touch.
    """
    priced = cost or bytes_touched
    first = Variant(graph)
    best, number = priced(graph), 0
    queue: list[tuple[float, int, Variant]] = [(best, number, first)]
    found = {first.content: first}
    while queue and len(found) < limit:
        _, _, variant = heapq.heappop(queue)
        for following in _following(variant):
            if following.content in found or len(found) >= limit:
                continue
            found[following.content] = following
            price = priced(following.graph)
            best, number = min(best, price), number + 1
            if price <= SLACK * best:
                heapq.heappush(queue, (price, number, following))
    return tuple(found.values())


def apply_move(graph: OperatorGraph, configs: Configs, move: Move) -> tuple[OperatorGraph, Configs]:
    """Return the graph after a move, and configs with those of new operators inherited."""
    after = apply_all(graph, move.rule, move.sites)
    return after, inherited_configs(graph, after, configs, move)


def inherited_configs(
    before: OperatorGraph, after: OperatorGraph, configs: Configs, move: Move
) -> dict[str, ParallelConfig]:
    """Return a config an operator of the graph after a move.

    A new operator is cut as the product that it replaces, except along dimensions that it must
    keep whole: there it is replicated. Operators that share a weight with it follow.
    """
    sources = _sources(before, after, move)
    known = [(op.name, sources.get(op.name, (op.name,))) for op in after.operators]
    found = {name: configs[_cut_like(before, source)] for name, source in known}
    for unit in find_units(after):
        if any(op.name in sources for op in unit.operators):
            found |= unit.configs(_accepted(unit, found))
    return found


def transformed_strategy(
    before: OperatorGraph, after: OperatorGraph, strategy: Strategy, move: Move
) -> Strategy | None:
    """Return a strategy for the graph after a move: configs, stages and recomputed runs.

    None where the move would join operators of different stages, or some that are recomputed
    with some that are not.
    """
    sources = _sources(before, after, move)
    stages = {name: _common(strategy.stage_of, source) for name, source in sources.items()}
    segment_of = {n: str(k) for k, names in enumerate(strategy.recompute) for n in names}
    whole = {name: _common(segment_of, source) for name, source in sources.items()}
    if ... in stages.values() or ... in whole.values():
        return None
    return strategy


def bytes_touched(graph: OperatorGraph) -> float:
    """Return the bytes that all kernels of one part would touch, every tensor of one once."""
    return float(sum(_kernel_bytes(graph, op) for op in graph.operators))
