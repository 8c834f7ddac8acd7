"""Llama 3: Grattafiori et al. 2024, "The Llama 3 Herd of Models" (arXiv 2407.21783), Table 3."""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.transformer import (
    FEED_FORWARD,
    HIDDEN,
    ROTARY_AXES,
    Body,
    attention,
    attention_output,
    logits_and_loss,
    queries_keys_values,
    transformer,
    word_embedding,
)
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, add, linear, rms_norm, rotary, swiglu


def llama(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Llama: RMS norm, rotary positions, grouped-query attention, SwiGLU; no bias, no dropout."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    return transformer(body, word_embedding, _layer, llama_head)


def rotary_attention(body: Body, x: str) -> str:
    """Add attention without biases whose queries and keys carry rotary positions."""
    q, k, v = queries_keys_values(body, x, bias=False)
    q, k = rotary(body.builder, "rotary", (q, k), ROTARY_AXES, body.sizes)
    return attention_output(body, attention(body, (q, k, v), has_dropout=False), bias=False)


def swiglu_mlp(body: Body, x: str, width: int = 0) -> str:
    """Add ``(silu(x gate) * x up) down`` without biases; gate and up are one kernel.

    ``width`` is between them, the config's ``ffn`` unless given.
    """
    sizes = body.sizes | ({"f": width} if width else {})
    outputs = {"gate": (("f",),), "up": (("f",),)}
    shape = LinearShape(("b", "s"), (("h",),), outputs, sizes, bias=False)
    gate, up = linear(body.builder, "gate_up", x, shape)
    active = swiglu(body.builder, "swiglu", (gate, up), FEED_FORWARD, sizes)
    back = LinearShape(("b", "s"), (("f",),), {"": (("h",),)}, sizes, bias=False)
    return linear(body.builder, "down", active, back)[0]


def _layer(body: Body, x: str) -> str:
    builder = body.builder
    branch = rotary_attention(body, rms_norm(builder, "attention_norm", x))
    x = add(builder, "attention_residual", (x, branch), HIDDEN, body.sizes)
    branch = swiglu_mlp(body, rms_norm(builder, "mlp_norm", x))
    return add(builder, "mlp_residual", (x, branch), HIDDEN, body.sizes)


def llama_head(body: Body, x: str) -> str:
    """Add the last norm, logits and loss."""
    return logits_and_loss(body, rms_norm(body.builder, "final_norm", x))
