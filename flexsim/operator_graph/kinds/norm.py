"""Norms: of layers (the normalized dimension stays whole on the operator) and of batches."""

from __future__ import annotations

from flexsim.operator_graph.axes import Axis
from flexsim.operator_graph.builder import GraphBuilder
from flexsim.operator_graph.kinds.linear import dims_of
from flexsim.operator_graph.records import Map, Operator, Step, Use, gradient

AXES = (("b",), ("s",), ("h",))
ROWS = (("b",), ("s",))


def layer_norm(builder: GraphBuilder, name: str, x: str, has_bias: bool = True) -> str:
    """Add a layer norm over the last axis of ``x[b,s,h]``; it keeps a mean and a deviation."""
    return _norm(builder, name, x, "layer-norm", has_bias)


def rms_norm(builder: GraphBuilder, name: str, x: str) -> str:
    """Add an RMS norm over the last axis of ``x[b,s,h]``; it keeps one statistic, no bias."""
    return _norm(builder, name, x, "rms-norm", has_bias=False)


def _norm(builder: GraphBuilder, name: str, x: str, kind: str, has_bias: bool) -> str:
    full, shape = builder.named(name), builder.shape(x)
    sizes = dict(zip("bsh", shape, strict=True))
    centred = kind == "layer-norm"
    y = builder.tensor(f"{full}.out", shape)
    statistic = Use(builder.tensor(f"{full}.statistic", shape[:2], 8 if centred else 4), ROWS)
    gain = Use(builder.weight(f"{full}.gain", shape[2:]), (("h",),))
    bias = (Use(builder.weight(f"{full}.bias", shape[2:]), (("h",),)),) if has_bias else ()
    forward = (
        Map((Use(x, AXES), gain), Use(y, AXES), addends=bias),
        Map((Use(x, AXES),), statistic),
    )
    dy = Use(gradient(y), AXES)
    reads = (dy, Use(x, AXES), statistic)
    into_x = Map((*reads, gain), Use(gradient(x), AXES))
    into_weights = tuple(
        Map(reads if use is gain else (dy,), Use(gradient(use.tensor), use.axes))
        for use in (gain, *bias)
    )
    builder.add(
        Operator(
            full,
            kind,
            dims_of(forward, sizes, whole=("h",)),
            (Step("forward", "F", forward, "norm", fusion=kind),),
            (
                Step("input", "I", (into_x,), "norm", fusion=kind),
                Step("weight", "W", into_weights, "norm", fusion=kind),
            ),
        )
    )
    return y


IMAGE: tuple[Axis, ...] = (("b",), ("c",), ("h",), ("w",))
CHANNELS: tuple[Axis, ...] = (("c",),)
POOLED = ("b", "h", "w")


def batch_norm(builder: GraphBuilder, name: str, x: str) -> str:
    """Add a batch norm of ``x[b,c,h,w]`` (Ioffe and Szegedy 2015), a ReLU in its kernel or not.

    A ReLU costs nothing: its sign follows from what the norm reads anyway.
    Every part normalizes by the mean and variance of its own samples and pixels, as data
    parallelism does unless the norm is synchronized. Running averages are not trained.
    """
    full, shape = builder.named(name), builder.shape(x)
    sizes = dict(zip("bchw", shape, strict=True))
    y = Use(builder.tensor(f"{full}.out", shape), IMAGE)
    read = Use(x, IMAGE)
    saved = builder.tensor(f"{full}.statistic", shape[1:2], 8)
    statistic = Use(saved, CHANNELS, local_over=POOLED)
    gain, bias = (
        Use(builder.weight(f"{full}.{n}", shape[1:2]), CHANNELS) for n in ("gain", "bias")
    )
    forward = (Map((read, gain), y, addends=(bias,)), Map((read,), statistic))
    reads = (Use(gradient(y.tensor), IMAGE), read, Use(saved, CHANNELS))
    into_x = Map((*reads, gain), Use(gradient(x), IMAGE))
    into_weights = tuple(Map(reads, Use(gradient(u.tensor), CHANNELS)) for u in (gain, bias))
    builder.add(
        Operator(
            full,
            "batch-norm",
            dims_of(forward, sizes),
            (Step("forward", "F", forward, "norm"),),
            (Step("input", "I", (into_x,), "norm"), Step("weight", "W", into_weights, "norm")),
        )
    )
    return y.tensor
