"""Operator graphs that algebraic rules lead to, with strategies that follow them.

As Unity does (Unger et al., OSDI 2022), a search may choose the graph as well as the strategy.
A move applies one rule everywhere, or at the same place of all repeated blocks. Graphs are taken
best first by a cost, and followed further while they cost little more than the best (the
backtracking search of TASO: Jia et al., SOSP 2019).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.operator_graph.transformations import (
    TRANSFORMATIONS,
    Rewrite,
    Site,
    apply_all,
    find_rule,
    sites,
)
from flexsim.search.inheritance import inherited_strategy, stays_together
from flexsim.search.objective import Problem, simulated
from flexsim.search.trace import NEVER
from flexsim.strategy import Strategy

SLACK = 1.05
"""A graph is followed further if it costs at most so many times the least that was seen."""
DEFAULT_LIMIT = 8
_EVERYWHERE, _SINGLY = range(2)
Answer = TypeVar("Answer")


class Move(NamedTuple):
    """One rule, applied at several sites at once."""

    rule: str
    sites: tuple[Site, ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """A graph, a strategy for it, and the moves that led to it, in order."""

    graph: OperatorGraph
    strategy: Strategy
    moves: tuple[Move, ...] = ()

    @property
    def content(self) -> tuple[str, ...]:
        """The names of the operators: equal for graphs reached in another order."""
        return tuple(operator.name for operator in self.graph.operators)


Cost = Callable[[Variant], float]


def graph_moves(graph: OperatorGraph, strategy: Strategy) -> tuple[Move, ...]:
    """Return every rule with all of its sites.

    Left out are sites whose operators are on different stages, or recomputed apart.
    """
    found = []
    for rule in TRANSFORMATIONS:
        fitting = tuple(site for site in sites(graph, rule) if stays_together(strategy, site))
        found += [Move(rule, fitting)] if fitting else []
    return tuple(found)


def single_moves(graph: OperatorGraph, strategy: Strategy) -> tuple[Move, ...]:
    """Return the parts of :func:`graph_moves` that touch one place of repeated blocks each."""
    found: list[Move] = []
    for rule, fitting in graph_moves(graph, strategy):
        places: dict[tuple[str, ...], list[Site]] = {}
        for site in fitting:
            place = tuple(_local(graph.by_name[name]) for name in site)
            places.setdefault(place, []).append(site)
        found += [Move(rule, tuple(alike)) for alike in places.values() if len(places) > 1]
    return tuple(found)


def apply_move(graph: OperatorGraph, strategy: Strategy, move: Move) -> Variant:
    """Return the graph after a move, with a strategy whose new operators inherit their configs."""
    rule = find_rule(move.rule)
    rewrites: list[Rewrite] = [rule.rewrite(graph, site) for site in move.sites]
    after = apply_all(graph, move.rule, move.sites)
    return Variant(after, inherited_strategy(graph, after, strategy, rewrites), (move,))


def transformed_graphs(
    graph: OperatorGraph, strategy: Strategy, limit: int = DEFAULT_LIMIT, cost: Cost | None = None
) -> tuple[Variant, ...]:
    """Return up to ``limit`` graphs that rules lead to: this one, then others as they are found.

    Those of least ``cost`` are followed first, by default the bytes that kernels touch; and
    rules are tried everywhere before they are tried at single places.
    """
    priced, first = cost or bytes_touched, Variant(graph, strategy)
    best = priced(first)
    queue = [(_EVERYWHERE, best, 0, first)]
    found = {first.content: first}
    while queue and len(found) < limit:
        where, price, number, variant = heapq.heappop(queue)
        if where == _EVERYWHERE:
            heapq.heappush(queue, (_SINGLY, price, number, variant))
        for following in _following(variant, where):
            if following.content in found or len(found) >= limit:
                continue
            price = priced(following)
            if price <= SLACK * best:
                heapq.heappush(queue, (_EVERYWHERE, price, len(found), following))
            found[following.content] = following
            best = min(best, price)
    return tuple(found.values())


def transformed_problems(problem: Problem, limit: int = DEFAULT_LIMIT) -> tuple[Problem, ...]:
    """Return what is searched on each of up to ``limit`` graphs, the problem itself first.

    The cost is the simulated makespan of the problem's own strategy.
    """
    found = transformed_graphs(problem.graph, problem.base, limit, makespan_of(problem))
    return tuple(_on(problem, variant) for variant in found)


def best_transformed(problem: Problem, limit: int = DEFAULT_LIMIT) -> Problem:
    """Return the problem on the graph on which its own strategy is fastest."""
    return search_each(problem, lambda each: (_makespan_ns(each), each), limit)


def search_each(
    problem: Problem, search: Callable[[Problem], tuple[int, Answer]], limit: int = DEFAULT_LIMIT
) -> Answer:
    """Search on each of the graphs; return the answer of least makespan, the first of equals.

    ``search`` returns the makespan that it reached, and what it found.
    """
    found = [search(each) for each in transformed_problems(problem, limit)]
    return min(found, key=lambda pair: pair[0])[1]


def bytes_touched(variant: Variant) -> float:
    """Return the bytes that all kernels touch where nothing is cut, every tensor of one once."""
    graph = variant.graph
    return float(sum(_kernel_bytes(graph, operator) for operator in graph.operators))


def makespan_of(problem: Problem) -> Cost:
    """Return the cost of a variant as the simulated makespan of its strategy."""
    return lambda variant: float(_makespan_ns(_on(problem, variant)))


def _on(problem: Problem, variant: Variant) -> Problem:
    return replace(problem, graph=variant.graph, base=variant.strategy)


def _makespan_ns(problem: Problem) -> int:
    base = problem.base
    found = simulated(problem, base.configs, base.stage_of)
    return found.makespan_ns if found.is_feasible else NEVER


def _following(variant: Variant, where: int) -> Iterator[Variant]:
    moves = graph_moves if where == _EVERYWHERE else single_moves
    for move in moves(variant.graph, variant.strategy):
        after = apply_move(variant.graph, variant.strategy, move)
        yield replace(after, moves=(*variant.moves, move))


def _kernel_bytes(graph: OperatorGraph, operator: Operator) -> int:
    widths, sizes = graph.widths, operator.sizes
    dense: list[Mapping[str, int]] = [
        {
            use.tensor: widths[use.tensor] * use.num_elements(sizes)
            for m in step.maps
            for use in m.uses
            if use.dense
        }
        for step in operator.steps
        if step.kernel != "alias"
    ]
    return sum(sum(kernel.values()) for kernel in dense)


def _local(operator: Operator) -> str:
    """Return an operator's name within its block."""
    return operator.name.removeprefix(f"{operator.block}.") if operator.block else operator.name
