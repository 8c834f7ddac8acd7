"""Element-wise operators: activation functions, dropout and residual adds."""

from __future__ import annotations

from collections.abc import Sequence

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

Axes = tuple[Axis, ...]


def unary(
    builder: GraphBuilder, name: str, x: str, axes: Axes, sizes: dict[str, int], fusion: str = ""
) -> str:
    """Add a function of each element whose backward reads its input."""
    full = builder.named(name)
    y = builder.tensor(f"{full}.out", builder.shape(x))
    forward = Map((Use(x, axes),), Use(y, axes))
    back = Map((Use(gradient(y), axes), Use(x, axes)), Use(gradient(x), axes))
    builder.add(
        Operator(
            full,
            "elementwise",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise", fusion=fusion),),
            (Step("input", "I", (back,), "elementwise", fusion=fusion),),
        )
    )
    return y


def gelu(builder: GraphBuilder, name: str, x: str, axes: Axes, sizes: dict[str, int]) -> str:
    """Add a GELU; where the software fuses it, the bias of the linear before it comes along."""
    return unary(builder, name, x, axes, sizes, fusion="bias-gelu")


def relu(builder: GraphBuilder, name: str, x: str, axes: Axes, sizes: dict[str, int]) -> str:
    """Add a function of each element whose backward reads its result (ReLU, tanh, sigmoid)."""
    full = builder.named(name)
    y = Use(builder.tensor(f"{full}.out", builder.shape(x)), axes)
    forward = Map((Use(x, axes),), y)
    back = Map((Use(gradient(y.tensor), axes), y), Use(gradient(x), axes))
    builder.add(
        Operator(
            full,
            "elementwise",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (Step("input", "I", (back,), "elementwise"),),
        )
    )
    return y.tensor


def swiglu(
    builder: GraphBuilder,
    name: str,
    inputs: tuple[str, ...],
    axes: Axes,
    sizes: dict[str, int],
) -> str:
    """Add ``silu(gate) * up`` for a pair of tensors of equal shape.

    A third of ``inputs``, which lacks the last axis, weighs the rows of the result.
    """
    full = builder.named(name)
    y = builder.tensor(f"{full}.out", builder.shape(inputs[0]))
    all_axes = (axes, axes, axes[:-1])
    reads = tuple(Use(x, own) for x, own in zip(inputs, all_axes, strict=False))
    forward = Map(reads, Use(y, axes))
    back = tuple(
        Map((Use(gradient(y), axes), *reads), Use(gradient(use.tensor), use.axes)) for use in reads
    )
    builder.add(
        Operator(
            full,
            "elementwise",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise", fusion="swiglu"),),
            (Step("input", "I", back, "elementwise", fusion="swiglu"),),
        )
    )
    return y


def rotary(
    builder: GraphBuilder,
    name: str,
    pair: tuple[str, str],
    axes: tuple[Axes, Axes],
    sizes: dict[str, int],
) -> tuple[str, str]:
    """Add rotary positions to queries and keys in one kernel, the head size (d) whole.

    The backward is the opposite rotation: it reads gradients only, so nothing is saved.
    """
    full = builder.named(name)
    reads = tuple(Use(x, each) for x, each in zip(pair, axes, strict=True))
    names = tuple(
        builder.tensor(f"{full}.{n}.out", builder.shape(x)) for n, x in zip("qk", pair, strict=True)
    )
    writes = tuple(Use(y, each) for y, each in zip(names, axes, strict=True))
    forward = tuple(Map((x,), y) for x, y in zip(reads, writes, strict=True))
    back = tuple(
        Map((Use(gradient(y.tensor), y.axes),), Use(gradient(x.tensor), x.axes))
        for x, y in zip(reads, writes, strict=True)
    )
    builder.add(
        Operator(
            full,
            "rotary",
            dims_of(forward, sizes, whole=("d",)),
            (Step("forward", "F", forward, "elementwise"),),
            (Step("input", "I", back, "elementwise"),),
        )
    )
    return names[0], names[1]


def add(
    builder: GraphBuilder,
    name: str,
    xs: Sequence[str],
    axes: Axes,
    sizes: dict[str, int],
    group: str = "",
) -> str:
    """Add the sum of tensors; partial sums stay partial, and the backward costs nothing."""
    full = builder.named(name)
    y = builder.tensor(f"{full}.out", builder.shape(xs[0]))
    forward = Map((), Use(y, axes), addends=tuple(Use(x, axes) for x in xs))
    step = Step("forward", "F", (forward,), "elementwise", accepts_partial=True)
    backward = tuple(_alias(y, x, axes) for x in xs)
    dims = dims_of((forward,), sizes)
    builder.add(Operator(full, "elementwise", dims, (step,), backward, group=group))
    return y


def dropout(
    builder: GraphBuilder, name: str, x: str, axes: Axes, sizes: dict[str, int], group: str = ""
) -> str:
    """Add a dropout; its mask is saved at one byte an element."""
    return _dropout(builder, name, (x,), axes, sizes, group)


def dropout_add(
    builder: GraphBuilder, name: str, xs: tuple[str, str], axes: Axes, sizes: dict[str, int]
) -> str:
    """Add ``dropout(x) + residual``, one kernel where the software fuses it with the bias."""
    return _dropout(builder, name, xs, axes, sizes, "")


def _dropout(
    builder: GraphBuilder,
    name: str,
    xs: tuple[str, ...],
    axes: Axes,
    sizes: dict[str, int],
    group: str,
) -> str:
    full = builder.named(name)
    y = builder.tensor(f"{full}.out", builder.shape(xs[0]))
    mask = Use(builder.tensor(f"{full}.mask", builder.shape(xs[0]), 1), axes)
    addends = tuple(Use(x, axes) for x in xs[1:])
    forward = (Map((Use(xs[0], axes),), Use(y, axes), addends=addends), Map((), mask))
    back = Map((Use(gradient(y), axes), mask), Use(gradient(xs[0]), axes))
    fusion = "bias-dropout-add" if addends else ""
    builder.add(
        Operator(
            full,
            "dropout",
            dims_of(forward, sizes),
            (Step("forward", "F", forward, "dropout", fusion=fusion),),
            (
                Step("input", "I", (back,), "dropout"),
                *(_alias(y, use.tensor, axes) for use in addends),
            ),
            group=group,
        )
    )
    return y


def _alias(y: str, x: str, axes: Axes) -> Step:
    same = Map((Use(gradient(y), axes),), Use(gradient(x), axes))
    return Step(f"input {x}", "I", (same,), "alias")
