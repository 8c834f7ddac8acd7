"""Operator graphs: what is computed, independent of how it is split."""

from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.graph import OperatorGraph, soap
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Tensor, Use, Weight

__all__ = [
    "Axis",
    "Dim",
    "GraphBuilder",
    "Map",
    "Operator",
    "OperatorGraph",
    "Step",
    "Tensor",
    "Use",
    "Weight",
    "Window",
    "soap",
]
