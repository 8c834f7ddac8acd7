"""Small graphs in which exactly one rule applies once, and one site of it."""

from __future__ import annotations

from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    Filters,
    LinearShape,
    add,
    batch_norm,
    concatenate,
    convolution,
    gelu,
    joint_linear,
    linear,
    relu,
    split,
    square,
    up_convolution,
)
from flexsim.operator_graph.transformations import forward_only

HIDDEN = (("b",), ("s",), ("h",))
WIDE = (("b",), ("s",), ("f",))
IMAGE = (("b",), ("c",), ("h",), ("w",))
SIZES = {"b": 2, "s": 3, "h": 4, "f": 5, "g": 2, "r": 3, "d": 2, "v": 7}


def started(channels: int = 3, side: int = 0) -> tuple[GraphBuilder, str]:
    """Return a builder and its input: hidden states, or images with a side."""
    builder = GraphBuilder("test", "fp32")
    shape = (2, channels, side, side) if side else (SIZES["b"], SIZES["s"], SIZES["h"])
    return builder, builder.input("x", shape, 4)


def project(
    builder: GraphBuilder, name: str, x: str, *out: str, bias: bool = True, **sizes: int
) -> str:
    axes = tuple((dim,) for dim in out)
    shape = LinearShape(("b", "s"), (("h",),), {"": axes}, SIZES | sizes, bias)
    return linear(builder, name, x, shape)[0]


def built(builder: GraphBuilder) -> OperatorGraph:
    return builder.build(2, 3)


def linear_gelu() -> OperatorGraph:
    builder, x = started()
    y = gelu(builder, "gelu", project(builder, "fc1", x, "f"), WIDE, SIZES)
    shape = LinearShape(("b", "s"), (("f",),), {"": (("h",),)}, SIZES)
    linear(builder, "fc2", y, shape)
    return built(builder)


def linear_relu() -> OperatorGraph:
    builder, x = started()
    relu(builder, "relu", project(builder, "fc1", x, "f", bias=False), WIDE, SIZES)
    return built(builder)


def joint_linear_relu() -> OperatorGraph:
    builder, x = started()
    y = joint_linear(builder, "op", (x, builder.input("z", (2, 3, 6), 4)), 5, "w")
    relu(builder, "tanh", y, WIDE, SIZES)
    return built(builder)


def convolution_relu() -> OperatorGraph:
    builder, x = started(side=7)
    y = convolution(builder, "conv", x, square(3, 2, 1), Filters(4, bias=True))
    relu(builder, "relu", y, IMAGE, dict(zip("bchw", builder.shape(y), strict=True)))
    return built(builder)


def query_key_value() -> OperatorGraph:
    builder, x = started()
    for name in "qkv":
        project(builder, name, x, "g", "d")
    return built(builder)


def grouped_queries() -> OperatorGraph:
    """Queries of six heads and keys of two, in dimensions of one name."""
    builder, x = started()
    project(builder, "q", x, "g", "d", g=6)
    project(builder, "k", x, "g", "d")
    return built(builder)


def unequal_linears() -> OperatorGraph:
    """Three widths under two names, the input also read by an add."""
    builder, x = started()
    ys = [project(builder, "up", x, "f"), project(builder, "gate", x, "f", f=6)]
    project(builder, "other", x, "v", bias=False)
    add(builder, "sum", [x, project(builder, "back", ys[0], "f", h=5, f=4)], HIDDEN, SIZES)
    return built(builder)


def module_branches() -> OperatorGraph:
    """Branches of an Inception module: convolutions of one image."""
    builder, image = started(side=5)
    x = convolution(builder, "stem", image, square(3, 1, 1), Filters(4))
    ys = [
        convolution(builder, f"branch{i}", x, square(3, 1, 1), Filters(channels))
        for i, channels in enumerate((4, 2, 4))
    ]
    concatenate(builder, "joined", ys, IMAGE, "c")
    return built(builder)


def split_concat() -> OperatorGraph:
    builder, x = started()
    y = project(builder, "before", x, "f", bias=False)
    pieces = split(builder, "split", y, WIDE, "f", [1, 3, 1])
    joined = concatenate(builder, "joined", pieces, WIDE, "f")
    project(builder, "after", joined, "f", h=5, f=4)
    return built(builder)


def concat_split() -> OperatorGraph:
    builder, x = started()
    ys = [project(builder, name, x, "g", bias=False, g=n) for name, n in (("one", 2), ("two", 3))]
    axes = (("b",), ("s",), ("f",))
    pieces = split(
        builder, "split", concatenate(builder, "joined", ys, axes, "f"), axes, "f", [2, 3]
    )
    for name, piece, width in zip("yz", pieces, (2, 3), strict=True):
        project(builder, name, piece, "v", h=width)
    return built(builder)


def concat_linear() -> OperatorGraph:
    builder, x = started()
    y = project(builder, "before", x, "f", bias=False)
    z = builder.input("z", (2, 3, 2), 4)
    joined = concatenate(builder, "joined", [y, z, x], HIDDEN, "h", constants=[z])
    project(builder, "after", joined, "f", h=5 + 2 + 4, f=3)
    return built(builder)


def concat_convolution() -> OperatorGraph:
    builder, x = started(side=5)
    ys = [convolution(builder, name, x, square(1), Filters(2)) for name in ("one", "two")]
    ys.append(relu(builder, "relu", x, IMAGE, dict(zip("bchw", (2, 3, 5, 5), strict=True))))
    joined = concatenate(builder, "joined", ys, IMAGE, "c")
    convolution(builder, "after", joined, square(3, 2, 1), Filters(3, bias=True))
    return built(builder)


def concat_up_convolution() -> OperatorGraph:
    builder, x = started(side=3)
    joined = concatenate(builder, "joined", [x, builder.input("z", (2, 1, 3, 3), 4)], IMAGE, "c")
    up_convolution(builder, "after", joined, 2, 3)
    return built(builder)


def parallel_up_convolutions() -> OperatorGraph:
    builder, x = started(side=3)
    for name, channels in (("one", 3), ("two", 2)):
        up_convolution(builder, name, x, 2, channels)
    return built(builder)


def convolution_norm() -> OperatorGraph:
    builder, x = started(side=6)
    y = convolution(builder, "conv", x, square(3, 1, 1), Filters(4, bias=True))
    batch_norm(builder, "norm", y)
    return forward_only(built(builder))


CASES = {
    "linear-gelu": ("fuse-bias-activation", linear_gelu),
    "linear-relu": ("fuse-bias-activation", linear_relu),
    "joint-linear-relu": ("fuse-bias-activation", joint_linear_relu),
    "convolution-relu": ("fuse-bias-activation", convolution_relu),
    "query-key-value": ("merge-parallel-linears", query_key_value),
    "grouped-queries": ("merge-parallel-linears", grouped_queries),
    "unequal-linears": ("merge-parallel-linears", unequal_linears),
    "module-branches": ("merge-parallel-linears", module_branches),
    "split-concat": ("eliminate-split-concat", split_concat),
    "concat-split": ("eliminate-concat-split", concat_split),
    "concat-linear": ("absorb-concatenation", concat_linear),
    "concat-convolution": ("absorb-concatenation", concat_convolution),
    "concat-up-convolution": ("absorb-concatenation", concat_up_convolution),
    "parallel-up-convolutions": ("merge-parallel-linears", parallel_up_convolutions),
    "convolution-norm": ("fold-conv-batch-norm", convolution_norm),
}
"""The rule that applies once, and the graph, by the name of the case."""
