"""A plain stack of linear layers, the smallest model that can be split in every way."""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, gelu, linear, mean_loss

WIDTHS = ("h", "f")


def mlp(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Multi-layer perceptron: linear and GELU by turns, widths hidden, ffn, hidden, ffn ….

    A sample is one row; the last layer has no GELU and a mean-squared loss follows it.
    """
    builder = GraphBuilder(config.name, precision)
    sizes = {"b": sequences, "h": config.hidden, "f": config.ffn}
    x = builder.input("samples", (sequences, config.hidden), builder.bytes_per_element)
    for index in range(config.layers):
        with builder.block(f"layer{index}"):
            x = _layer(builder, x, index, config.layers - 1, sizes)
    mean_loss(builder, "loss", x, sizes, (("b",), (WIDTHS[config.layers % 2],)))
    return builder.build(sequences, 1)


def _layer(builder: GraphBuilder, x: str, index: int, last: int, sizes: dict[str, int]) -> str:
    width, next_width = WIDTHS[index % 2], WIDTHS[(index + 1) % 2]
    outputs = {"": ((next_width,),)}
    shape = LinearShape(("b",), ((width,),), outputs, sizes, constant_input=index == 0)
    (x,) = linear(builder, "linear", x, shape)
    return x if index == last else gelu(builder, "gelu", x, (("b",), (next_width,)), sizes)
