"""Fusing an activation function into the product before it, with whatever bias that adds.

The kernel of the product applies the function to what it has just computed (an epilogue), so
that its result is not written and read again. Functions do not commute with sums: what the
product sums over is whole afterwards. Where the backward needs the function's argument it is
written beside the result; the derivative stays a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use, gradient
from flexsim.operator_graph.transformations.products import (
    are_neighbours,
    is_product,
    joined_name,
    only_reader,
)
from flexsim.operator_graph.transformations.rewrite import Rewrite, Rule, Site


def _find(graph: OperatorGraph) -> Iterator[Site]:
    for product in graph.operators:
        written = product.outputs
        if len(written) != 1 or not is_product(graph, product):
            continue
        reader = only_reader(graph, written[0])
        if reader and are_neighbours(product, reader) and is_activation(reader):
            yield product.name, reader.name


def is_activation(operator: Operator) -> bool:
    """Whether an operator is one function of each element of one tensor."""
    if operator.kind != "elementwise" or len(operator.forward) != 1 or len(operator.backward) > 1:
        return False
    steps = operator.steps
    if any(step.kernel != "elementwise" or len(step.maps) != 1 for step in steps):
        return False
    (forward,) = operator.forward[0].maps
    uses = {use.axes for step in steps for use in (*step.reads, *step.writes)}
    return len(forward.reads) == 1 and not forward.addends and len(uses) == 1


def _rewrite(graph: OperatorGraph, site: Site) -> Rewrite:
    product, activation = (graph.by_name[name] for name in site)
    (step,) = product.forward
    argument, result = product.outputs[0], activation.outputs[0]
    axes = step.maps[0].write.axes
    keeps = any(use.tensor == argument for s in activation.backward for use in s.reads)
    forward = replace(step, maps=_maps(step, Use(result, axes), keeps))
    fused = replace(
        product,
        name=joined_name(product, activation),
        dims=_whole(product.dims, {dim for m in step.maps for dim in m.summed_dims}),
        forward=(forward,),
        backward=(*_derivative(activation, gradient(argument), axes), *product.backward),
    )
    return Rewrite(site, fused, product.name)


def _maps(step: Step, result: Use, keeps_argument: bool) -> tuple[Map, ...]:
    """Return the products, written as the result, and as the argument too if that is kept."""
    if not keeps_argument:
        return tuple(replace(m, write=result) for m in step.maps)
    return (*step.maps, *(replace(m, write=result, flops_per_point=0) for m in step.maps))


def _derivative(activation: Operator, target: str, axes: tuple[Axis, ...]) -> tuple[Step, ...]:
    """Return the activation's backward over the dimensions of the product."""
    found = []
    for step in activation.backward:
        (m,) = step.maps
        reads = tuple(replace(use, axes=axes) for use in m.reads)
        maps = (Map(reads, replace(m.write, tensor=target, axes=axes)),)
        found.append(replace(step, name="activation", maps=maps))
    return tuple(found)


def _whole(dims: tuple[Dim, ...], names: set[str]) -> tuple[Dim, ...]:
    return tuple(replace(dim, max_degree=1) if dim.name in names else dim for dim in dims)


FUSE_ACTIVATION = Rule(_find, _rewrite, "an activation joins the kernel of the product before it")
