"""Rewriting a graph: some operators replaced by one or none, tensors read under other names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import (
    GRADIENT,
    Map,
    Operator,
    Step,
    Use,
    Weight,
    gradient,
)

Names = Mapping[str, str]
Site = tuple[str, ...]
"""The operators that a rule replaces, by name."""


@dataclass(frozen=True)
class Rewrite:
    """What becomes of a site: ``operator`` in the place of ``at``, one of its names, or nothing.

    Who read a tensor of ``renamed`` reads the one that it is mapped to.
    """

    replaced: Site
    operator: Operator | None = None
    at: str = ""
    renamed: Names = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Finds the sites where it applies, and tells what becomes of one.

    Sites of one graph have no operator in common.
    """

    find: Callable[[OperatorGraph], Iterator[Site]]
    rewrite: Callable[[OperatorGraph, Site], Rewrite]
    description: str


def rewritten(graph: OperatorGraph, rewrites: Sequence[Rewrite]) -> OperatorGraph:
    """Return the graph after ``rewrites``, which have no operator in common."""
    gone = {name for each in rewrites for name in each.replaced}
    placed = {each.at: each.operator for each in rewrites if each.operator is not None}
    names = _resolved({old: new for each in rewrites for old, new in each.renamed.items()})
    kept = (placed.get(op.name) if op.name in gone else op for op in graph.operators)
    operators = tuple(with_names(op, names) for op in kept if op is not None)
    old = touched(op for op in graph.operators if op.name in gone)
    lost = old - touched(operators) - {*graph.inputs}
    added = {weight.name: weight for each in rewrites for weight in each.weights}
    weights = {n: w for n, w in graph.weights.items() if n not in lost} | added
    tensors = {n: t for n, t in graph.tensors.items() if n not in lost}
    return replace(graph, operators=operators, tensors=tensors, weights=weights)


def touched(operators: Iterator[Operator] | Sequence[Operator]) -> set[str]:
    """Return the tensors and weights that operators touch, themselves or by their gradients."""
    uses = (use for op in operators for step in op.steps for m in step.maps for use in m.uses)
    return {use.tensor.removeprefix(GRADIENT) for use in uses}


def with_names(operator: Operator, names: Names) -> Operator:
    """Return an operator that touches other tensors, and their gradients, in the same way."""
    if names.keys().isdisjoint(touched([operator])):
        return operator
    both = {**names, **{gradient(old): gradient(new) for old, new in names.items()}}
    forward, backward = (
        tuple(_step(step, both) for step in steps)
        for steps in (operator.forward, operator.backward)
    )
    return replace(operator, forward=forward, backward=backward)


def _resolved(names: Names) -> dict[str, str]:
    """Return names followed to the end where what is read is itself renamed."""
    found = {}
    for old, new in names.items():
        last = new
        while last in names:
            last = names[last]
        found[old] = last
    return found


def _step(step: Step, names: Names) -> Step:
    label, _, tensor = step.name.partition(" ")
    name = f"{label} {names.get(tensor, tensor)}" if tensor else step.name
    return replace(step, name=name, maps=tuple(_map(m, names) for m in step.maps))


def _map(m: Map, names: Names) -> Map:
    reads, addends = (tuple(_use(use, names) for use in uses) for uses in (m.reads, m.addends))
    return replace(m, reads=reads, addends=addends, write=_use(m.write, names))


def _use(use: Use, names: Names) -> Use:
    return replace(use, tensor=names.get(use.tensor, use.tensor))
