"""VGG: Simonyan and Zisserman 2014 (arXiv 1409.1556), Table 1, configurations D and E."""

from __future__ import annotations

from flexsim.errors import ModelError
from flexsim.models.cnn import classified, conv_relu, images
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import max_pool, square

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of every block, by number of layers; three linears count too."""
HIDDEN = (4096, 4096)


def vgg(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """VGG: five blocks of 3 x 3 convolutions, each with a pooling, and three linears.

    ``layers`` is 11, 13, 16 or 19. Dropout is taken as part of the kernels around it.
    """
    if config.layers not in CONVOLUTIONS:
        choices = ", ".join(map(str, CONVOLUTIONS))
        raise ModelError(f"{config.name}: model.layers = {config.layers}: choose from {choices}")
    builder = GraphBuilder(config.name, precision)
    x = images(builder, config, sequences)
    for index, count in enumerate(CONVOLUTIONS[config.layers]):
        with builder.block(f"block{index}"):
            for layer in range(count):
                x = conv_relu(builder, f"conv{layer}", x, square(3, 1, 1), CHANNELS[index])
            x = max_pool(builder, "pool", x, square(2, 2))
    return classified(builder, config, x, HIDDEN)
