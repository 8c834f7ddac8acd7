"""Kernels that only move elements: joining, splitting, cropping, the first of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from flexsim.operator_graph.axes import Window
from flexsim.operator_graph.records import Map, Operator, Step, Use
from flexsim.profiling.tensors import Box, Tensors, fitted, put, shape_of


def move(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Join what is written to one tensor, or cut pieces out of what is read."""
    if step.pass_name == "W":
        _first_summed(step.maps[0], tensors)
        return
    reads = [use for m in step.maps for use in (*m.reads, *m.addends)]
    if len(step.writes) == 1 and len(reads) > 1:
        write = step.writes[0]
        found = _joined(reads, write, tensors, box)
        put(tensors, write.tensor, fitted(found, shape_of(write, box)))
        return
    for m in step.maps:
        put(tensors, m.write.tensor, _piece(m.reads[0], m.write, tensors, box))


def _joined(reads: list[Use], write: Use, tensors: Tensors, box: Box) -> Tensor:
    """Return pieces end to end along the axis of their windows, one without any first."""
    along = next(i for use in reads for i, axis in enumerate(use.axes) if isinstance(axis, Window))
    shape = list(shape_of(write, box))
    pieces = []
    for use in sorted(reads, key=lambda each: bool(each.windows)):
        piece = tensors[use.tensor]
        if not use.windows:
            piece = piece.expand(*shape[:along], 1, *shape[along + 1 :])
        pieces.append(piece)
    return torch.cat(pieces, dim=along)


def _piece(read: Use, write: Use, tensors: Tensors, box: Box) -> Tensor:
    """Return what one map takes out of a tensor, which may hold no more than that."""
    x, shape = tensors[read.tensor], shape_of(write, box)
    for i, axis in enumerate(read.axes):
        if isinstance(axis, Window):
            start = axis.offset if not axis.transposed else -axis.offset
            if start < 0:
                x = torch.cat([x.new_zeros([*x.shape[:i], -start, *x.shape[i + 1 :]]), x], dim=i)
            start = max(0, min(start, x.shape[i] - shape[i]))
            x = x.narrow(i, start, x.shape[i] - start)
    return fitted(x, shape).contiguous()


def _first_summed(m: Map, tensors: Tensors) -> None:
    """Sum the gradient of a vector in front of every sequence over the samples."""
    put(tensors, m.write.tensor, tensors[m.reads[0].tensor][:, 0].sum(0))


def select(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Take the first position of every sequence, or put its gradient there."""
    read, write = step.maps[0].reads[0], step.maps[0].write
    x = tensors[read.tensor]
    if step.pass_name == "F":
        put(tensors, write.tensor, x[:, 0].contiguous())
        return
    found = x.new_zeros(shape_of(write, box))
    found[:, 0] = x
    put(tensors, write.tensor, found)
