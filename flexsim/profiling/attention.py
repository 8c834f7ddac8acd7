"""Fused attention in PyTorch, whose backward is PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from flexsim.operator_graph.records import Operator, Step
from flexsim.profiling.tensors import Box, Tensors, put

_NUM_INPUTS = 3


def run(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run fused attention over heads, or its backward from what its forward left.

    Where half of the work is left out, positions see only earlier ones. What autograd keeps of
    the forward stands beside its result, as the statistics of a fused kernel do.
    """
    forward = operator.forward[0].maps[0]
    name = forward.write.tensor
    if step.pass_name == "F":
        result = _forward(operator, [tensors[use.tensor] for use in forward.reads], tensors)
        put(tensors, name, result.detach())
        return
    if _kept(name) not in tensors:
        _forward(operator, [tensors[use.tensor] for use in forward.reads], tensors)
    inputs = [tensors[f"{_kept(name)}{i}"] for i in range(_NUM_INPUTS)]
    slope = tensors[step.reads[-1].tensor]
    slopes = torch.autograd.grad(tensors[_kept(name)], inputs, slope, retain_graph=True)
    for use, found in zip(step.writes, slopes, strict=True):
        put(tensors, use.tensor, found)


def _forward(operator: Operator, inputs: list[Tensor], tensors: Tensors) -> Tensor:
    """Return ``[b, s, heads, width]`` of queries, keys and values, and keep how it was made."""
    step = operator.forward[0]
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in inputs]
        query, key, value = (each.transpose(1, 2) for each in leaves)
        missing = query.shape[1] // key.shape[1]
        if missing > 1:
            key, value = (each.repeat_interleave(missing, dim=1) for each in (key, value))
        is_causal = step.work_fraction < 1
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
        result = found.transpose(1, 2)
    name = _kept(step.maps[0].write.tensor)
    tensors[name] = result
    tensors.update({f"{name}{i}": leaf for i, leaf in enumerate(leaves)})
    return result


def _kept(name: str) -> str:
    """Return the name of what is kept of a forward beside its result."""
    return f"{name}.forward"
