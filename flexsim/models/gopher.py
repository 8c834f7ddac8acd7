"""Gopher: Rae et al. 2021 (arXiv 2112.11446), section 2.1: GPT-2 with RMS norm and relative
positions as in Transformer-XL (Dai et al. 2019, arXiv 1901.02860, section 3.3).
"""

from __future__ import annotations

from flexsim.errors import ModelError
from flexsim.models.config import ModelConfig
from flexsim.models.transformer import (
    HIDDEN,
    Body,
    attention_output,
    gelu_mlp,
    logits_and_loss,
    queries_keys_values,
    transformer,
    weighted_values,
    word_embedding,
)
from flexsim.operator_graph import GraphBuilder, OperatorGraph, Use
from flexsim.operator_graph.kinds import (
    LinearShape,
    add,
    attention_scores,
    batched_matmul,
    linear,
    rms_norm,
)
from flexsim.operator_graph.kinds.attention import CORE, HEADS, QUERY, SCORES

RELATIVE_KEY = (("b",), ("kv",), HEADS, ("d",))
DISTANCES = "distances"


def gopher(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Gopher: RMS norm, relative positions with keys of their own, GELU, no dropout.

    Each layer projects the encoded distances to relative keys, once a sequence, and adds
    query x relative key to the scores. The two small bias vectors of Transformer-XL, and the
    shift that aligns distances with positions, are taken as part of the kernels around them.
    """
    if config.attention == "flash":
        raise ModelError(
            f"{config.name}: model.attention = 'flash' does not go with relative positions; "
            "choose 'unfused'"
        )
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    shape = (*body.rows, config.hidden)
    body.builder.input(DISTANCES, shape, body.builder.bytes_per_element)
    return transformer(body, word_embedding, _layer, _head)


def _layer(body: Body, x: str) -> str:
    builder = body.builder
    branch = _attention(body, rms_norm(builder, "attention_norm", x))
    x = add(builder, "attention_residual", (x, branch), HIDDEN, body.sizes)
    branch = gelu_mlp(body, rms_norm(builder, "mlp_norm", x))
    return add(builder, "mlp_residual", (x, branch), HIDDEN, body.sizes)


def _attention(body: Body, x: str) -> str:
    builder, sizes = body.builder, body.sizes
    q, k, v = queries_keys_values(body, x, bias=True)
    relative_key = _relative_key(body)
    content = attention_scores(builder, "attention_scores", (q, k), body.attention_shape)
    out = Use(f"{builder.named('relative_scores')}.out", SCORES)
    uses = (Use(q, QUERY), Use(relative_key, RELATIVE_KEY), out)
    relative = batched_matmul(builder, "relative_scores", uses, sizes)
    scores = add(builder, "score_sum", (content, relative), SCORES, sizes, CORE)
    return attention_output(body, weighted_values(body, scores, v, has_dropout=False), bias=True)


def _relative_key(body: Body) -> str:
    shape = LinearShape(
        ("b", "kv"),
        (("h",),),
        {"": (HEADS, ("d",))},
        body.sizes,
        bias=False,
        constant_input=True,
    )
    return linear(body.builder, "relative_key", DISTANCES, shape)[0]


def _head(body: Body, x: str) -> str:
    return logits_and_loss(body, rms_norm(body.builder, "final_norm", x))
