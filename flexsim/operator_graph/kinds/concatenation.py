"""Concatenation: each input is a window of one element, shifted to its place in the result."""

from __future__ import annotations

from collections.abc import Sequence

from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.backward import gradient_uses
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

HIDDEN: tuple[Axis, ...] = (("b",), ("s",), ("h",))


def concatenate(
    builder: GraphBuilder,
    name: str,
    xs: Sequence[str],
    axes: tuple[Axis, ...],
    along: str,
    constants: Sequence[str] = (),
) -> str:
    """Add ``xs`` joined end to end ``along`` one dimension of ``axes``, each of one dimension.

    ``constants`` are inputs into which no gradient flows. A part reads only what lies in its
    share of the result, which may be nothing.
    """
    full, position = builder.named(name), axes.index((along,))
    lengths = [builder.shape(x)[position] for x in xs]
    shape = list(builder.shape(xs[0]))
    shape[position] = sum(lengths)
    y = Use(builder.tensor(f"{full}.out", tuple(shape)), axes)
    reads = [
        Use(x, (*axes[:position], window, *axes[position + 1 :]))
        for x, window in zip(xs, _windows(along, lengths), strict=True)
    ]
    forward = Map((), y, addends=tuple(reads))
    uses = [gradient_uses(y, read) for read in reads if read.tensor not in constants]
    back = tuple(Map((upstream,), into) for upstream, into in uses)
    sizes = {dim: n for (dim,), n in zip(axes, shape, strict=True)}  # type: ignore[misc]
    builder.add(
        Operator(
            full,
            "concatenation",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (Step("input", "I", back, "elementwise"),) if back else (),
        )
    )
    return y.tensor


def _windows(along: str, lengths: Sequence[int]) -> list[Window]:
    total = sum(lengths)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return [
        Window(along, total, f"{along}{i}", length, offset=-start)
        for i, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]


def prepend(builder: GraphBuilder, name: str, x: str, token: str) -> str:
    """Add a trained vector ``token[h]`` as the first position of ``x[b,s,h]``.

    Every part of the positions has the vector at hand, as it has a bias.
    """
    full, (batch, positions, width) = builder.named(name), builder.shape(x)
    sizes = {"b": batch, "s": positions + 1, "h": width}
    y = Use(builder.tensor(f"{full}.out", tuple(sizes.values())), HIDDEN)
    window = Window("s", positions + 1, "s0", positions, offset=-1)
    read, first = Use(x, (("b",), window, ("h",))), Use(token, (("h",),))
    builder.weight(token, (width,))
    forward = Map((), y, addends=(read, first))
    upstream, into = gradient_uses(y, read)
    back = Map((Use(gradient(y.tensor), HIDDEN, dense=False),), Use(gradient(token), first.axes))
    builder.add(
        Operator(
            full,
            "concatenation",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (
                Step("input", "I", (Map((upstream,), into),), "elementwise"),
                Step("weight", "W", (back,), "elementwise"),
            ),
        )
    )
    return y.tensor


def first_position(builder: GraphBuilder, name: str, x: str) -> str:
    """Add the first position of ``x[b,s,h]``; where positions are cut, all get it by a sum."""
    full, (batch, positions, width) = builder.named(name), builder.shape(x)
    sizes = {"b": batch, "s": positions, "h": width}
    y = Use(builder.tensor(f"{full}.out", (batch, width)), (("b",), ("h",)))
    forward = Map((Use(x, HIDDEN, dense=False),), y)
    back = Map((Use(gradient(y.tensor), y.axes),), Use(gradient(x), HIDDEN))
    builder.add(
        Operator(
            full,
            "selection",
            dims_of((forward,), sizes),
            (Step("forward", "F", (forward,), "elementwise"),),
            (Step("input", "I", (back,), "elementwise"),),
        )
    )
    return y.tensor
