"""LeNet-5: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning …", Figure 2.

As it is built today: every map of C3 sees all maps of S2, subsampling is a plain mean, and the
output layer is a linear with a softmax instead of radial basis functions.
"""

from __future__ import annotations

from flexsim.models.cnn import classified, conv_relu, images
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import average_pool, square

CHANNELS = (6, 16)
HIDDEN = (120, 84)


def lenet(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """LeNet-5: two convolutions of 5 x 5 with pooling, three linears, on grey images."""
    builder = GraphBuilder(config.name, precision)
    x = images(builder, config, sequences, channels=1)
    for index, channels in enumerate(CHANNELS):
        x = conv_relu(builder, f"conv{index}", x, square(5), channels)
        x = average_pool(builder, f"pool{index}", x, square(2, 2))
    return classified(builder, config, x, HIDDEN)
