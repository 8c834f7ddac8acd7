"""Pooling: the maximum or mean of a window, of a whole image, or of a sequence."""

from __future__ import annotations

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.backward import gradient_uses
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.convolution import IMAGE, Kernel
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient


def max_pool(builder: GraphBuilder, name: str, x: str, kernel: Kernel) -> str:
    """Add the maximum of each window of ``x[b,c,height,width]``; backward finds it again."""
    return _pool(builder, name, x, kernel, keeps_input=True)


def average_pool(builder: GraphBuilder, name: str, x: str, kernel: Kernel) -> str:
    """Add the mean of each window of ``x[b,c,height,width]``; backward needs the gradient only."""
    return _pool(builder, name, x, kernel, keeps_input=False)


def _pool(builder: GraphBuilder, name: str, x: str, kernel: Kernel, keeps_input: bool) -> str:
    full, (batch, channels, rows, columns) = builder.named(name), builder.shape(x)
    sizes = {
        "b": batch,
        "c": channels,
        "h": kernel.output(0, rows),
        "w": kernel.output(1, columns),
        "i": kernel.taps[0],
        "j": kernel.taps[1],
    }
    y = Use(builder.tensor(f"{full}.out", axis_sizes(IMAGE, sizes)), IMAGE)
    read = Use(x, (("b",), ("c",), *kernel.axes(rows, columns)))
    upstream, into = gradient_uses(y, read)
    again = (Use(x, into.axes), Use(y.tensor, upstream.axes)) if keeps_input else ()
    forward, back = Map((read,), y), Map((upstream, *again), into)
    builder.add(
        Operator(
            full,
            "pooling",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (Step("input", "I", (back,), "elementwise"),),
        )
    )
    return y.tensor


def mean_over(
    builder: GraphBuilder, name: str, x: str, axes: tuple[Axis, ...], over: tuple[str, ...]
) -> str:
    """Add the mean of ``x`` over whole axes, each of one dimension, which the result lacks."""
    full = builder.named(name)
    sizes = {dim: n for (dim, *_), n in zip(axes, builder.shape(x), strict=True)}  # type: ignore[misc]
    kept = tuple(axis for axis in axes if axis not in [(dim,) for dim in over])
    y = Use(builder.tensor(f"{full}.out", axis_sizes(kept, sizes)), kept)
    forward = Map((Use(x, axes),), y)
    back = Map((Use(gradient(y.tensor), kept),), Use(gradient(x), axes))
    builder.add(
        Operator(
            full,
            "mean",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (Step("input", "I", (back,), "elementwise"),),
        )
    )
    return y.tensor
