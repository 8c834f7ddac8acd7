"""Inception-v3: Szegedy et al. 2015 (arXiv 1512.00567), without the auxiliary classifier.

Modules are written as branches, each a chain of layers; channels as in the published model
(torchvision's ``inception_v3``, Keras' ``InceptionV3``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from flexsim.models.cnn import IMAGE, classified, conv_norm, images, pool_all
from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import Kernel, average_pool, concatenate, max_pool, square


class Layer(NamedTuple):
    """A convolution with ``channels`` outputs, or a mean or max pooling."""

    kernel: Kernel
    channels: int = 0
    pools_maximum: bool = False


Branch = tuple[Layer | tuple[Layer, ...], ...]
"""A chain of layers; a tuple of layers at its end reads one tensor side by side."""

_STRIDED = partial(square, 3, 2)
_ROW, _COLUMN = Kernel((1, 3), 1, (0, 1)), Kernel((3, 1), 1, (1, 0))
_LONG_ROW, _LONG_COLUMN = Kernel((1, 7), 1, (0, 3)), Kernel((7, 1), 1, (3, 0))
_MEAN = Layer(square(3, 1, 1))
_REDUCE = (Layer(_STRIDED(), pools_maximum=True),)

STEM = (
    Layer(_STRIDED(), 32),
    Layer(square(3), 32),
    Layer(square(3, 1, 1), 64),
    Layer(_STRIDED(), pools_maximum=True),
    Layer(square(1), 80),
    Layer(square(3), 192),
    Layer(_STRIDED(), pools_maximum=True),
)


def _ones(channels: int) -> Layer:
    return Layer(square(1), channels)


def _module_a(pooled: int) -> Sequence[Branch]:
    return (
        (_ones(64),),
        (_ones(48), Layer(square(5, 1, 2), 64)),
        (_ones(64), Layer(square(3, 1, 1), 96), Layer(square(3, 1, 1), 96)),
        (_MEAN, _ones(pooled)),
    )


_MODULE_B: Sequence[Branch] = (
    (Layer(_STRIDED(), 384),),
    (_ones(64), Layer(square(3, 1, 1), 96), Layer(_STRIDED(), 96)),
    _REDUCE,
)


def _module_c(c: int) -> Sequence[Branch]:
    row, column = partial(Layer, _LONG_ROW), partial(Layer, _LONG_COLUMN)
    return (
        (_ones(192),),
        (_ones(c), row(c), column(192)),
        (_ones(c), column(c), row(c), column(c), row(192)),
        (_MEAN, _ones(192)),
    )


_MODULE_D: Sequence[Branch] = (
    (_ones(192), Layer(_STRIDED(), 320)),
    (_ones(192), Layer(_LONG_ROW, 192), Layer(_LONG_COLUMN, 192), Layer(_STRIDED(), 192)),
    _REDUCE,
)
_SPLIT = (Layer(_ROW, 384), Layer(_COLUMN, 384))
_MODULE_E: Sequence[Branch] = (
    (_ones(320),),
    (_ones(384), _SPLIT),
    (_ones(448), Layer(square(3, 1, 1), 384), _SPLIT),
    (_MEAN, _ones(192)),
)
MODULES: Sequence[Sequence[Branch]] = (
    *(_module_a(pooled) for pooled in (32, 64, 64)),
    _MODULE_B,
    *(_module_c(channels) for channels in (128, 160, 160, 192)),
    _MODULE_D,
    *(_MODULE_E,) * 2,
)


def inception(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Inception-v3: a stem of convolutions, eleven modules of branches, one linear.

    Dropout before the linear is taken as part of the kernels around it.
    """
    builder = GraphBuilder(config.name, precision)
    x = images(builder, config, sequences)
    for index, layer in enumerate(STEM):
        x = _layer(builder, f"stem{index}", x, layer)
    for index, branches in enumerate(MODULES):
        with builder.block(f"module{index}"):
            found = [y for i, b in enumerate(branches) for y in _branch(builder, f"b{i}", x, b)]
            x = concatenate(builder, "join", found, IMAGE, "c")
    return classified(builder, config, pool_all(builder, "mean", x))


def _branch(builder: GraphBuilder, name: str, x: str, branch: Branch) -> list[str]:
    found = [x]
    for index, part in enumerate(branch):
        layers = (part,) if isinstance(part, Layer) else part
        names = [f"{name}.{index}"] if len(layers) == 1 else [f"{name}.{index}{s}" for s in "ab"]
        found = [_layer(builder, n, found[0], a) for n, a in zip(names, layers, strict=True)]
    return found


def _layer(builder: GraphBuilder, name: str, x: str, layer: Layer) -> str:
    if layer.channels:
        return conv_norm(builder, name, x, layer.kernel, layer.channels)
    pool = max_pool if layer.pools_maximum else average_pool
    return pool(builder, name, x, layer.kernel)
