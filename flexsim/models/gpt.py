"""GPT and BERT, as Megatron-LM builds them: layer norms first, dropout after each branch.

Sources: Radford et al. 2019 (GPT-2); Brown et al. 2020 (GPT-3, arXiv 2005.14165); Devlin et al.
2018 (BERT, arXiv 1810.04805); Shoeybi et al. 2019 (Megatron-LM, arXiv 1909.08053), whose layer
order both models have here; Korthikanti et al. 2022 (arXiv 2205.05198), Figure 2, for the
placement of dropouts.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.transformer import (
    HIDDEN,
    Body,
    attention,
    attention_output,
    gelu_mlp,
    logits_and_loss,
    queries_keys_values,
    residual_dropout,
    transformer,
    word_embedding,
)
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    LinearShape,
    add,
    dropout,
    embedding,
    gelu,
    layer_norm,
    linear,
    position_embedding,
)

NUM_TOKEN_TYPES = 2
TRANSFORM = "transform"


def gpt(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """GPT-2 and GPT-3 as in Megatron-LM: learned positions, GELU, causal attention, dropout."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    return transformer(body, gpt_embedding, gpt_layer, gpt_head)


def bert(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """BERT as in Megatron-LM: token types, attention both ways, a masked-language-model head.

    Logits are computed for every position. The next-sentence head, which reads one token of
    each sequence, is left out: 0.3 % of the parameters of BERT-large, hardly any work.
    """
    body = Body(GraphBuilder(config.name, precision), config, sequences, causal=False)
    return transformer(body, _bert_embedding, gpt_layer, _bert_head)


def gpt_layer(body: Body, x: str) -> str:
    """Add one layer: norm, attention, dropout and residual, norm, MLP, dropout and residual."""
    normal = layer_norm(body.builder, "attention_norm", x)
    context = attention(body, queries_keys_values(body, normal, bias=True), has_dropout=True)
    branch = attention_output(body, context, bias=True)
    x = residual_dropout(body, "attention_residual", branch, x)
    normal = layer_norm(body.builder, "mlp_norm", x)
    return residual_dropout(body, "mlp_residual", gelu_mlp(body, normal), x)


def gpt_embedding(body: Body) -> str:
    """Add words and learned positions."""
    return position_embedding(body.builder, "position_embedding", word_embedding(body), body.sizes)


def gpt_head(body: Body, x: str) -> str:
    """Add the last norm, logits and loss."""
    return logits_and_loss(body, layer_norm(body.builder, "final_norm", x))


def _bert_embedding(body: Body) -> str:
    builder, sizes = body.builder, body.sizes | {"token_type": NUM_TOKEN_TYPES}
    words = word_embedding(body)
    placed = position_embedding(builder, "position_embedding", words, sizes, rate=False)
    name = "token_type_embedding"
    types = embedding(builder, name, body.row_input("token_types"), name, sizes, "token_type")
    x = add(builder, "embedding_sum", (placed, types), HIDDEN, sizes)
    return dropout(builder, "embedding_dropout", x, HIDDEN, sizes)


def _bert_head(body: Body, x: str) -> str:
    builder = body.builder
    x = layer_norm(builder, "final_norm", x)
    (x,) = linear(builder, "head_dense", x, _transform_shape(body))
    x = gelu(builder, "head_gelu", x, HIDDEN, body.sizes)
    return logits_and_loss(body, layer_norm(builder, "head_norm", x), bias=True)


def _transform_shape(body: Body) -> LinearShape:
    """Return hidden to hidden; the outputs need a name of their own in the index space."""
    sizes = body.sizes | {TRANSFORM: body.config.hidden}
    return LinearShape(("b", "s"), (("h",),), {"": ((TRANSFORM,),)}, sizes)
