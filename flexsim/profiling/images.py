"""Convolutions, pooling and batch norm in PyTorch, on the rows and columns of one part.

What a part reads beyond its own rows is there already; the rest of a window is padding. Where a
part's rows ask for one row more or less than PyTorch's padding on both sides gives, zeros are
added or the last row is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.records import Map, Operator, Step, Use
from flexsim.profiling.tensors import (
    NORM_EPSILON,
    Box,
    Tensors,
    closed,
    fitted,
    opened,
    put,
    shape_of,
)

_MOMENTUM = 0.1


@dataclass(frozen=True)
class Side:
    """One side of an image as a convolution sees it: taps, stride and padding."""

    dim: str
    taps: int = 1
    stride: int = 1
    padding: int = 0
    tap: str = ""
    is_transposed: bool = False

    @staticmethod
    def of(axis: Axis, box: Box, extent: int) -> Side:
        """Return the side that an axis of ``extent`` elements describes."""
        if not isinstance(axis, Window):
            return Side(axis[0])
        lacking = axis.stride * (box[axis.dim] - 1) + axis.taps - extent
        whole = axis.transposed or extent == axis.size
        padding = -axis.offset if whole else max(0, min(-axis.offset, lacking))
        return Side(axis.dim, axis.taps, axis.stride, padding, axis.tap, axis.transposed)

    def outputs(self, extent: int) -> int:
        """Return how many windows (of a transposed side elements) PyTorch finds."""
        if self.is_transposed:
            return (extent - 1) * self.stride - 2 * self.padding + self.taps
        return (extent + 2 * self.padding - self.taps) // self.stride + 1

    def more(self, wanted: int, extent: int) -> int:
        """Return how many of the elements that a transposed side wants PyTorch would leave out."""
        if not self.is_transposed:
            return 0
        return max(0, min(wanted - self.outputs(extent), self.stride - 1))


@dataclass(frozen=True)
class _Convolution:
    """A product of an image with windows (x) and a plain tensor: a weight, or a gradient."""

    image: Use
    sides: tuple[Side, Side]
    group: tuple[str, ...]
    inner: str
    """Channels of the image."""
    outer: str
    """Channels of the other image."""

    @staticmethod
    def of(step: Step, tensors: Tensors, box: Box) -> _Convolution:
        first = step.maps[0]
        image = next(use for use in first.reads if use.windows)
        weight = first.write if step.pass_name == "W" else _other(first, image)
        extents = tensors[image.tensor].shape[2:]
        rows, columns = (
            Side.of(axis, box, extent) for axis, extent in zip(image.axes[2:], extents, strict=True)
        )
        taps = {rows.tap, columns.tap}
        channels = [dim for dim in weight.dims if dim not in taps]
        inner = [dim for dim in channels if dim in image.dims]
        result = _other(first, image) if step.pass_name == "W" else first.write
        group = tuple(dim for dim in inner if dim in result.dims)
        (own,) = (dim for dim in inner if dim not in group)
        (outer,) = (dim for dim in channels if dim not in inner)
        return _Convolution(image, (rows, columns), group, own, outer)

    @property
    def is_transposed(self) -> bool:
        """Whether every element of the image meets several of the other."""
        return any(side.is_transposed for side in self.sides)

    def settings(
        self, box: Box, extents: Sequence[int]
    ) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
        """Return stride, padding, dilation, whether transposed, output padding and groups."""
        stride = [side.stride for side in self.sides]
        padding = [side.padding for side in self.sides]
        groups = box[self.group[0]] if self.group else 1
        pairs = zip(self.sides, extents, strict=True)
        more = [side.more(box[side.dim], extent) for side, extent in pairs]
        return stride, padding, [1, 1], self.is_transposed, more, groups

    def weight_dims(self) -> tuple[str, ...]:
        """Return the order of a weight's dimensions in PyTorch."""
        pair = (self.inner, self.outer) if self.is_transposed else (self.outer, self.inner)
        return *self.group, *pair, *(side.tap for side in self.sides)

    def image_dims(self) -> tuple[str, ...]:
        """Return the order of the other image's dimensions."""
        sample = self.image.dims[0]
        return sample, *self.group, self.outer, *(side.dim for side in self.sides)


def _other(m: Map, image: Use) -> Use:
    return next(use for use in m.reads if use is not image)


def convolve(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run a convolution or one of its gradients."""
    found = _Convolution.of(step, tensors, box)
    first = step.maps[0]
    if step.pass_name == "W":
        _weight_gradient(found, first, tensors, box)
        return
    image, weight = found.image, _other(first, found.image)
    kernel = _turned(weight, found.weight_dims(), tensors, box)
    shape = [box.get(dim, 1) for dim in found.weight_dims()]
    shape = [shape[0] * shape[1], *shape[2:]] if found.group else shape
    x = tensors[image.tensor]
    result = torch.convolution(x, kernel.reshape(shape), None, *found.settings(box, x.shape[2:]))
    wanted = [*result.shape[:2], *(box[side.dim] for side in found.sides)]
    result = _named(fitted(result, wanted), found.image_dims(), first.write, box)
    for use in first.addends:
        bias = opened(use, tensors, box)
        sizes = dict(zip(use.dims, bias.shape, strict=True))
        result = result + bias.reshape([sizes.get(dim, 1) for dim in first.write.dims])
    put(tensors, first.write.tensor, closed(result, first.write, box))


def _weight_gradient(found: _Convolution, first: Map, tensors: Tensors, box: Box) -> None:
    x, other = tensors[found.image.tensor], _other(first, found.image)
    slope = _turned(other, found.image_dims(), tensors, box)
    groups = box[found.group[0]] if found.group else 1
    outputs = [side.outputs(extent) for side, extent in zip(found.sides, x.shape[2:], strict=True)]
    slope = slope.reshape(len(slope), -1, *slope.shape[-2:])
    slope = fitted(slope, [*slope.shape[:2], *outputs])
    shape = [box.get(dim, 1) for dim in found.weight_dims()]
    weight = x.new_empty([shape[0] * shape[1], *shape[2:]] if groups > 1 else shape[-4:])
    wanted = (False, True, False)
    arguments = (slope, x, weight, None, *found.settings(box, x.shape[2:]), wanted)
    gradient = torch.ops.aten.convolution_backward(*arguments)[1]
    result = _named(gradient, found.weight_dims(), first.write, box)
    put(tensors, first.write.tensor, closed(result, first.write, box))


def _turned(use: Use, order: tuple[str, ...], tensors: Tensors, box: Box) -> Tensor:
    """Return a plain tensor with its dimensions in another order, absent ones of size 1."""
    x = opened(use, tensors, box)
    x = x.permute([use.dims.index(dim) for dim in order if dim in use.dims])
    return x.reshape([box[dim] if dim in use.dims else 1 for dim in order])


def _named(x: Tensor, order: tuple[str, ...], write: Use, box: Box) -> Tensor:
    """Return a tensor in PyTorch's order with the dimensions of a write."""
    x = x.reshape([box[dim] for dim in order if dim in write.dims])
    have = [dim for dim in order if dim in write.dims]
    return x.permute([have.index(dim) for dim in write.dims])


def pool(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run a pooling or its gradient: of maxima where the gradient reads the input again."""
    is_maximum = len(operator.backward[0].reads) > 1
    forward = operator.forward[0].maps[0]
    if step.pass_name == "F":
        x = tensors[forward.reads[0].tensor]
        sides = _sides(forward.reads[0], box, x.shape[2:])
        function = functional.max_pool2d if is_maximum else functional.avg_pool2d
        found = function(x, *_window(sides))
        put(tensors, forward.write.tensor, fitted(found, shape_of(forward.write, box)))
        return
    back = step.maps[0]
    shape = shape_of(back.write, box)
    sides = _sides(forward.reads[0], {**box, **_lengths(back, tensors)}, shape[2:])
    outputs = [side.outputs(extent) for side, extent in zip(sides, shape[2:], strict=True)]
    slope = fitted(tensors[back.reads[0].tensor], [*shape[:2], *outputs])
    if is_maximum:
        x = fitted(tensors[back.reads[1].tensor], shape)
        _, places = functional.max_pool2d_with_indices(x, *_window(sides))
        arguments = (slope, x, *_window(sides), [1, 1], False, places)
        found = torch.ops.aten.max_pool2d_with_indices_backward(*arguments)
    else:
        empty = slope.new_empty(shape)
        settings = (*_window(sides), False, True, None)
        found = torch.ops.aten.avg_pool2d_backward(slope, empty, *settings)
    put(tensors, back.write.tensor, found)


def _sides(use: Use, box: Box, extents: torch.Size | tuple[int, ...]) -> list[Side]:
    return [Side.of(axis, box, n) for axis, n in zip(use.axes[2:], extents, strict=True)]


def _lengths(back: Map, tensors: Tensors) -> dict[str, int]:
    """Return how many windows there are along rows and columns of a gradient that is read."""
    extents = tensors[back.reads[0].tensor].shape[2:]
    axes = back.reads[0].axes[2:]
    return {
        axis.positions if isinstance(axis, Window) else axis[0]: extent
        for axis, extent in zip(axes, extents, strict=True)
    }


def _window(sides: list[Side]) -> tuple[list[int], list[int], list[int]]:
    """Return taps, stride and padding as PyTorch's pooling takes them."""
    taps, stride, padding = zip(*((s.taps, s.stride, s.padding) for s in sides), strict=True)
    return list(taps), list(stride), [min(p, n // 2) for p, n in zip(padding, taps, strict=True)]


def mean(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run a mean over whole axes, or spread its gradient over them."""
    first = step.maps[0]
    read, write = first.reads[0], first.write
    x = tensors[read.tensor]
    if step.pass_name == "F":
        over = [i for i, axis in enumerate(read.axes) if axis not in write.axes]
        put(tensors, write.tensor, x.mean(over))
        return
    shape = shape_of(write, box)
    kept = [n if axis in read.axes else 1 for axis, n in zip(write.axes, shape, strict=True)]
    count = torch.Size(shape).numel() // max(1, x.numel())
    put(tensors, write.tensor, (x / count).reshape(kept).expand(shape).contiguous())


def batch_norm(operator: Operator, step: Step, tensors: Tensors, box: Box) -> None:
    """Run a batch norm over a part's own samples and pixels, or one of its gradients."""
    if step.pass_name == "F":
        x, gain, bias = (tensors[use.tensor] for use in step.reads)
        arguments = (x, gain, bias, None, None, True, _MOMENTUM, NORM_EPSILON)
        y, average, inverse = torch.native_batch_norm(*arguments)
        put(tensors, step.writes[0].tensor, y)
        put(tensors, step.writes[1].tensor, torch.stack([average, inverse]))
        return
    slope, x, (average, inverse) = (tensors[use.tensor] for use in step.reads[:3])
    into_x = step.pass_name == "I"
    gain = tensors[step.reads[3].tensor] if into_x else torch.ones_like(average)
    wanted = [into_x, not into_x, not into_x]
    settings = (None, None, average, inverse, True, NORM_EPSILON, wanted)
    found = torch.ops.aten.native_batch_norm_backward(slope, x, gain, *settings)
    results = [each for each, is_wanted in zip(found, wanted, strict=True) if is_wanted]
    for use, result in zip(step.writes, results, strict=True):
        put(tensors, use.tensor, result)
