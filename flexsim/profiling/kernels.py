"""The kernels of an operator graph in PyTorch: one function a class of kernels.

A kernel reads and writes tensors by the names that the graph gives them, each with the axes of
its :class:`~flexsim.operator_graph.records.Use`, of the sizes of one part. Products, sums over
rows and gradients of biases follow from the maps alone; the others are PyTorch's own functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from flexsim.errors import FlexSimError, choices_text
from flexsim.operator_graph.axes import axis_dims
from flexsim.operator_graph.records import GRADIENT, Map, Step, Use

Tensors = dict[str, Tensor]
Box = Mapping[str, int]
Kernel = Callable[[Step, Tensors, Box], None]

DROPOUT = 0.1
NORM_EPSILON = 1e-5
NAMES = "abcdefghijklmnopqrstuvwxyz"


class UnmeasurableError(FlexSimError):
    """A kernel that is not written in PyTorch here."""


def run_step(step: Step, tensors: Tensors, box: Box) -> None:
    """Run one kernel of a part with a ``box`` of sizes; raise :class:`UnmeasurableError`."""
    kernel_of(step)(step, tensors, box)


def kernel_of(step: Step) -> Kernel:
    """Return the kernel of a step; raise :class:`UnmeasurableError` for one that is not known."""
    if any(use.windows for m in step.maps for use in m.uses):
        raise UnmeasurableError(
            "convolutions and pooling cannot be measured yet: their inputs overlap"
        )
    if step.kernel == "elementwise" and step.pass_name == "W":
        return _product
    if step.kernel not in KERNELS:
        raise UnmeasurableError(
            f"kernels of the class {step.kernel!r} cannot be measured yet:"
            f" {choices_text(step.kernel, KERNELS)}"
        )
    return KERNELS[step.kernel]


def shape_of(use: Use, box: Box) -> tuple[int, ...]:
    """Return the sizes of a tensor's axes in one part."""
    return tuple(math.prod(box[dim] for dim in axis_dims(axis)) for axis in use.axes)


def _opened(use: Use, tensors: Tensors, box: Box) -> Tensor:
    """Return a tensor with an axis a dimension."""
    return tensors[use.tensor].reshape([box[dim] for dim in use.dims])


def _closed(result: Tensor, use: Use, box: Box) -> Tensor:
    return result.reshape(shape_of(use, box))


def put(tensors: Tensors, name: str, value: Tensor) -> None:
    """Write a tensor; what is there of its gradient is added to."""
    if name.startswith(GRADIENT) and name in tensors:
        tensors[name] += value
    else:
        tensors[name] = value


def _product(step: Step, tensors: Tensors, box: Box) -> None:
    """Compute sums of products as the maps say; maps of one result add up."""
    for m in step.maps:
        result = torch.einsum(_equation(m), *(_opened(use, tensors, box) for use in m.reads))
        for use in m.addends:
            result = result + _spread(_opened(use, tensors, box), use, m.write)
        put(tensors, m.write.tensor, _closed(result, m.write, box))


def _equation(m: Map) -> str:
    letter = dict(zip(m.dims, NAMES, strict=False))
    reads = ",".join("".join(letter[dim] for dim in use.dims) for use in m.reads)
    return f"{reads}->{''.join(letter[dim] for dim in m.write.dims)}"


def _spread(tensor: Tensor, use: Use, target: Use) -> Tensor:
    """Return an addend with axes of size 1 where the result has more dimensions."""
    sizes = dict(zip(use.dims, tensor.shape, strict=True))
    return tensor.reshape([sizes.get(dim, 1) for dim in target.dims])


def _elementwise(step: Step, tensors: Tensors, box: Box) -> None:
    names = [use.tensor for use in step.reads]
    reads = [tensors[name] for name in names]
    results = _values(step, reads) if step.pass_name == "F" else _slopes(step, reads)
    for use, result in zip(step.writes, results, strict=True):
        put(tensors, use.tensor, result)


def _values(step: Step, reads: list[Tensor]) -> list[Tensor]:
    if step.fusion == "bias-gelu":
        return [functional.gelu(reads[0])]
    if step.fusion == "swiglu":
        return [functional.silu(reads[0]) * reads[1]]
    if len(step.writes) > 1:
        return [_turned(each) for each in reads]
    return [torch.relu(reads[0]) if len(reads) == 1 else torch.add(*reads[:2])]


def _slopes(step: Step, reads: list[Tensor]) -> list[Tensor]:
    if step.fusion == "bias-gelu":
        return [torch.ops.aten.gelu_backward(reads[0], reads[1])]
    if step.fusion == "swiglu":
        slope, gate, up = reads
        share = torch.sigmoid(gate)
        return [slope * up * share * (1 + gate * (1 - share)), slope * gate * share]
    if len(step.writes) > 1:
        return [_turned(each) for each in reads]
    return [torch.where(reads[1] > 0, reads[0], 0.0)]


def _turned(x: Tensor) -> Tensor:
    """Rotate pairs of a head by its position (as rotary positions do, at one angle)."""
    first, second = x.chunk(2, dim=-1)
    angle = torch.linspace(0, 1, first.shape[-1], dtype=x.dtype, device=x.device)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def _dropout(step: Step, tensors: Tensors, box: Box) -> None:
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


def _norm(step: Step, tensors: Tensors, box: Box) -> None:
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


def _softmax(step: Step, tensors: Tensors, box: Box) -> None:
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


def _attention(step: Step, tensors: Tensors, box: Box) -> None:
    """Run fused causal attention; its backward is PyTorch's own, found again from the inputs."""
    forward = step.pass_name == "F"
    uses = [use for use in step.reads if use.dims[-1:] == ("d",)]
    heads = [_heads(tensors[use.tensor], use, box).requires_grad_(not forward) for use in uses]
    query, key, value = heads[-3:] if forward else heads[:3]
    if forward:
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        put(tensors, step.writes[0].tensor, y.transpose(1, 2))
        return
    with torch.enable_grad():
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        slopes = torch.autograd.grad(y, (query, key, value), torch.ones_like(y))
    for use, slope in zip(step.writes, slopes, strict=False):
        put(tensors, use.tensor, slope)


def _heads(x: Tensor, use: Use, box: Box) -> Tensor:
    """Return [sequence, head, position, head size], every key head repeated for its queries."""
    heads = x.detach().transpose(1, 2)
    missing = box["g"] * box["r"] // heads.shape[1]
    return heads.repeat_interleave(missing, dim=1) if missing > 1 else heads.clone()


def _embedding(step: Step, tensors: Tensors, box: Box) -> None:
    if step.pass_name == "F":
        tokens, table = (tensors[use.tensor] for use in step.reads)
        put(tensors, step.writes[0].tensor, functional.embedding(tokens, table))
        return
    tokens, slope = (tensors[use.tensor] for use in step.reads)
    num_rows = shape_of(step.writes[0], box)[0]
    found = torch.ops.aten.embedding_dense_backward(slope, tokens, num_rows, -1, False)
    put(tensors, step.writes[0].tensor, found)


def _loss(step: Step, tensors: Tensors, box: Box) -> None:
    reads = [tensors[use.tensor] for use in step.reads]
    for use, result in zip(step.writes, LOSSES[step.name, len(reads)](reads), strict=True):
        put(tensors, use.tensor, result)


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


def _alias(step: Step, tensors: Tensors, box: Box) -> None:
    """Hand a gradient on under another name."""
    for m in step.maps:
        put(tensors, m.write.tensor, tensors[m.reads[0].tensor])


KERNELS: Mapping[str, Kernel] = {
    "matmul": _product,
    "elementwise": _elementwise,
    "dropout": _dropout,
    "norm": _norm,
    "softmax": _softmax,
    "attention": _attention,
    "embedding": _embedding,
    "loss": _loss,
    "alias": _alias,
}
