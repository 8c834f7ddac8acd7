"""What a forward keeps for its backward in fp8, where the software does so and products are in fp8.

A tensor is kept in 8 bit where all that its backward does with it is a product in fp8, or the
backward of an activation function; what anything else reads too stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Step
from flexsim.strategy.recompute import ACTIVATIONS


def kept_in_fp8(graph: OperatorGraph, kinds: Collection[str]) -> frozenset[str]:
    """Return the tensors that are kept in fp8; ``kinds`` are those of a software profile."""
    if graph.precision != "fp8" or not kinds:
        return frozenset()
    narrow: dict[str, bool] = {}
    for operator in graph.operators:
        for step in operator.backward:
            for use in step.reads:
                narrow[use.tensor] = narrow.get(use.tensor, True) and _is_narrow(step, kinds)
    return frozenset(name for name, is_so in narrow.items() if is_so and name in graph.tensors)


def keeps_products(graph: OperatorGraph, kinds: Collection[str]) -> bool:
    """Whether what weight-gradient products read is kept in fp8."""
    return graph.precision == "fp8" and "products" in kinds


def is_weight_product(step: Step) -> bool:
    """Whether a step is the product that gives a weight's gradient."""
    return step.pass_name == "W" and step.kernel == "matmul"


def _is_narrow(step: Step, kinds: Collection[str]) -> bool:
    if step.fusion in ACTIVATIONS:
        return "activations" in kinds
    return is_weight_product(step) and "products" in kinds
