"""Graphs of inference: operators without a backward."""

from __future__ import annotations

from dataclasses import replace

from flexsim.operator_graph.graph import OperatorGraph


def is_forward_only(graph: OperatorGraph) -> bool:
    """Whether no operator has a backward."""
    return not any(operator.backward for operator in graph.operators)


def forward_only(graph: OperatorGraph) -> OperatorGraph:
    """Return the graph without its backward; norms then scale by what training left behind."""
    operators = tuple(replace(operator, backward=()) for operator in graph.operators)
    return replace(graph, operators=operators)
