"""PaLM: Chowdhery et al. 2022 (arXiv 2204.02311), section 2 and Table 1."""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.llama import rotary_attention, swiglu_mlp
from flexsim.models.transformer import HIDDEN, Body, logits_and_loss, transformer, word_embedding
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import add, layer_norm


def palm(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """PaLM: attention and MLP side by side from one norm, multi-query, rotary, SwiGLU, no bias."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    return transformer(body, word_embedding, _layer, _head)


def _layer(body: Body, x: str) -> str:
    normal = layer_norm(body.builder, "norm", x, has_bias=False)
    branches = (rotary_attention(body, normal), swiglu_mlp(body, normal))
    return add(body.builder, "residual", (x, *branches), HIDDEN, body.sizes)


def _head(body: Body, x: str) -> str:
    return logits_and_loss(body, layer_norm(body.builder, "final_norm", x, has_bias=False))
