"""What rules ask of products: linears and convolutions whose second factor is a weight."""

from __future__ import annotations

from flexsim.operator_graph.axes import axis_dims
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Map, Operator, Use, gradient

PRODUCTS = ("linear", "convolution")


def is_product(graph: OperatorGraph, operator: Operator) -> bool:
    """Whether an operator is one kernel of products, each of a tensor and a weight."""
    if operator.kind not in PRODUCTS or len(operator.forward) != 1:
        return False
    (step,) = operator.forward
    return step.kernel == "matmul" and all(_has_weight(graph, m) for m in step.maps)


def _has_weight(graph: OperatorGraph, m: Map) -> bool:
    return len(m.reads) == 2 and [u.tensor in graph.weights for u in m.reads] == [False, True]


def weights_of(operator: Operator) -> list[str]:
    """Return the weights of a product: factors and biases."""
    return [u.tensor for m in operator.forward[0].maps for u in (m.reads[1], *m.addends)]


def constants_of(operator: Operator) -> tuple[str, ...]:
    """Return the tensors into which no gradient flows: those that are data."""
    written = {use.tensor for step in operator.backward for use in step.writes}
    read = dict.fromkeys(m.reads[0].tensor for m in operator.forward[0].maps)
    return tuple(tensor for tensor in read if gradient(tensor) not in written)


def only_reader(graph: OperatorGraph, tensor: str) -> Operator | None:
    """Return the operator that alone reads a tensor, if there is one."""
    readers = graph.readers.get(tensor, ())
    return graph.by_name[readers[0]] if len(readers) == 1 else None


def are_neighbours(one: Operator, other: Operator) -> bool:
    """Whether two operators stand in one repeated block and are recomputed together."""
    return (one.block, one.group) == (other.block, other.group)


def joined_name(first: Operator, *others: Operator) -> str:
    """Return the name of an operator that stands for several of one block."""
    prefix = f"{first.block}." if first.block else ""
    return "+".join([first.name, *(op.name.removeprefix(prefix) for op in others)])


def use_dims(use: Use) -> set[str]:
    """Return every dimension of a use, the positions of its windows among them."""
    positions = {window.positions for window in use.windows}
    return positions.union(*(axis_dims(axis) for axis in use.axes))
