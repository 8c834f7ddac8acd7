"""Mixtures of experts in PyTorch: choosing, sending tokens to slots, and putting together.

Tokens of a sequence fill the slots of their expert in order; one that finds none is dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flexsim.operator_graph.records import GRADIENT, Operator, Step
from flexsim.profiling.tensors import Box, Tensors, put, shape_of

_GATES = ".gates"
CHOSEN = ("b", "s", "k")


def route(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Take the largest shares of a softmax, or give their gradients back to the logits."""
    if step.pass_name == "F":
        shares = torch.softmax(tensors[step.reads[0].tensor], -1)
        gates, numbers = torch.topk(shares, box["k"], dim=-1)
        put(tensors, step.writes[0].tensor, gates)
        put(tensors, step.writes[1].tensor, numbers)
        return
    slope, logits, numbers = (tensors[use.tensor] for use in step.reads)
    shares = torch.softmax(logits, -1)
    into = torch.zeros_like(shares).scatter_(-1, numbers, slope.to(shares.dtype))
    put(
        tensors,
        step.writes[0].tensor,
        torch._softmax_backward_data(into, shares, -1, shares.dtype),
    )


class _Slots(NamedTuple):
    """Where every choice of every token went."""

    sample: Tensor
    expert: Tensor
    slot: Tensor
    there: Tensor
    """Whether it found a slot; the shape of all four is [b, s·k]."""


def _slots(numbers: Tensor, num_experts: int, num_slots: int) -> _Slots:
    expert = numbers.flatten(1)
    order = torch.argsort(expert, dim=1, stable=True)
    by_expert = expert.gather(1, order)
    counts = torch.zeros(len(expert), num_experts, dtype=torch.int64, device=expert.device)
    counts.scatter_add_(1, expert, torch.ones_like(expert))
    begin = counts.cumsum(1) - counts
    rank = torch.arange(expert.shape[1], device=expert.device) - begin.gather(1, by_expert)
    slot = torch.empty_like(rank).scatter_(1, order, rank)
    sample = torch.arange(len(expert), device=expert.device)[:, None].expand_as(expert)
    return _Slots(sample, expert, slot, slot < num_slots)


def _placed(values: Tensor, slots: _Slots, shape: tuple[int, ...]) -> Tensor:
    """Return ``[e, b, slot, …]`` with a value ``[b, s·k, …]`` for every choice in its slot."""
    found = values.new_zeros(shape)
    there = slots.there
    found[slots.expert[there], slots.sample[there], slots.slot[there]] = values[there]
    return found


def _brought(sent: Tensor, slots: _Slots) -> Tensor:
    """Return ``[b, s·k, …]``: what lies in every choice's slot, 0 for one that found none."""
    last = slots.slot.clamp(max=sent.shape[2] - 1)
    found = sent[slots.expert, slots.sample, last]
    there = slots.there.reshape(*slots.there.shape, *[1] * (found.ndim - 2))
    return found * there


def dispatch(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Send tokens to the slots of their experts, or sum what comes back for each."""
    slots, write = _slots_of(step, tensors, box), step.writes[0]
    values = tensors[step.reads[0].tensor]
    if step.pass_name == "F":
        found = _placed(_repeated(values, box["k"]), slots, shape_of(write, box))
    else:
        found = _summed(_brought(values, slots), box["k"])
    put(tensors, write.tensor, found)


def combine(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Sum what experts made of each token, weighted where gates are read; or the gradients."""
    slots, gates = _slots_of(step, tensors, box), _gates(step, tensors)
    if step.pass_name == "F":
        rows = _weighted(_brought(tensors[step.reads[0].tensor], slots), gates)
        put(tensors, step.writes[0].tensor, _summed(rows, box["k"]))
        return
    slope = _repeated(tensors[step.reads[0].tensor], box["k"])
    sent = step.writes[0]
    found = _placed(_weighted(slope, gates), slots, shape_of(sent, box))
    if gates is not None:
        made = next(use for use in step.reads if use.axes == sent.axes)
        into = (_brought(tensors[made.tensor], slots) * slope).sum(-1)
        put(tensors, step.writes[1].tensor, into.reshape(gates.shape))
    put(tensors, sent.tensor, found)


def send_gates(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Send the weights of choices to the slots of their tokens, or their gradients back."""
    slots, write = _slots_of(step, tensors, box), step.writes[0]
    values = tensors[step.reads[0].tensor]
    if step.pass_name == "F":
        put(tensors, write.tensor, _placed(values.flatten(1), slots, shape_of(write, box)))
    else:
        put(tensors, write.tensor, _brought(values, slots).reshape(shape_of(write, box)))


def numbers_beside(gates: str) -> str:
    """Return the name of the numbers of experts that stand beside their weights."""
    return f"{gates.rpartition('.')[0]}.numbers"


def _slots_of(step: Step, tensors: Tensors, box: Box) -> _Slots:
    """Return where choices go, by the numbers of experts: read, or beside the gates."""
    chosen = [use.tensor for use in step.reads if use.dims == CHOSEN]
    *_, name = (each for each in chosen if not each.startswith(GRADIENT))
    name = numbers_beside(name) if name.endswith(_GATES) else name
    return _slots(tensors[name], box["e"], box["slot"])


def _gates(step: Step, tensors: Tensors) -> Tensor | None:
    """Return the weights of choices, where a kernel reads them."""
    names = [use.tensor for use in step.reads if use.tensor.endswith(_GATES)]
    return tensors[names[0]] if names else None


def _repeated(x: Tensor, times: int) -> Tensor:
    """Return the row of every choice ``[b, s·k, …]`` of tokens ``[b, s, …]``."""
    return x.repeat_interleave(times, dim=1)


def _summed(rows: Tensor, times: int) -> Tensor:
    """Return the sum ``[b, s, …]`` over the choices of every token."""
    return rows.reshape(len(rows), -1, times, *rows.shape[2:]).sum(2)


def _weighted(rows: Tensor, gates: Tensor | None) -> Tensor:
    return rows if gates is None else rows * gates.flatten(1).unsqueeze(-1)
