"""NMT: neural machine translation by LSTM layers with attention.

The network of FlexFlow (Jia et al. 2019, Table 3): four recurrent layers (two encode, two
decode), an attention and a softmax layer, unrolled 40 steps. The attention is Luong et al. 2015
(arXiv 1508.04025), "general" scores: h·W·m, then tanh(W [context; h]).
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.recurrent import Unrolled
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    CellState,
    LinearShape,
    attend,
    concatenate,
    joint_linear,
    linear,
    relu,
)

STATES = (("b",), ("s",), ("n",))


def nmt(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Neural machine translation: ``layers`` LSTM layers encode, as many decode with attention."""
    net = Unrolled(GraphBuilder(config.name, precision), config, sequences)
    encoded, states = _encoder(net)
    keys, memory = _memory(net, encoded)
    xs = net.words("target_embedding")
    for index, state in enumerate(states):
        xs, _ = net.layer(f"decoder{index}", xs, state, hands_on=False)
    net.predictions("softmax", [_attention(net, i, x, keys, memory) for i, x in enumerate(xs)])
    return net.builder.build(sequences, config.sequence)


def _encoder(net: Unrolled) -> tuple[list[str], list[CellState]]:
    xs, states = net.words("source_embedding"), []
    for index in range(net.config.layers):
        xs, state = net.layer(f"encoder{index}", xs, hands_on=True)
        states.append(state)
    return xs, states


def _memory(net: Unrolled, encoded: list[str]) -> tuple[str, str]:
    """Add the encoder's states joined along the sequence, and the keys made of them."""
    memory = concatenate(net.builder, "memory", encoded, STATES, "s")
    sizes = {"b": net.samples, "s": len(encoded), "h": net.config.hidden, "n": net.config.hidden}
    shape = LinearShape(("b", "s"), (("h",),), {"": (("n",),)}, sizes, bias=False)
    return linear(net.builder, "keys", memory, shape)[0], memory


def _attention(net: Unrolled, step: int, x: str, keys: str, memory: str) -> str:
    builder, hidden = net.builder, net.config.hidden
    context = attend(builder, f"attention{step}", x, keys, memory)
    both = joint_linear(builder, f"combine{step}", (context, x), hidden, "combine")
    return relu(builder, f"tanh{step}", both, STATES, net.sizes | {"n": hidden})
