"""Run whole operator graphs on real arrays, forward and backward, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from map_execution import Array, Execution

from flexsim.operator_graph import Operator, OperatorGraph, Step

Functions = Mapping[str, Callable[[Array], Array]]
"""What is applied to tensors by name once they are written: the activation functions."""


def random_feed(graph: OperatorGraph, seed: int) -> dict[str, Array]:
    """Return random arrays for the inputs and weights of a graph."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=graph.shape(name)) for name in (*graph.inputs, *graph.weights)}


def forward(
    graph: OperatorGraph, feed: Mapping[str, Array], functions: Functions | None = None
) -> dict[str, Array]:
    """Return every tensor, those fed among them."""
    values = dict(feed)
    for operator in graph.operators:
        for step in operator.forward:
            for name, array in written(graph, operator, step, values).items():
                values[name] = (functions or {}).get(name, np.asarray)(array)
    return values


def backward(
    graph: OperatorGraph, values: Mapping[str, Array], upstream: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the gradients that follow from those in ``upstream``; readers' shares are summed."""
    known = dict(values) | {f"gradient:{name}": array for name, array in upstream.items()}
    found: dict[str, Array] = {}
    for operator in reversed(graph.operators):
        for step in operator.backward:
            for name, array in written(graph, operator, step, known).items():
                found[name] = found.get(name, 0) + array
                known[name] = found[name]
    return {name.removeprefix("gradient:"): array for name, array in found.items()}


def written(
    graph: OperatorGraph, operator: Operator, step: Step, values: Mapping[str, Array]
) -> dict[str, Array]:
    """Return what one step writes, in the shapes of the graph."""
    execution = Execution(operator, {})
    own = {u.tensor: np.reshape(values[u.tensor], execution.shape(u)) for u in step.reads}
    found = execution.run((step,), own)
    return {
        name: np.reshape(array, graph.shape(name.removeprefix("gradient:")))
        for name, array in found.items()
    }


def random_upstream(graph: OperatorGraph, names: list[str], seed: int) -> dict[str, Array]:
    """Return random gradients for tensors of a graph."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=graph.shape(name)) for name in names}


def results(graph: OperatorGraph) -> list[str]:
    """Return the tensors that nothing reads."""
    return [t for op in graph.operators for t in op.outputs if t not in graph.readers]
