"""Experts that weigh their inner results themselves: gradients, and what is kept for them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from map_execution import assert_backward_is_the_derivative

from flexsim.models import build_model, model_config
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import Routing, bring_back, dispatch, route, send_gates

SIZES = st.fixed_dictionaries({dim: st.integers(1, 3) for dim in "bshek"})


def mixture(sizes: dict[str, int]) -> OperatorGraph:
    """Return routing, dispatch of tokens and weights, and what brings tokens back."""
    builder = GraphBuilder("test")
    routing = Routing(sizes["e"], sizes["k"])
    logits = builder.input("logits", (sizes["b"], sizes["s"], sizes["e"]), 4)
    x = builder.input("x", (sizes["b"], sizes["s"], sizes["h"]), 2)
    gates, numbers = route(builder, "route", logits, routing)
    sent = dispatch(builder, "dispatch", x, numbers, routing)
    send_gates(builder, "gates", gates, numbers, routing)
    bring_back(builder, "combine", sent, numbers, routing)
    return builder.build(sizes["b"], sizes["s"])


@settings(max_examples=15, deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_weights_go_out_and_tokens_come_back_with_their_gradients(
    sizes: dict[str, int], seed: int
) -> None:
    graph = mixture(sizes)
    assert graph.shape("gates.out") == graph.shape("dispatch.out")[:3]
    assert assert_backward_is_the_derivative(graph, "gates", {}, seed) == {"route.gates"}
    assert assert_backward_is_the_derivative(graph, "combine", {}, seed) == {"dispatch.out"}


def test_nothing_that_experts_return_is_kept() -> None:
    sizes = {"layers": 1, "hidden": 16, "heads": 4, "sequence": 32, "vocabulary": 32}
    graph = build_model(model_config("deepseek", None, **sizes, dense_layers=0), 1)
    returned = graph.by_name["layer0.expert_down"].outputs[0]
    readers = [op.name for op in graph.operators if _reads(op.backward, returned)]
    assert not readers
    inner = graph.by_name["layer0.expert_swiglu"].outputs[0]
    assert [op.name for op in graph.operators if _reads(op.backward, inner)] == [
        "layer0.expert_down"
    ]


def _reads(steps: tuple, tensor: str) -> bool:  # type: ignore[type-arg]
    return any(use.tensor == tensor for step in steps for use in step.reads)
