"""The cell of an LSTM, and attention of one query over a memory, in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from flexsim.operator_graph.records import GRADIENT, Operator, Step
from flexsim.profiling.tensors import Box, Tensors, product, product_of, put


def cell(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run what an LSTM does with the products of its gates, or the gradient of that."""
    if step.kernel != "elementwise" or step.name != "cell":
        product(step, tensors, box)
    elif step.pass_name == "F":
        gates, *before = (tensors[use.tensor] for use in step.reads)
        new, squashed, (_, _, _, out) = _state(gates, before)
        results = (out * squashed, new)
        for use, result in zip(step.writes, results, strict=False):
            put(tensors, use.tensor, result)
    else:
        _cell_slopes(step, tensors)


def _state(
    gates: Tensor, before: list[Tensor]
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the cell, its tangent, and the gates: input, forget, new, output."""
    first, forget, fresh, last = gates.unbind(2)
    taken, kept, out = torch.sigmoid(first), torch.sigmoid(forget), torch.sigmoid(last)
    new = taken * torch.tanh(fresh)
    if before:
        new = new + kept * before[0]
    return new, torch.tanh(new), (taken, kept, torch.tanh(fresh), out)


def _cell_slopes(step: Step, tensors: Tensors) -> None:
    slopes = [tensors[use.tensor] for use in step.reads if use.tensor.startswith(GRADIENT)]
    gates, *before = (
        tensors[use.tensor] for use in step.reads if not use.tensor.startswith(GRADIENT)
    )
    _, squashed, (taken, kept, fresh, out) = _state(gates, before)
    into_cell = slopes[0] * out * (1 - squashed**2)
    if len(slopes) > 1:
        into_cell = into_cell + slopes[1]
    earlier = before[0] if before else torch.zeros_like(taken)
    found = (
        into_cell * fresh * taken * (1 - taken),
        into_cell * earlier * kept * (1 - kept),
        into_cell * taken * (1 - fresh**2),
        slopes[0] * squashed * out * (1 - out),
    )
    put(tensors, step.writes[0].tensor, torch.stack(found, dim=2))
    if before:
        put(tensors, step.writes[1].tensor, into_cell * kept)


def attend(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run a step of attention over a memory: scores, shares and values, or their gradients."""
    if step.kernel == "elementwise":
        product(step, tensors, box)
        return
    first = step.maps[0]
    if step.pass_name == "F":
        shares, values = step.maps
        local = tensors | {first.reads[0].tensor: torch.softmax(tensors[first.reads[0].tensor], -1)}
        put(tensors, shares.write.tensor, local[first.reads[0].tensor])
        put(tensors, values.write.tensor, product_of(values, local, box))
        return
    slope, share = (tensors[use.tensor] for use in first.reads[:2])
    scores = torch._softmax_backward_data(slope, share, -1, share.dtype)
    local = tensors | {first.reads[0].tensor: scores, first.reads[1].tensor: torch.ones_like(share)}
    for m in step.maps[:2]:
        put(tensors, m.write.tensor, product_of(m, local, box))
    put(tensors, step.maps[2].write.tensor, product_of(step.maps[2], tensors, box))
