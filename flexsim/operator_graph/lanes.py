"""Copies of a model that share its weights: bidirectional pipelines run one in each direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import GRADIENT, Map, Operator, Step, Use, gradient

Rename = Callable[[str], str]


def in_lanes(graph: OperatorGraph, num_lanes: int) -> OperatorGraph:
    """Return ``num_lanes`` copies of ``graph`` one after the other, all with the same weights.

    A microbatch passes through one of them. The first keeps its names; operators and tensors of
    copy l are called ``lane<l>.<name>``.
    """
    if num_lanes == 1:
        return graph
    operators, tensors, inputs = list(graph.operators), dict(graph.tensors), list(graph.inputs)
    for lane in range(1, num_lanes):
        prefix = f"lane{lane}."
        rename = renaming(graph, prefix)
        operators += [copied(operator, lane, prefix, rename) for operator in graph.operators]
        copies = {rename(name): tensor for name, tensor in graph.tensors.items()}
        tensors |= {name: replace(tensor, name=name) for name, tensor in copies.items()}
        inputs += [rename(name) for name in graph.inputs]
    return replace(graph, operators=tuple(operators), tensors=tensors, inputs=tuple(inputs))


def renaming(graph: OperatorGraph, prefix: str) -> Rename:
    """Return the function that puts ``prefix`` before names of tensors and their gradients.

    Weights, which copies share, keep theirs.
    """

    def rename(name: str) -> str:
        base = name.removeprefix(GRADIENT)
        if base in graph.weights:
            return name
        own = prefix + base
        return gradient(own) if name.startswith(GRADIENT) else own

    return rename


def copied(operator: Operator, lane: int, prefix: str, rename: Rename) -> Operator:
    """Return an operator of copy ``lane``, whose name and block begin with ``prefix``."""
    return replace(
        operator,
        name=prefix + operator.name,
        forward=tuple(_step(step, rename) for step in operator.forward),
        backward=tuple(_step(step, rename) for step in operator.backward),
        block=operator.block and prefix + operator.block,
        lane=lane,
    )


def _step(step: Step, rename: Rename) -> Step:
    return replace(step, maps=tuple(_map(each, rename) for each in step.maps))


def _map(each: Map, rename: Rename) -> Map:
    return replace(
        each,
        reads=tuple(_use(use, rename) for use in each.reads),
        write=_use(each.write, rename),
        addends=tuple(_use(use, rename) for use in each.addends),
    )


def _use(use: Use, rename: Rename) -> Use:
    return replace(use, tensor=rename(use.tensor))
