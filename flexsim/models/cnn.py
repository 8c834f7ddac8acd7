"""What convolutional networks share: images, blocks of layers, a classifier with its loss."""

from __future__ import annotations

from collections.abc import Sequence

from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    Filters,
    Kernel,
    LinearShape,
    batch_norm,
    convolution,
    cross_entropy,
    linear,
    mean_over,
    relu,
)

IMAGE = (("b",), ("c",), ("h",), ("w",))
LABEL_BYTES = 8
SIDES = ("m", "n")


def images(builder: GraphBuilder, config: ModelConfig, samples: int, channels: int = 3) -> str:
    """Declare the square images that a network is fed."""
    shape = (samples, channels, config.image, config.image)
    return builder.input("images", shape, builder.bytes_per_element)


def conv_relu(builder: GraphBuilder, name: str, x: str, kernel: Kernel, channels: int) -> str:
    """Add a convolution with a bias and a ReLU; what it reads is data if nothing writes it."""
    filters = Filters(channels, bias=True, constant_input=x == "images")
    x = convolution(builder, name, x, kernel, filters)
    return relu(builder, f"{name}_relu", x, IMAGE, dict(zip("bchw", builder.shape(x), strict=True)))


def conv_norm(
    builder: GraphBuilder, name: str, x: str, kernel: Kernel, channels: int, *, groups: int = 1
) -> str:
    """Add a convolution without bias and a batch norm, whose kernel may hold a ReLU."""
    filters = Filters(channels, groups, constant_input=x == "images")
    return batch_norm(builder, f"{name}_norm", convolution(builder, name, x, kernel, filters))


def pool_all(builder: GraphBuilder, name: str, x: str) -> str:
    """Add the mean over all pixels of ``x[b,c,h,w]``."""
    return mean_over(builder, name, x, IMAGE, ("h", "w"))


def classifier(builder: GraphBuilder, x: str, hidden: Sequence[int], classes: int) -> None:
    """Add linears from all features of ``x[b,…]`` to the classes, and the loss of a label."""
    samples, *features = builder.shape(x)
    inputs = ("c", "h", "w")[: len(features)]
    sizes = {"b": samples} | dict(zip(inputs, features, strict=True))
    for index, width in enumerate((*hidden, classes)):
        out = "v" if index == len(hidden) else SIDES[index % 2]
        shape = LinearShape(
            ("b",), tuple((d,) for d in inputs), {"": ((out,),)}, sizes | {out: width}
        )
        (x,) = linear(builder, f"linear{index}", x, shape)
        inputs, sizes = (out,), {"b": samples, out: width}
        if out != "v":
            x = relu(builder, f"linear{index}_relu", x, (("b",), (out,)), sizes)
    labels = builder.input("labels", (samples,), LABEL_BYTES)
    cross_entropy(builder, "loss", x, labels, sizes, axes=(("b",), ("v",)))


def classified(
    builder: GraphBuilder, config: ModelConfig, x: str, hidden: Sequence[int] = ()
) -> OperatorGraph:
    """Add the classifier and freeze the graph; a sample is one image."""
    classifier(builder, x, hidden, config.classes)
    return builder.build(builder.shape(x)[0], 1)
