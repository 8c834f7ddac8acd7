"""Convolutions over images ``[b, c, height, width]``: plain, grouped, strided, transposed.

A convolution is a product summed over input channels and the kernel's taps, whose input is
read through windows: what a part needs beyond its own rows is the halo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flexsim.errors import ModelError
from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use

IMAGE: tuple[Axis, ...] = (("b",), ("c",), ("h",), ("w",))
GROUP = "group"


@dataclass(frozen=True)
class Kernel:
    """Taps a side (rows, columns), stride, and padding a side (rows, columns)."""

    taps: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)

    def output(self, side: int, size: int) -> int:
        """Return how many windows fit along a side (0 rows, 1 columns) of ``size`` elements."""
        room = size + 2 * self.padding[side] - self.taps[side]
        if room < 0:
            raise ModelError(
                f"an image {size} pixels wide cannot hold a kernel of {self.taps[side]}; choose a"
                " larger model.image"
            )
        return room // self.stride + 1

    def axes(self, rows: int, columns: int) -> tuple[Axis, Axis]:
        """Return how outputs (h, w) and taps (i, j) index an image of ``rows`` x ``columns``."""
        return self._axis(0, rows), self._axis(1, columns)

    def _axis(self, side: int, size: int) -> Axis:
        dim, positions, tap = (("h", "p", "i"), ("w", "q", "j"))[side]
        taps, padding = self.taps[side], self.padding[side]
        if (taps, self.stride, padding) == (1, 1, 0):
            return (dim,)
        tap = tap if taps > 1 else ""
        length = self.output(side, size)
        return Window(dim, length, positions, size, tap, taps, self.stride, -padding)


def square(size: int, stride: int = 1, padding: int = 0) -> Kernel:
    """Return a kernel with equal sides."""
    return Kernel((size, size), stride, (padding, padding))


@dataclass(frozen=True)
class Filters:
    """Output channels, groups of channels that see each other only, and whether there is a bias.

    ``constant_input`` tells that the input is data, into which no gradient flows.
    """

    channels: int
    groups: int = 1
    bias: bool = False
    constant_input: bool = False


def convolution(builder: GraphBuilder, name: str, x: str, kernel: Kernel, filters: Filters) -> str:
    """Add ``y[b,o,h,w] = sum of x[b,c,stride·h + i - padding, …] w[o,c,i,j] (+ bias[o])``.

    Forward 2·b·o·c/groups·h·w·i·j FLOPs.
    """
    full, (batch, channels, rows, columns) = builder.named(name), builder.shape(x)
    _check_groups(full, channels, filters)
    sizes = {
        "b": batch,
        "c": channels // filters.groups,
        "o": filters.channels // filters.groups,
        GROUP: filters.groups,
        "h": kernel.output(0, rows),
        "w": kernel.output(1, columns),
        "i": kernel.taps[0],
        "j": kernel.taps[1],
    }
    grouped = (GROUP,) if filters.groups > 1 else ()
    in_axes = (("b",), (*grouped, "c"), *kernel.axes(rows, columns))
    out_axes = (("b",), (*grouped, "o"), ("h",), ("w",))
    taps = tuple((t,) for t, n in zip("ij", kernel.taps, strict=True) if n > 1)
    weight_axes = ((*grouped, "o"), ("c",), *taps)
    return _product(builder, full, (x, in_axes, weight_axes, out_axes), sizes, filters)


def up_convolution(builder: GraphBuilder, name: str, x: str, factor: int, channels: int) -> str:
    """Add a transposed convolution that enlarges an image ``factor`` times, with a bias.

    Its taps are as many as its stride, so that each output has one input element.
    """
    full, (batch, inputs, rows, columns) = builder.named(name), builder.shape(x)
    sizes = {"b": batch, "c": inputs, "o": channels, "i": factor, "j": factor}
    sizes |= {"h": rows * factor, "w": columns * factor, "p": rows, "q": columns}
    in_axes = (
        ("b",),
        ("c",),
        Window("h", rows * factor, "p", rows, "i", factor, factor, transposed=True),
        Window("w", columns * factor, "q", columns, "j", factor, factor, transposed=True),
    )
    out_axes: tuple[Axis, ...] = (("b",), ("o",), ("h",), ("w",))
    weight_axes = (("o",), ("c",), ("i",), ("j",))
    points = ("b", "c", "o", "p", "q", "i", "j")
    filters = Filters(channels, bias=True)
    return _product(builder, full, (x, in_axes, weight_axes, out_axes), sizes, filters, points)


def _product(
    builder: GraphBuilder,
    full: str,
    axes: tuple[str, Sequence[Axis], Sequence[Axis], Sequence[Axis]],
    sizes: dict[str, int],
    filters: Filters,
    points: tuple[str, ...] = (),
) -> str:
    x, in_axes, weight_axes, out_axes = axes
    y = builder.tensor(f"{full}.out", axis_sizes(out_axes, sizes))
    weight = builder.weight(f"{full}.weight", axis_sizes(weight_axes, sizes))
    weights = [weight]
    addends: tuple[Use, ...] = ()
    if filters.bias:
        weights.append(builder.weight(f"{full}.bias", (filters.channels,)))
        addends = (Use(weights[1], (out_axes[1],)),)
    reads = (Use(x, tuple(in_axes)), Use(weight, tuple(weight_axes)))
    product = Map(reads, Use(y, tuple(out_axes)), 2, addends, points)
    forward = Step("forward", "F", (product,), "matmul")
    constants = (x,) if filters.constant_input else ()
    whole = ("c", "o") if filters.groups > 1 else ()
    dims = dims_of((product,), sizes, whole)
    backward = derive_backward(forward, weights, constants)
    builder.add(Operator(full, "convolution", dims, (forward,), backward))
    return y


def _check_groups(full: str, channels: int, filters: Filters) -> None:
    for count in (channels, filters.channels):
        if count % filters.groups:
            raise ModelError(f"{full}: {filters.groups} groups do not divide {count} channels")


def patches(builder: GraphBuilder, name: str, x: str, patch: int, width: int) -> str:
    """Add a linear of every square patch of the data ``x[b,c,height,width]``: ``[b,s,h]``.

    Patches in rows and columns become one axis of positions; whole rows stay together, so many
    at a time that every smaller degree leaves them together too.
    """
    full, (batch, channels, rows, columns) = builder.named(name), builder.shape(x)
    kernel = square(patch, patch)
    sizes = {"b": batch, "c": channels, "h": width, "i": patch, "j": patch}
    sizes |= {"y": kernel.output(0, rows), "x": kernel.output(1, columns)}
    in_axes: tuple[Axis, ...] = (
        ("b",),
        ("c",),
        Window("y", sizes["y"], "p", rows, "i", patch, patch),
        Window("x", sizes["x"], "q", columns, "j", patch, patch),
    )
    out_axes: tuple[Axis, ...] = (("b",), ("y", "x"), ("h",))
    y = builder.tensor(f"{full}.out", axis_sizes(out_axes, sizes))
    weight_axes: tuple[Axis, ...] = (("c",), ("i",), ("j",), ("h",))
    weight = builder.weight(f"{full}.weight", axis_sizes(weight_axes, sizes))
    bias = builder.weight(f"{full}.bias", (width,))
    reads = (Use(x, in_axes), Use(weight, weight_axes))
    product = Map(reads, Use(y, out_axes), 2, (Use(bias, (("h",),)),))
    forward = Step("forward", "F", (product,), "matmul")
    most = next(d for d in range(1, sizes["y"] + 1) if sizes["y"] % (d + 1))
    dims = tuple(
        replace(dim, max_degree=most) if dim.name == "y" else dim
        for dim in dims_of((product,), sizes, whole=("x",))
    )
    backward = derive_backward(forward, (weight, bias), (x,))
    builder.add(Operator(full, "convolution", dims, (forward,), backward))
    return y
