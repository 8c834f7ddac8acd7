"""What transformers share: sizes, the loop over layers, attention, embedding and head.

A layer's tensors keep named axes, so the same functions serve multi-head (one repeat a group),
grouped-query and multi-query attention (one group).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby

from flexsim.models.config import ModelConfig
from flexsim.operator_graph import Axis, GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    AttentionShape,
    LinearShape,
    attention_context,
    attention_scores,
    attention_softmax,
    cross_entropy,
    dropout,
    dropout_add,
    embedding,
    flash_attention,
    gelu,
    linear,
    outside_loss,
)
from flexsim.operator_graph.kinds.attention import CORE, HEADS, QUERY, SCORES
from flexsim.operator_graph.repeat import repeat

TOKEN_BYTES = 8
HIDDEN: tuple[Axis, ...] = (("b",), ("s",), ("h",))
FEED_FORWARD: tuple[Axis, ...] = (("b",), ("s",), ("f",))
ROTARY_AXES = (QUERY, (("b",), ("s",), ("g",), ("d",)))
"""Axes of queries and of keys, whose positions are turned where they are made."""
WORD_TABLE = "word_embedding"


@dataclass(frozen=True)
class Body:
    """A model being written: its builder, its shape, and how many sequences a microbatch has."""

    builder: GraphBuilder
    config: ModelConfig
    sequences: int
    causal: bool = True

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Size of every dimension by its name."""
        config = self.config
        return self.attention_shape.sizes | {
            "h": config.hidden,
            "f": config.ffn,
            "v": config.vocabulary,
        }

    @cached_property
    def attention_shape(self) -> AttentionShape:
        """Sizes of a layer's attention."""
        config = self.config
        return AttentionShape(
            self.sequences,
            config.sequence,
            config.kv_heads,
            config.repeats,
            config.head_size,
            self.causal,
        )

    @property
    def rows(self) -> tuple[int, int]:
        """Sequences and tokens of each."""
        return self.sequences, self.config.sequence

    def row_input(self, name: str) -> str:
        """Declare an input of one integer a token."""
        return self.builder.input(name, self.rows, TOKEN_BYTES)

    def project(
        self, name: str, x: str, outputs: Mapping[str, tuple[Axis, ...]], bias: bool
    ) -> tuple[str, ...]:
        """Add a linear from the residual stream to one or more outputs."""
        shape = LinearShape(("b", "s"), (("h",),), outputs, self.sizes, bias)
        return linear(self.builder, name, x, shape)

    def project_back(self, name: str, x: str, inputs: tuple[Axis, ...], bias: bool) -> str:
        """Add a linear from ``inputs`` back to the residual stream."""
        shape = LinearShape(("b", "s"), inputs, {"": (("h",),)}, self.sizes, bias)
        return linear(self.builder, name, x, shape)[0]


Part = Callable[[Body, str], str]


def transformer(body: Body, embed: Callable[[Body], str], layer: Part, head: Part) -> OperatorGraph:
    """Return embedding, ``config.layers`` times ``layer``, and the head with its loss.

    Without ``embedding_and_head`` the layers read hidden states and a loss of almost no cost
    starts their backward.
    """
    return transformer_of(body, embed, [layer] * body.config.layers, head)


def transformer_of(
    body: Body, embed: Callable[[Body], str], layers: Sequence[Part], head: Part
) -> OperatorGraph:
    """Return the same with layers of several kinds; runs of one kind are repeated."""
    config = body.config
    x = embed(body) if config.embedding_and_head else _hidden_input(body)
    done = 0
    for layer, run in groupby(layers):
        blocks = [f"layer{done + index}" for index, _ in enumerate(run)]
        x = repeat(body.builder, blocks, partial(layer, body), x)
        done += len(blocks)
    if config.embedding_and_head:
        head(body, x)
    else:
        target = body.builder.input("target", (body.sequences,), 4)
        outside_loss(body.builder, "loss", x, target, body.sizes)
    return body.builder.build(body.sequences, config.sequence)


def word_embedding(body: Body) -> str:
    """Add the word table's look-up of the input ``tokens``."""
    tokens = body.row_input("tokens")
    return embedding(body.builder, WORD_TABLE, tokens, WORD_TABLE, body.sizes)


def logits_and_loss(body: Body, x: str, bias: bool = False) -> str:
    """Add the product with the word table (or a table of its own) and the cross-entropy."""
    tied = WORD_TABLE if body.config.tied_embedding else ""
    shape = LinearShape(("b", "s"), (("h",),), {"": (("v",),)}, body.sizes, bias, tied)
    (logits,) = linear(body.builder, "logits", x, shape)
    return cross_entropy(body.builder, "loss", logits, body.row_input("labels"), body.sizes)


def queries_keys_values(body: Body, x: str, bias: bool) -> tuple[str, str, str]:
    """Add the projection to queries, keys and values, one kernel."""
    keys: tuple[Axis, ...] = (("g",), ("d",))
    q, k, v = body.project("qkv", x, {"q": (HEADS, ("d",)), "k": keys, "v": keys}, bias)
    return q, k, v


def attention(body: Body, qkv: tuple[str, str, str], has_dropout: bool) -> str:
    """Add attention, fused or not; only the unfused one has dropout on its probabilities."""
    if body.config.attention == "flash":
        return flash_attention(body.builder, "attention", qkv, body.attention_shape)
    scores = attention_scores(body.builder, "attention_scores", qkv[:2], body.attention_shape)
    return weighted_values(body, scores, qkv[2], has_dropout)


def weighted_values(body: Body, scores: str, values: str, has_dropout: bool) -> str:
    """Add softmax, dropout and the product with the values."""
    builder, shape = body.builder, body.attention_shape
    weights = attention_softmax(builder, "attention_softmax", scores, shape)
    if has_dropout:
        weights = dropout(builder, "attention_dropout", weights, SCORES, body.sizes, CORE)
    return attention_context(builder, "attention_context", (weights, values), shape)


def attention_output(body: Body, context: str, bias: bool) -> str:
    """Add the projection from all heads back to the residual stream."""
    return body.project_back("projection", context, (HEADS, ("d",)), bias)


def gelu_mlp(body: Body, x: str) -> str:
    """Add linear, GELU, linear, both with biases."""
    (wide,) = body.project("fc1", x, {"": (("f",),)}, bias=True)
    active = gelu(body.builder, "gelu", wide, FEED_FORWARD, body.sizes)
    return body.project_back("fc2", active, (("f",),), bias=True)


def residual_dropout(body: Body, name: str, branch: str, x: str) -> str:
    """Add ``dropout(branch) + x``."""
    return dropout_add(body.builder, name, (branch, x), HIDDEN, body.sizes)


def _hidden_input(body: Body) -> str:
    shape = (*body.rows, body.config.hidden)
    return body.builder.input("hidden_states", shape, body.builder.bytes_per_element)
