"""The operator kinds: functions that write an operator into a graph builder.

Each takes the builder, a name and the tensors it reads, and returns what it writes.
"""

from flexsim.operator_graph.kinds.attention import (
    AttentionShape,
    attention_context,
    attention_scores,
    attention_softmax,
    batched_matmul,
    flash_attention,
)
from flexsim.operator_graph.kinds.elementwise import (
    add,
    dropout,
    dropout_add,
    gelu,
    rotary,
    swiglu,
    unary,
)
from flexsim.operator_graph.kinds.linear import LinearShape, linear
from flexsim.operator_graph.kinds.norm import layer_norm, rms_norm
from flexsim.operator_graph.kinds.vocabulary import (
    cross_entropy,
    embedding,
    mean_loss,
    outside_loss,
    position_embedding,
)

__all__ = [
    "AttentionShape",
    "LinearShape",
    "add",
    "attention_context",
    "attention_scores",
    "attention_softmax",
    "batched_matmul",
    "cross_entropy",
    "dropout",
    "dropout_add",
    "embedding",
    "flash_attention",
    "gelu",
    "layer_norm",
    "linear",
    "mean_loss",
    "outside_loss",
    "position_embedding",
    "rms_norm",
    "rotary",
    "swiglu",
    "unary",
]
