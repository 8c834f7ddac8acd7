"""The kernels of an operator graph in PyTorch: one function a class of kernels.

A kernel reads and writes tensors by the names that the graph gives them, each with the axes of
its :class:`~flexsim.operator_graph.records.Use`, of the sizes of one part. Products, sums over
rows and gradients of biases follow from the maps alone; the others are PyTorch's own functions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from flexsim.errors import FlexSimError, choices_text
from flexsim.operator_graph.records import Operator, Step, Use
from flexsim.profiling import attention, experts, images, moves, recurrent
from flexsim.profiling.tensors import NORM_EPSILON, Box, Tensors, product, put, shape_of

Kernel = Callable[[Operator, Step, Tensors, Box], None]

DROPOUT = 0.1


class UnmeasurableError(FlexSimError):
    """A kernel that is not written in PyTorch here."""


def run_step(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run one kernel of a part with a ``box`` of sizes; raise :class:`UnmeasurableError`."""
    kernel_of(operator, step)(operator, step, tensors, box)


def kernel_of(operator: Operator, step: Step) -> Kernel:
    """Return the kernel of a step; raise :class:`UnmeasurableError` for one that is not known.

    Some kinds of operators have kernels of their own; others are what their class says.
    """
    found = _own(operator, step)
    if found is not None:
        return found
    if step.kernel == "elementwise" and step.pass_name == "W":
        return _product
    if step.kernel not in KERNELS or any(use.windows for use in (*step.reads, *step.writes)):
        raise UnmeasurableError(
            f"{operator.name}: kernels of the class {step.kernel!r} of operators of the kind"
            f" {operator.kind!r} cannot be measured: {choices_text(step.kernel, KERNELS)}"
        )
    return KERNELS[step.kernel]


def _own(operator: Operator, step: Step) -> Kernel | None:
    """Return the kernel of an operator whose class alone does not say what it does."""
    if step.kernel == "alias":
        return _alias
    if operator.kind == "attention" and step.kernel != "attention":
        return recurrent.attend
    if operator.kind == "convolution":
        return images.convolve if any(use.windows for use in step.reads) else None
    if any(w.offset > 0 and not w.tap for use in operator.forward[0].reads for w in use.windows):
        return moves.move
    return OWN.get(operator.kind)


def _product(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    product(step, tensors, box)


def _elementwise(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    names = [use.tensor for use in step.reads]
    reads = [tensors[name] for name in names]
    results = _values(operator, reads) if step.pass_name == "F" else _slopes(step, reads)
    for use, result in zip(step.writes, results, strict=True):
        put(tensors, use.tensor, result)


def _values(operator: Operator, reads: list[Tensor]) -> list[Tensor]:
    step = operator.forward[0]
    if step.fusion == "bias-gelu":
        return [functional.gelu(reads[0])]
    if step.fusion == "swiglu":
        made = functional.silu(reads[0]) * reads[1]
        return [made * reads[2].unsqueeze(-1) if len(reads) > 2 else made]
    total = functools.reduce(torch.add, reads)
    is_linear = all(each.kernel == "alias" or each.pass_name == "W" for each in operator.backward)
    return [total if is_linear else torch.relu(total)]


def _slopes(step: Step, reads: list[Tensor]) -> list[Tensor]:
    if step.fusion == "bias-gelu":
        return [torch.ops.aten.gelu_backward(reads[0], reads[1])]
    if step.fusion == "swiglu":
        return _swiglu_slopes(*reads)
    return [torch.where(reads[1] > 0, reads[0], 0.0)]


def _swiglu_slopes(
    slope: Tensor, gate: Tensor, up: Tensor, weight: Tensor | None = None
) -> list[Tensor]:
    share = torch.sigmoid(gate)
    into_weight = []
    if weight is not None:
        into_weight = [(slope * gate * share * up).sum(-1)]
        slope = slope * weight.unsqueeze(-1)
    return [slope * up * share * (1 + gate * (1 - share)), slope * gate * share, *into_weight]


def _rotary(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Rotate queries and keys, of a head the last ``p`` features where it is made of two parts."""
    sign = 1 if step.pass_name == "F" else -1
    for m in step.maps:
        x, width = tensors[(*m.reads, *m.addends)[0].tensor], box.get("p", 0)
        if len(m.addends) > 1:
            shared = _turned(tensors[m.addends[1].tensor], sign).unsqueeze(2)
            found = torch.cat([x, shared.expand(*x.shape[:3], width)], dim=-1)
        elif m.write.dims[-1:] == ("p",):
            found = _turned(x[..., -width:].sum(2), sign)
        elif m.write.dims[-1:] == ("n",):
            found = x[..., : box["n"]].contiguous()
        else:
            start = x.shape[-1] - width if width else 0
            found = torch.cat([x[..., :start], _turned(x[..., start:], sign)], dim=-1)
        put(tensors, m.write.tensor, found)


def _turned(x: Tensor, sign: int) -> Tensor:
    """Rotate pairs of a head by its position (as rotary positions do, at one angle)."""
    first, second = x.chunk(2, dim=-1)
    angle = torch.linspace(0, sign, first.shape[-1], dtype=x.dtype, device=x.device)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def _dropout(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    first = step.maps[0]
    x = tensors[first.reads[0].tensor]
    if step.pass_name == "I":
        put(tensors, first.write.tensor, x * tensors[first.reads[1].tensor])
        return
    keep = 1.0 - DROPOUT
    mask = torch.empty_like(x).bernoulli_(keep).div_(keep)
    result = x * mask
    for use in first.addends:
        result = result + tensors[use.tensor]
    put(tensors, first.write.tensor, result)
    put(tensors, step.maps[1].write.tensor, mask)


def _norm(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    write = _layer_norm if step.fusion == "layer-norm" else _rms_norm
    write(step, tensors)


def _layer_norm(step: Step, tensors: Tensors) -> None:
    if step.pass_name == "F":
        x, gain, *bias = (tensors[use.tensor] for use in step.reads)
        y, mean, deviation = torch.native_layer_norm(
            x, x.shape[-1:], gain, bias[0] if bias else None, NORM_EPSILON
        )
        put(tensors, step.writes[0].tensor, y)
        put(tensors, step.writes[1].tensor, torch.stack([mean, deviation]))
        return
    slope, x, (mean, deviation) = (tensors[use.tensor] for use in step.reads[:3])
    gain = torch.ones(x.shape[-1:], dtype=x.dtype, device=x.device)
    wanted = [step.pass_name == "I", step.pass_name == "W", step.pass_name == "W"]
    if step.pass_name == "I":
        gain = tensors[step.reads[3].tensor]
    arguments = (slope, x, x.shape[-1:], mean, deviation, gain, gain, wanted)
    found = torch.ops.aten.native_layer_norm_backward(*arguments)
    results = [each for each, is_wanted in zip(found, wanted, strict=True) if is_wanted]
    for use, result in zip(step.writes, results, strict=False):
        put(tensors, use.tensor, result)


def _rms_norm(step: Step, tensors: Tensors) -> None:
    if step.pass_name == "F":
        x, gain = (tensors[use.tensor] for use in step.reads)
        inverse = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON)
        put(tensors, step.writes[0].tensor, x * inverse * gain)
        put(tensors, step.writes[1].tensor, inverse)
        return
    slope, x, inverse = (tensors[use.tensor] for use in step.reads[:3])
    normal = x * inverse
    if step.pass_name == "W":
        put(tensors, step.writes[0].tensor, (slope * normal).flatten(0, -2).sum(0))
        return
    inner = slope * tensors[step.reads[3].tensor]
    shared = (inner * normal).mean(-1, keepdim=True)
    put(tensors, step.writes[0].tensor, (inner - normal * shared) * inverse)


def _softmax(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run the scaled, causal softmax of scores; the scale is that of as many features as keys."""
    scale = 1 / math.sqrt(box["kv"])
    if step.pass_name == "I":
        slope, y = (tensors[use.tensor] for use in step.reads)
        found = torch._softmax_backward_data(slope, y, -1, y.dtype)
        put(tensors, step.writes[0].tensor, found * scale)
        return
    scores = tensors[step.reads[0].tensor]
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    masked = (scores * scale).masked_fill(future, -torch.inf)
    put(tensors, step.writes[0].tensor, torch.softmax(masked, dim=-1))


def _embedding(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    is_bag = len(operator.forward[0].writes[0].axes) == 2
    if step.pass_name == "F":
        tokens, table = (tensors[use.tensor] for use in step.reads)
        look_up = _bag if is_bag else functional.embedding
        put(tensors, step.writes[0].tensor, look_up(tokens, table))
        return
    tokens, slope = (tensors[use.tensor] for use in step.reads)
    if is_bag:
        slope = slope.unsqueeze(1).expand(*tokens.shape, slope.shape[-1])
    num_rows = shape_of(step.writes[0], box)[0]
    found = torch.ops.aten.embedding_dense_backward(slope, tokens, num_rows, -1, False)
    put(tensors, step.writes[0].tensor, found)


def _bag(tokens: Tensor, table: Tensor) -> Tensor:
    """Return the sum of the rows of every sample."""
    return functional.embedding_bag(tokens, table, mode="sum")


def _loss(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    first = operator.forward[0].maps[0]
    axes = first.reads[0].axes
    classes = next((i for i, axis in enumerate(axes) if axis not in first.write.axes), -1)
    reads = [_classes_last(use, tensors[use.tensor], classes, len(axes)) for use in step.reads]
    for use, result in zip(step.writes, LOSSES[step.name, len(reads)](reads), strict=True):
        is_whole = len(use.axes) == len(axes)
        put(tensors, use.tensor, result.movedim(-1, classes) if is_whole else result)


def _classes_last(use: Use, x: Tensor, classes: int, num_axes: int) -> Tensor:
    """Return a tensor with its classes along the last axis, where it has any."""
    return x.movedim(classes, -1) if len(use.axes) == num_axes else x


LOSSES: Mapping[tuple[str, int], Callable[[list[Tensor]], list[Tensor]]] = {
    ("maximum", 1): lambda reads: [reads[0].amax(-1)],
    ("label", 2): lambda reads: [reads[1].gather(-1, reads[0].unsqueeze(-1)).squeeze(-1)],
    ("sum", 2): lambda reads: _exponents(reads[0] - reads[1].unsqueeze(-1)),
    ("loss", 3): lambda reads: [torch.log(reads[2]) + reads[0] - reads[1]],
    ("input", 3): lambda reads: [_cross_entropy_slope(*reads)],
    ("forward", 1): lambda reads: [reads[0].pow(2).flatten(1).mean(-1)],
    ("input", 1): lambda reads: [reads[0] * (2 / reads[0].numel())],
}
"""The steps of cross-entropy, and of a mean-squared loss, by name and number of reads."""


def _exponents(centred: Tensor) -> list[Tensor]:
    exponent = torch.exp(centred)
    return [exponent, exponent.sum(-1)]


def _cross_entropy_slope(exponent: Tensor, total: Tensor, labels: Tensor) -> Tensor:
    slope = exponent / total.unsqueeze(-1)
    slope.scatter_add_(-1, labels.unsqueeze(-1), torch.full_like(slope[..., :1], -1.0))
    return slope / labels.numel()


def _alias(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Hand a gradient on under another name."""
    for m in step.maps:
        put(tensors, m.write.tensor, tensors[m.reads[0].tensor])


KERNELS: Mapping[str, Kernel] = {
    "matmul": _product,
    "elementwise": _elementwise,
    "dropout": _dropout,
    "norm": _norm,
    "softmax": _softmax,
    "attention": attention.run,
    "embedding": _embedding,
    "loss": _loss,
    "alias": _alias,
}

OWN: Mapping[str, Kernel] = {
    "pooling": images.pool,
    "mean": images.mean,
    "batch-norm": images.batch_norm,
    "concatenation": moves.move,
    "split": moves.move,
    "selection": moves.select,
    "rotary": _rotary,
    "lstm": recurrent.cell,
    "route": experts.route,
    "dispatch": experts.dispatch,
    "combine": experts.combine,
    "send-gates": experts.send_gates,
}
"""Kernels of kinds of operators whose class alone does not say what they do."""
