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
from flexsim.operator_graph.kinds.concatenation import concatenate, first_position, prepend
from flexsim.operator_graph.kinds.convolution import (
    Filters,
    Kernel,
    convolution,
    patches,
    square,
    up_convolution,
)
from flexsim.operator_graph.kinds.elementwise import (
    add,
    dropout,
    dropout_add,
    gelu,
    relu,
    rotary,
    swiglu,
    unary,
)
from flexsim.operator_graph.kinds.experts import (
    Routing,
    bring_back,
    combine,
    dispatch,
    route,
    send_gates,
)
from flexsim.operator_graph.kinds.latent import LatentInputs, latent_attention, rotary_keys
from flexsim.operator_graph.kinds.linear import LinearShape, linear
from flexsim.operator_graph.kinds.norm import batch_norm, layer_norm, rms_norm
from flexsim.operator_graph.kinds.pooling import average_pool, max_pool, mean_over
from flexsim.operator_graph.kinds.recurrent import (
    CellShape,
    CellState,
    attend,
    joint_linear,
    lstm_cell,
)
from flexsim.operator_graph.kinds.split import split
from flexsim.operator_graph.kinds.vocabulary import (
    cross_entropy,
    embedding,
    embedding_bag,
    mean_loss,
    outside_loss,
    position_embedding,
)

__all__ = [
    "AttentionShape",
    "CellShape",
    "CellState",
    "Filters",
    "Kernel",
    "LatentInputs",
    "LinearShape",
    "Routing",
    "add",
    "attend",
    "attention_context",
    "attention_scores",
    "attention_softmax",
    "average_pool",
    "batch_norm",
    "batched_matmul",
    "bring_back",
    "combine",
    "concatenate",
    "convolution",
    "cross_entropy",
    "dispatch",
    "dropout",
    "dropout_add",
    "embedding",
    "embedding_bag",
    "first_position",
    "flash_attention",
    "gelu",
    "joint_linear",
    "latent_attention",
    "layer_norm",
    "linear",
    "lstm_cell",
    "max_pool",
    "mean_loss",
    "mean_over",
    "outside_loss",
    "patches",
    "position_embedding",
    "prepend",
    "relu",
    "rms_norm",
    "rotary",
    "rotary_keys",
    "route",
    "send_gates",
    "split",
    "square",
    "swiglu",
    "unary",
    "up_convolution",
]
