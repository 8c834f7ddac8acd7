"""RNNLM: the recurrent language model of Zaremba, Sutskever and Vinyals 2014 (arXiv 1409.2329).

Jia, Zaharia and Aiken 2019 (FlexFlow, MLSys) use it with two layers unrolled 40 steps.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.recurrent import Unrolled
from flexsim.operator_graph import GraphBuilder, OperatorGraph


def rnnlm(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Recurrent language model: embedding, LSTM layers, logits and loss at every step.

    Dropout between layers is taken as part of the kernels around it.
    """
    net = Unrolled(GraphBuilder(config.name, precision), config, sequences)
    xs = net.words("word_embedding")
    for index in range(config.layers):
        xs, _ = net.layer(f"layer{index}", xs, hands_on=False)
    net.predictions("softmax", xs)
    return net.builder.build(sequences, config.sequence)
