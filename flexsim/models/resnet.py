"""ResNet and ResNeXt with bottlenecks.

Sources: He et al. 2015 (arXiv 1512.03385), Table 1; Xie et al. 2016 (arXiv 1611.05431), Table 1,
for ResNeXt 32 x 4d. The stride is that of the 3 x 3 convolution, as torchvision has it.
"""

from __future__ import annotations

from flexsim.errors import ModelError
from flexsim.models.cnn import IMAGE, classified, conv_norm, images, pool_all
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import add, max_pool, relu, square

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Bottlenecks of every stage, by number of layers."""
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4
RESNEXT_GROUPS = 32
RESNEXT_GROUP_WIDTH = 4


def resnet(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Residual network of bottlenecks; ``layers`` is 50, 101 or 152."""
    return _residual(config, sequences, precision, groups=1)


def resnext(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Residual network whose 3 x 3 convolutions have 32 groups of 4 channels and up."""
    return _residual(config, sequences, precision, groups=RESNEXT_GROUPS)


def _residual(config: ModelConfig, samples: int, precision: str, groups: int) -> OperatorGraph:
    if config.layers not in BLOCKS:
        choices = ", ".join(map(str, BLOCKS))
        raise ModelError(f"{config.name}: model.layers = {config.layers}: choose from {choices}")
    builder = GraphBuilder(config.name, precision)
    x = images(builder, config, samples)
    x = conv_norm(builder, "conv", x, square(7, 2, 3), WIDTHS[0])
    x = max_pool(builder, "pool", x, square(3, 2, 1))
    for stage, (count, width) in enumerate(zip(BLOCKS[config.layers], WIDTHS, strict=True)):
        for block in range(count):
            stride = 2 if stage and not block else 1
            with builder.block(f"stage{stage}.block{block}"):
                x = _bottleneck(builder, x, width, stride, groups)
    return classified(builder, config, pool_all(builder, "mean", x))


def _bottleneck(builder: GraphBuilder, x: str, width: int, stride: int, groups: int) -> str:
    inner = width if groups == 1 else groups * RESNEXT_GROUP_WIDTH * width // WIDTHS[0]
    outer = EXPANSION * width
    y = conv_norm(builder, "reduce", x, square(1), inner)
    y = conv_norm(builder, "middle", y, square(3, stride, 1), inner, groups=groups)
    y = conv_norm(builder, "expand", y, square(1), outer)
    if builder.shape(x) != builder.shape(y):
        x = conv_norm(builder, "shortcut", x, square(1, stride), outer)
    sizes = dict(zip("bchw", builder.shape(y), strict=True))
    return relu(builder, "relu", add(builder, "add", (y, x), IMAGE, sizes), IMAGE, sizes)
