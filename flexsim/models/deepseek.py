"""DeepSeek-V3: DeepSeek-AI 2024 (arXiv 2412.19437), sections 2.1 and 4.2.

Multi-head latent attention, the first layers dense, then a mixture with a shared expert beside
the routed ones. The head that predicts a second token (multi-token prediction) is left out.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.llama import llama_head, swiglu_mlp
from flexsim.models.moe import swiglu_experts, weighing_mixture, with_imbalance
from flexsim.models.transformer import HIDDEN, Body, Part, transformer_of, word_embedding
from flexsim.operator_graph import Axis, GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    LatentInputs,
    LinearShape,
    add,
    latent_attention,
    linear,
    rms_norm,
    rotary_keys,
)
from flexsim.operator_graph.kinds.attention import HEADS
from flexsim.operator_graph.kinds.latent import UP_PROJECTION


def deepseek(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """DeepSeek-V2 and V3: latent attention, dense layers first, then shared and routed experts."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    kinds: tuple[Part, Part] = (_dense_layer, _moe_layer)
    layers = [kinds[index >= config.dense_layers] for index in range(config.layers)]
    return with_imbalance(transformer_of(body, word_embedding, layers, llama_head), config)


def _dense_layer(body: Body, x: str) -> str:
    return _layer(body, x, swiglu_mlp)


def _moe_layer(body: Body, x: str) -> str:
    return _layer(body, x, _experts)


def _layer(body: Body, x: str, feed_forward: Part) -> str:
    builder = body.builder
    branch = _attention(body, rms_norm(builder, "attention_norm", x))
    x = add(builder, "attention_residual", (x, branch), HIDDEN, body.sizes)
    branch = feed_forward(body, rms_norm(builder, "mlp_norm", x))
    return add(builder, "mlp_residual", (x, branch), HIDDEN, body.sizes)


def _experts(body: Body, x: str) -> str:
    routed = weighing_mixture(body, x, swiglu_experts)
    if not body.config.shared_experts:
        return routed
    shared = swiglu_mlp(body, x, body.config.shared_experts * body.config.expert_ffn)
    return add(body.builder, "experts_sum", (routed, shared), HIDDEN, body.sizes)


def _sizes(body: Body) -> dict[str, int]:
    """Return sizes with those of latent attention: ranks, and keys of two parts (d = n + p)."""
    config = body.config
    return body.sizes | {
        "qr": config.query_rank,
        "kr": config.key_rank,
        "n": config.head_size,
        "p": config.rotary_size,
        "d": config.head_size + config.rotary_size,
        "w": config.value_size,
    }


def _attention(body: Body, x: str) -> str:
    builder, sizes = body.builder, _sizes(body)
    heads_values: tuple[Axis, ...] = (HEADS, ("w",))
    (latent,) = _linear(body, "query_down", x, (("h",),), {"": (("qr",),)})
    latent = rms_norm(builder, "query_norm", latent)
    (q,) = _linear(body, "query_up", latent, (("h",),), {"": (HEADS, ("d",))}, rank="qr")
    down = _linear(body, "key_down", x, (("h",),), {"latent": (("kr",),), "rotary": (("p",),)})
    latent = rms_norm(builder, "key_norm", down[0])
    outputs: dict[str, tuple[Axis, ...]] = {"k": (("g",), ("n",)), "v": (("g",), ("w",))}
    own, v = _linear(body, "key_up", latent, (("h",),), outputs, rank="kr")
    q, k = rotary_keys(builder, "rotary", LatentInputs(q, own, down[1]), sizes)
    context = latent_attention(builder, "attention", (q, k, v), sizes)
    return _linear(body, "projection", context, heads_values, {"": (("h",),)})[0]


def _linear(
    body: Body,
    name: str,
    x: str,
    inputs: tuple[Axis, ...],
    outputs: dict[str, tuple[Axis, ...]],
    rank: str = "h",
) -> tuple[str, ...]:
    """Add a linear without bias, up from a latent of size ``rank`` where that is given."""
    sizes = _sizes(body)
    shape = LinearShape(("b", "s"), inputs, outputs, sizes | {"h": sizes[rank]}, bias=False)
    return linear(body.builder, name, x, shape, "" if rank == "h" else UP_PROJECTION)
