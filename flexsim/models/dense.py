"""What networks of fully connected layers share: a tower of products, each with a ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from flexsim.operator_graph import GraphBuilder
from flexsim.operator_graph.kinds import LinearShape, concatenate, linear, relu

WIDTHS = ("h", "f")
FEATURES = (("b",), ("h",))


def tower(
    builder: GraphBuilder, name: str, x: str, widths: Sequence[int], *, is_data: bool = False
) -> str:
    """Add a product without bias and a ReLU for every width, and return the last result.

    ``is_data`` tells that ``x[b,…]`` is data. Widths alternate between dimensions h and f.
    """
    for index, width in enumerate(widths):
        batch, inputs = builder.shape(x)
        here, there = WIDTHS[index % 2], WIDTHS[(index + 1) % 2]
        sizes = {"b": batch, here: inputs, there: width}
        shape = LinearShape(
            ("b",),
            ((here,),),
            {"": ((there,),)},
            sizes,
            bias=False,
            constant_input=is_data and index == 0,
        )
        (x,) = linear(builder, f"{name}{index}", x, shape)
        x = relu(builder, f"{name}{index}_relu", x, (("b",), (there,)), sizes)
    return x


def join(builder: GraphBuilder, name: str, xs: Sequence[str], data: Sequence[str] = ()) -> str:
    """Add the features of ``xs[b,h]`` side by side; ``data`` names those that are data."""
    return concatenate(builder, name, xs, FEATURES, "h", constants=data)
