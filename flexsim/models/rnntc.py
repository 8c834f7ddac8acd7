"""RNNTC: text classification by a recurrent network, as in FlexFlow (Jia et al. 2019, Table 3).

Four recurrent layers unrolled 40 steps, then a softmax; the data are movie reviews, so that a
text is sorted into two classes unless told otherwise.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.recurrent import TOKEN_BYTES, Unrolled
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, cross_entropy, linear


def rnntc(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Recurrent text classifier: embedding, LSTM layers, a softmax on the last hidden state."""
    net = Unrolled(GraphBuilder(config.name, precision), config, sequences)
    xs = net.words("word_embedding")
    for index in range(config.layers):
        xs, _ = net.layer(f"layer{index}", xs, hands_on=False)
    sizes = net.sizes | {"v": config.classes}
    shape = LinearShape(("b", "s"), (("h",),), {"": (("v",),)}, sizes)
    (logits,) = linear(net.builder, "softmax", xs[-1], shape)
    labels = net.builder.input("labels", (sequences, 1), TOKEN_BYTES)
    cross_entropy(net.builder, "loss", logits, labels, sizes)
    return net.builder.build(sequences, config.sequence)
