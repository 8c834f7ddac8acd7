"""Tensors of an operator's parts in PyTorch: their shapes, and sums of products over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flexsim.operator_graph.axes import axis_extent
from flexsim.operator_graph.records import GRADIENT, Map, Operator, Step, Use

Tensors = dict[str, Tensor]
Box = Mapping[str, int]
NORM_EPSILON = 1e-5
NAMES = "abcdefghijklmnopqrstuvwxyz"


def shape_of(use: Use, box: Box) -> tuple[int, ...]:
    """Return the sizes of a tensor's axes in one part."""
    return tuple(axis_extent(axis, box) for axis in use.axes)


def looked_up(operator: Operator, box: Box) -> dict[str, int]:
    """Return the tensors that hold numbers of rows, with the number of rows to choose from."""
    found = {}
    for m in (each for step in operator.forward for each in step.maps):
        table = next((use for use in m.reads if not use.dense), None)
        for use in m.reads:
            if table is not None and use is not table:
                axis = next(axis for axis in table.axes if axis not in use.axes)
                found[use.tensor] = axis_extent(axis, box)
    return found


def opened(use: Use, tensors: Tensors, box: Box) -> Tensor:
    """Return a tensor with an axis a dimension."""
    return tensors[use.tensor].reshape([box[dim] for dim in use.dims])


def closed(result: Tensor, use: Use, box: Box) -> Tensor:
    """Return a tensor with the axes that the graph gives it."""
    return result.reshape(shape_of(use, box))


def put(tensors: Tensors, name: str, value: Tensor) -> None:
    """Write a tensor; what is there of its gradient is added to."""
    if name.startswith(GRADIENT) and name in tensors:
        tensors[name] += value
    else:
        tensors[name] = value


def fitted(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return a tensor of these sizes: what is more at the end is left out, what is less is 0."""
    for axis, size in enumerate(sizes):
        x = x.narrow(axis, 0, min(size, x.shape[axis]))
    missing = [size - have for size, have in zip(sizes, x.shape, strict=True)]
    if not any(missing):
        return x
    return torch.nn.functional.pad(x, [n for more in reversed(missing) for n in (0, more)])


def product(step: Step, tensors: Tensors, box: Box) -> None:
    """Compute sums of products as the maps say; maps of one result add up."""
    found: Tensors = {}
    for m in step.maps:
        result = product_of(m, tensors, box)
        before = found.get(m.write.tensor)
        found[m.write.tensor] = result if before is None else before + result
    for name, result in found.items():
        put(tensors, name, result)


def product_of(m: Map, tensors: Tensors, box: Box) -> Tensor:
    """Return what one map computes: a sum of products, and what is added to it."""
    result = torch.einsum(_equation(m), *(opened(use, tensors, box) for use in m.reads))
    for use in m.addends:
        result = result + _spread(opened(use, tensors, box), use, m.write)
    return closed(result, m.write, box)


def _equation(m: Map) -> str:
    letter = dict(zip(m.dims, NAMES, strict=False))
    reads = ",".join("".join(letter[dim] for dim in use.dims) for use in m.reads)
    return f"{reads}->{''.join(letter[dim] for dim in m.write.dims)}"


def _spread(tensor: Tensor, use: Use, target: Use) -> Tensor:
    """Return an addend with axes of size 1 where the result has more dimensions."""
    sizes = dict(zip(use.dims, tensor.shape, strict=True))
    return tensor.reshape([sizes.get(dim, 1) for dim in target.dims])
