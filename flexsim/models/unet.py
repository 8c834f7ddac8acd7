"""U-Net: Ronneberger, Fischer and Brox 2015 (arXiv 1505.04597), Figure 1."""

from __future__ import annotations

from flexsim.errors import ModelError
from flexsim.models.cnn import IMAGE, LABEL_BYTES, conv_relu, images
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    Filters,
    Kernel,
    average_pool,
    concatenate,
    convolution,
    cross_entropy,
    max_pool,
    square,
    up_convolution,
)

DEPTH = 4
LOGITS = (("b",), ("v",), ("h",), ("w",))


def unet(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """U-Net: a path down and a path up with cropped copies across, unpadded, on grey images.

    ``hidden`` is the number of channels at the top; every pixel of the result has a class.
    """
    builder = GraphBuilder(config.name, precision)
    x, skips = images(builder, config, sequences, channels=1), []
    for level in range(DEPTH + 1):
        with builder.block(f"down{level}"):
            x = _halved(builder, x, config) if level else x
            x = _pair(builder, x, config.hidden << level)
        skips.append(x)
    for level in reversed(range(DEPTH)):
        with builder.block(f"up{level}"):
            x = up_convolution(builder, "up", x, 2, config.hidden << level)
            x = _joined(builder, x, skips[level])
            x = _pair(builder, x, config.hidden << level)
    _loss(builder, config, x)
    return builder.build(sequences, 1)


def _pair(builder: GraphBuilder, x: str, channels: int) -> str:
    for index in range(2):
        x = conv_relu(builder, f"conv{index}", x, square(3), channels)
    return x


def _halved(builder: GraphBuilder, x: str, config: ModelConfig) -> str:
    side = builder.shape(x)[2]
    if side % 2:
        raise ModelError(
            f"{config.name}: model.image = {config.image} leaves {side} pixels a side before a"
            " 2 x 2 pooling; choose 12 more than a multiple of 16, as 572"
        )
    return max_pool(builder, "pool", x, square(2, 2))


def _joined(builder: GraphBuilder, x: str, skip: str) -> str:
    """Add the copy across, cropped to the middle, beside ``x``."""
    border = (builder.shape(skip)[2] - builder.shape(x)[2]) // 2
    cropped = average_pool(builder, "crop", skip, Kernel((1, 1), 1, (-border, -border)))
    return concatenate(builder, "join", (cropped, x), IMAGE, "c")


def _loss(builder: GraphBuilder, config: ModelConfig, x: str) -> None:
    logits = convolution(builder, "classes", x, square(1), Filters(config.classes, bias=True))
    samples, _, rows, columns = builder.shape(logits)
    sizes = {"b": samples, "v": config.classes, "h": rows, "w": columns}
    labels = builder.input("labels", (samples, rows, columns), LABEL_BYTES)
    cross_entropy(builder, "loss", logits, labels, sizes, axes=LOGITS)
