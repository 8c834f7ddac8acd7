"""Floating-point operations of one iteration against closed forms, to the last one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from preset_graphs import GPT_PRESETS, preset_graph, small_graph

from flexsim.models import PRESETS, ModelConfig, build_model
from flexsim.operator_graph import OperatorGraph


def closed_form(c: ModelConfig, sequences: int, factor: int, vocabulary: int) -> Fraction:
    """Return ``factor·B·s·l·h²(1 + s/6h + V/(vocabulary·l·h))``."""
    size, s, v = c.layers * c.hidden, c.sequence, c.vocabulary
    share = 1 + Fraction(s, 6 * c.hidden) + Fraction(v, vocabulary * size)
    return factor * sequences * s * size * c.hidden * share


def with_full_recompute(graph: OperatorGraph) -> int:
    """Return the operations of an iteration that repeats the forward of every layer."""
    return graph.flops + sum(op.flops("F") for op in graph.operators if op.block)


@pytest.mark.parametrize("name", GPT_PRESETS)
def test_without_recompute(name: str) -> None:
    assert preset_graph(name).flops == closed_form(PRESETS[name], 1, 72, 12)


@pytest.mark.parametrize("name", GPT_PRESETS)
def test_with_full_recompute(name: str) -> None:
    assert with_full_recompute(preset_graph(name)) == closed_form(PRESETS[name], 1, 96, 16)


def test_a_batch_of_several_sequences() -> None:
    config = PRESETS["gpt-1.7b"]
    graph = build_model(config, 6)
    assert graph.flops == closed_form(config, 6, 72, 12)
    assert with_full_recompute(graph) == closed_form(config, 6, 96, 16)


def test_flash_attention_counts_as_much_as_unfused() -> None:
    assert small_graph("gpt", attention="flash").flops == small_graph("gpt").flops


def matmul_weights(graph: OperatorGraph) -> int:
    """Return how many parameters sit in matrices that multiply every token."""
    steps = (s for op in graph.operators if op.kind == "linear" for s in op.forward)
    names = dict.fromkeys(u.tensor for s in steps for m in s.maps for u in m.reads[1:])
    return sum(graph.weights[name].num_parameters for name in names)


@pytest.mark.parametrize("name", ["llama3-8b", "palm-540b"])
def test_six_operations_a_weight_and_token_and_attention(name: str) -> None:
    """Chowdhery et al. 2022, appendix B: 6N + 12·l·heads·head size·s a token."""
    c, graph = PRESETS[name], preset_graph(name)
    attention = 12 * c.layers * c.heads * c.head_size * c.sequence
    assert graph.flops == c.sequence * (6 * matmul_weights(graph) + attention)


def test_gopher_adds_relative_scores_and_keys_without_an_input_gradient() -> None:
    c, graph = PRESETS["gopher-280b"], preset_graph("gopher-280b")
    one_product = 2 * c.sequence * c.layers * c.hidden
    relative_keys = sum(
        weight.num_parameters for name, weight in graph.weights.items() if "relative_key" in name
    )
    assert relative_keys == c.layers * c.hidden**2
    expected = c.sequence * (6 * matmul_weights(graph) - 2 * relative_keys)
    assert graph.flops == expected + 9 * one_product * c.sequence


def test_mlp_by_hand() -> None:
    """Three products of 8 x 12; the first hands no gradient to the data."""
    graph = small_graph("mlp", sequences=5)
    product = 2 * 5 * 8 * 12
    assert graph.flops == (2 + 3 + 3) * product
    assert graph.num_parameters == 3 * 8 * 12 + 12 + 8 + 12
