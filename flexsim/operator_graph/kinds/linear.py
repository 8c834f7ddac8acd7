"""Linear layers: one or several products of one input, issued as one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flexsim.operator_graph.axes import Axis, axis_size
from flexsim.operator_graph.backward import derive_backward
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.records import Dim, Map, Operator, Step, Use


@dataclass(frozen=True)
class LinearShape:
    """Axes of a linear layer: ``lead`` pass through, ``inputs`` are summed over.

    ``outputs`` maps a suffix to the output axes of that product ("" for a single one);
    ``sizes`` gives every dimension. ``tied_weight`` names a weight stored output-major
    (a vocabulary table); by default each product has a weight of its own, input-major.
    ``constant_input`` tells that the input is data, into which no gradient flows. ``weights``
    is the prefix of the weights' names, the operator's unless several operators share them.
    Those of ``lead`` that ``stack`` names index the weights too: a product for each (experts).
    """

    lead: tuple[str, ...]
    inputs: tuple[Axis, ...]
    outputs: Mapping[str, tuple[Axis, ...]]
    sizes: Mapping[str, int]
    bias: bool = True
    tied_weight: str = ""
    constant_input: bool = False
    weights: str = ""
    stack: tuple[str, ...] = ()


def linear(
    builder: GraphBuilder, name: str, x: str, shape: LinearShape, group: str = ""
) -> tuple[str, ...]:
    """Add ``y = x w (+ bias)`` for every output of ``shape`` and return the outputs.

    Forward 2·prod(sizes) FLOPs a product; the products of one input form one kernel.
    """
    full = builder.named(name)
    maps = tuple(_product(builder, full, x, shape, suffix) for suffix in shape.outputs)
    forward = Step("forward", "F", maps, "matmul", merge="n")
    weights = [use.tensor for m in maps for use in (m.reads[1], *m.addends)]
    constants = (x,) if shape.constant_input else ()
    builder.add(
        Operator(
            full,
            "linear",
            dims_of(maps, shape.sizes),
            (forward,),
            derive_backward(forward, weights, constants),
            group=group,
        )
    )
    return tuple(m.write.tensor for m in maps)


def dims_of(
    maps: Sequence[Map], sizes: Mapping[str, int], whole: Sequence[str] = ()
) -> tuple[Dim, ...]:
    """Return the dimensions that ``maps`` run over; those in ``whole`` may not be split.

    Taps of windows are whole too, and the positions of a window follow its dimension.
    """
    names = dict.fromkeys(dim for m in maps for dim in m.dims)
    windows = list(dict.fromkeys(w for m in maps for use in m.uses for w in use.windows))
    kept = {*whole, *(window.tap for window in windows)}
    positions = {w.positions: Dim(w.positions, w.size, 1, w.dim) for w in windows}
    plain = (Dim(d, sizes[d], 1 if d in kept else None) for d in names if d not in positions)
    return (*plain, *positions.values())


def axis_sizes(axes: Sequence[Axis], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the size of every axis."""
    return tuple(axis_size(axis, sizes) for axis in axes)


def _product(builder: GraphBuilder, full: str, x: str, shape: LinearShape, suffix: str) -> Map:
    out_axes, sizes = shape.outputs[suffix], shape.sizes
    lead = tuple((d,) for d in shape.lead)
    dotted = f".{suffix}" if suffix else ""
    y_axes = lead + out_axes
    y = builder.tensor(f"{full}{dotted}.out", axis_sizes(y_axes, sizes))
    prefix = f"{shape.weights or full}{dotted}"
    weight = _weight_use(builder, f"{prefix}.weight", shape, out_axes)
    addends: tuple[Use, ...] = ()
    if shape.bias:
        bias_axes = _stack(shape) + out_axes
        bias = builder.weight(f"{prefix}.bias", axis_sizes(bias_axes, sizes))
        addends = (Use(bias, bias_axes),)
    return Map((Use(x, lead + shape.inputs), weight), Use(y, y_axes), 2, addends)


def _weight_use(
    builder: GraphBuilder, name: str, shape: LinearShape, out_axes: tuple[Axis, ...]
) -> Use:
    axes = out_axes + shape.inputs if shape.tied_weight else shape.inputs + out_axes
    axes = _stack(shape) + axes
    weight = builder.weight(shape.tied_weight or name, axis_sizes(axes, shape.sizes))
    return Use(weight, axes)


def _stack(shape: LinearShape) -> tuple[Axis, ...]:
    return tuple((dim,) for dim in shape.stack)
