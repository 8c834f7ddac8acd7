"""ViT: Dosovitskiy et al. 2020 (arXiv 2010.11929), Table 1: a transformer over patches."""

from __future__ import annotations

from dataclasses import replace

from flexsim.errors import ModelError
from flexsim.models.cnn import classifier, images
from flexsim.models.config import ModelConfig
from flexsim.models.transformer import (
    HIDDEN,
    Body,
    attention,
    attention_output,
    gelu_mlp,
    queries_keys_values,
    transformer,
)
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    add,
    first_position,
    layer_norm,
    patches,
    position_embedding,
    prepend,
)


def vit(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Vision transformer: patches, a class token, layers with norms first, no dropout."""
    if config.image % config.patch:
        raise ModelError(
            f"{config.name}: model.patch = {config.patch} does not divide model.image ="
            f" {config.image}"
        )
    positions = (config.image // config.patch) ** 2 + 1
    shape = replace(config, sequence=positions)
    return transformer(
        Body(GraphBuilder(config.name, precision), shape, sequences, causal=False),
        _embedding,
        _layer,
        _head,
    )


def _embedding(body: Body) -> str:
    builder, config = body.builder, body.config
    x = images(builder, config, body.sequences)
    x = patches(builder, "patches", x, config.patch, config.hidden)
    x = prepend(builder, "class_token", x, "class_token")
    return position_embedding(builder, "position_embedding", x, body.sizes, rate=False)


def _layer(body: Body, x: str) -> str:
    builder = body.builder
    normal = layer_norm(builder, "attention_norm", x)
    context = attention(body, queries_keys_values(body, normal, bias=True), has_dropout=False)
    branch = attention_output(body, context, bias=True)
    x = add(builder, "attention_residual", (x, branch), HIDDEN, body.sizes)
    branch = gelu_mlp(body, layer_norm(builder, "mlp_norm", x))
    return add(builder, "mlp_residual", (x, branch), HIDDEN, body.sizes)


def _head(body: Body, x: str) -> str:
    x = first_position(body.builder, "first", layer_norm(body.builder, "final_norm", x))
    classifier(body.builder, x, (), body.config.classes)
    return x
