"""Splits: a tensor cut in pieces along one axis, the reverse of a concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flexsim.errors import ModelError
from flexsim.operator_graph.axes import Axis, Window
from flexsim.operator_graph.backward import gradient_uses
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import axis_sizes, dims_of
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use


def split(
    builder: GraphBuilder,
    name: str,
    x: str,
    axes: tuple[Axis, ...],
    along: str,
    lengths: Sequence[int],
) -> tuple[str, ...]:
    """Add the pieces of ``x`` of these ``lengths`` ``along`` one dimension of ``axes``.

    Pieces are cut alike over devices, as often as the shortest allows.
    """
    full, shape = builder.named(name), builder.shape(x)
    position = axes.index((along,))
    if sum(lengths) != shape[position] or min(lengths) < 1:
        raise ModelError(
            f"{full}: pieces of {list(lengths)} do not make up the {shape[position]} elements of "
            f"{x!r} along {along!r}"
        )
    sizes = {dim: n for (dim,), n in zip(axes, shape, strict=True)}  # type: ignore[misc]
    sizes |= {f"{along}{k}": length for k, length in enumerate(lengths)}
    maps = []
    for k, window in enumerate(_windows(along, lengths)):
        read = (*axes[:position], window, *axes[position + 1 :])
        write = (*axes[:position], (window.dim,), *axes[position + 1 :])
        y = builder.tensor(f"{full}.out{k}", axis_sizes(write, sizes))
        maps.append(Map((Use(x, read),), Use(y, write)))
    back = [gradient_uses(m.write, m.reads[0]) for m in maps]
    into = tuple(Map((upstream,), written) for upstream, written in back)
    builder.add(
        Operator(
            full,
            "split",
            tuple(_following(dim, along, lengths) for dim in dims_of(maps, sizes)),
            (Step("forward", "F", tuple(maps), "elementwise"),),
            (Step("input", "I", into, "elementwise"),),
        )
    )
    return tuple(m.write.tensor for m in maps)


def _windows(along: str, lengths: Sequence[int]) -> list[Window]:
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    return [
        Window(f"{along}{k}", length, along, sum(lengths), offset=start)
        for k, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]


def _following(dim: Dim, along: str, lengths: Sequence[int]) -> Dim:
    """Return a dimension, cut as the first piece is if it runs along the axis that is split."""
    if dim.name == f"{along}0":
        return replace(dim, max_degree=min(lengths))
    of_axis = [along, *(f"{along}{k}" for k in range(1, len(lengths)))]
    return Dim(dim.name, dim.size, 1, f"{along}0") if dim.name in of_axis else dim
