"""AlexNet: the single-tower form of Krizhevsky 2014 (arXiv 1404.5997), as FlexFlow trains it.

Krizhevsky, Sutskever and Hinton 2012 cut it over two devices and drew more channels; this is
the form without groups that "one weird trick", torchvision and FlexFlow's example share.
"""

from __future__ import annotations

from flexsim.models.cnn import classified, conv_relu, images
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import max_pool, square

LAYERS = (
    (square(11, 4, 2), 64, True),
    (square(5, 1, 2), 192, True),
    (square(3, 1, 1), 384, False),
    (square(3, 1, 1), 256, False),
    (square(3, 1, 1), 256, True),
)
"""Kernel, output channels, and whether a pooling follows."""
HIDDEN = (4096, 4096)


def alexnet(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """AlexNet: five convolutions, three poolings, three linears.

    Dropout before the linears is taken as part of the kernels around it.
    """
    builder = GraphBuilder(config.name, precision)
    x = images(builder, config, sequences)
    for index, (kernel, channels, has_pool) in enumerate(LAYERS):
        x = conv_relu(builder, f"conv{index}", x, kernel, channels)
        if has_pool:
            x = max_pool(builder, f"pool{index}", x, square(3, 2))
    return classified(builder, config, x, HIDDEN)
