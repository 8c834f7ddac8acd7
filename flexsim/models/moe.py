"""Mixtures of experts: the layer that others are made of, Mixtral, and GPT with experts.

Sources: Jiang et al. 2024 (Mixtral, arXiv 2401.04088); Rajbhandari et al. 2022 (DeepSpeed-MoE,
arXiv 2201.05596), whose GPT has experts on every other layer. A router's auxiliary losses cost
next to nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flexsim.models.config import ModelConfig
from flexsim.models.gpt import gpt_embedding, gpt_head, gpt_layer
from flexsim.models.llama import llama_head, rotary_attention
from flexsim.models.transformer import (
    HIDDEN,
    Body,
    Part,
    attention,
    attention_output,
    queries_keys_values,
    residual_dropout,
    transformer_of,
    word_embedding,
)
from flexsim.operator_graph import Axis, GraphBuilder, Operator, OperatorGraph
from flexsim.operator_graph.kinds import (
    LinearShape,
    Routing,
    add,
    bring_back,
    combine,
    dispatch,
    gelu,
    layer_norm,
    linear,
    rms_norm,
    route,
    send_gates,
    swiglu,
)
from flexsim.operator_graph.loads import Largest, lognormal_factors, with_load

WIDE: tuple[Axis, ...] = (("e",), ("b",), ("s",), ("f",))
LEAD = ("e", "b", "s")


def mixtral(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Mixtral: Llama's layer with a mixture of SwiGLU experts in place of the feed-forward."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    layers: list[Part] = [_mixtral_layer] * config.layers
    return with_imbalance(transformer_of(body, word_embedding, layers, llama_head), config)


def gpt_moe(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """GPT with a mixture of GELU experts in place of every other layer's feed-forward."""
    body = Body(GraphBuilder(config.name, precision), config, sequences)
    layers: list[Part] = [(gpt_layer, _gpt_moe_layer)[i % 2] for i in range(config.layers)]
    return with_imbalance(transformer_of(body, gpt_embedding, layers, gpt_head), config)


def with_imbalance(graph: OperatorGraph, config: ModelConfig) -> OperatorGraph:
    """Return the graph with experts that get more or less than the mean, as the config says.

    All layers have the same draw. Kernels of a device's experts are as long as its fullest one.
    """
    if not config.load_imbalance:
        return graph
    drawn = lognormal_factors(config.experts, config.load_imbalance, config.seed)
    return with_load(graph, "s", Largest("e", drawn), _is_of_experts)


def _is_of_experts(operator: Operator) -> bool:
    return any(dim.name == "e" and dim.max_degree != 1 for dim in operator.dims)


Experts = Callable[[Body, str], str]
WeighingExperts = Callable[[Body, str, str], str]


def mixture(body: Body, x: str, experts: Experts) -> str:
    """Add router, dispatch, ``experts`` on what is sent, and their weighted sum."""
    gates, numbers, routing = _routed(body, x)
    sent = dispatch(body.builder, "dispatch", x, numbers, routing)
    return combine(body.builder, "combine", experts(body, sent), gates, routing)


def weighing_mixture(body: Body, x: str, experts: WeighingExperts) -> str:
    """Add router, dispatch of tokens and their weights, ``experts`` that weigh, and their sum.

    So nothing of what experts return is kept for the router's gradient (as in Megatron-Core since
    0.11; Mixtral's published runs are older).
    """
    gates, numbers, routing = _routed(body, x)
    sent = dispatch(body.builder, "dispatch", x, numbers, routing)
    weights = send_gates(body.builder, "dispatch_gates", gates, numbers, routing)
    return bring_back(body.builder, "combine", experts(body, sent, weights), numbers, routing)


def _routed(body: Body, x: str) -> tuple[str, str, Routing]:
    builder, config = body.builder, body.config
    routing = Routing(config.experts, config.chosen_experts, config.capacity_factor)
    sizes = body.sizes | {"route": config.experts}
    shape = LinearShape(("b", "s"), (("h",),), {"": (("route",),)}, sizes, bias=False)
    (logits,) = linear(builder, "router", x, shape)
    gates, numbers = route(builder, "route", logits, routing)
    return gates, numbers, routing


def swiglu_experts(body: Body, z: str, *weights: str) -> str:
    """Add every expert's ``(silu(z gate) * z up) down``, without biases, or weighed inside."""
    sizes = _expert_sizes(body, z)
    gate, up = _project(body, "expert_gate_up", z, {"gate": (("f",),), "up": (("f",),)}, bias=False)
    active = swiglu(body.builder, "expert_swiglu", (gate, up, *weights), WIDE, sizes)
    return _project_back(body, "expert_down", active, bias=False)


def gelu_experts(body: Body, z: str) -> str:
    """Add every expert's linear, GELU, linear, both with biases."""
    sizes = _expert_sizes(body, z)
    (wide,) = _project(body, "expert_fc1", z, {"": (("f",),)}, bias=True)
    active = gelu(body.builder, "expert_gelu", wide, WIDE, sizes)
    return _project_back(body, "expert_fc2", active, bias=True)


def _expert_sizes(body: Body, z: str) -> dict[str, int]:
    """Return the sizes of the experts' index space; ``s`` runs over the slots of a sequence."""
    experts, sequences, slots = body.builder.shape(z)[:3]
    width = {"h": body.config.hidden, "f": body.config.expert_ffn}
    return {"e": experts, "b": sequences, "s": slots} | width


def _project(
    body: Body, name: str, z: str, outputs: Mapping[str, tuple[Axis, ...]], *, bias: bool
) -> tuple[str, ...]:
    sizes = _expert_sizes(body, z)
    shape = LinearShape(LEAD, (("h",),), outputs, sizes, bias, stack=("e",))
    return linear(body.builder, name, z, shape)


def _project_back(body: Body, name: str, z: str, *, bias: bool) -> str:
    sizes = _expert_sizes(body, z)
    shape = LinearShape(LEAD, (("f",),), {"": (("h",),)}, sizes, bias, stack=("e",))
    return linear(body.builder, name, z, shape)[0]


def _mixtral_layer(body: Body, x: str) -> str:
    builder = body.builder
    branch = rotary_attention(body, rms_norm(builder, "attention_norm", x))
    x = add(builder, "attention_residual", (x, branch), HIDDEN, body.sizes)
    branch = mixture(body, rms_norm(builder, "mlp_norm", x), swiglu_experts)
    return add(builder, "mlp_residual", (x, branch), HIDDEN, body.sizes)


def _gpt_moe_layer(body: Body, x: str) -> str:
    normal = layer_norm(body.builder, "attention_norm", x)
    context = attention(body, queries_keys_values(body, normal, bias=True), has_dropout=True)
    branch = attention_output(body, context, bias=True)
    x = residual_dropout(body, "attention_residual", branch, x)
    normal = layer_norm(body.builder, "mlp_norm", x)
    return residual_dropout(body, "mlp_residual", mixture(body, normal, gelu_experts), x)
