"""What the backward reads again, against Korthikanti et al. 2022, section 4.1."""

from __future__ import annotations

import pytest
from preset_graphs import small_graph

from flexsim.operator_graph import Operator, OperatorGraph

SHAPES = [
    {"hidden": 16, "heads": 4, "sequence": 6, "sequences": 1},
    {"hidden": 24, "heads": 2, "sequence": 10, "sequences": 3},
]


def saved_by(graph: OperatorGraph, operator: Operator) -> set[str]:
    """Return the forward tensors, weights apart, that an operator's backward reads."""
    reads = {use.tensor for step in operator.backward for use in step.reads}
    return {name for name in reads if name in graph.tensors}


def saved_bytes(graph: OperatorGraph, block: str) -> int:
    """Return the bytes of the distinct tensors that a block's backward reads."""
    operators = [op for op in graph.operators if op.block == block]
    total = 0
    for name in sorted(set().union(*(saved_by(graph, op) for op in operators))):
        elements = 1
        for size in graph.shape(name):
            elements *= size
        total += elements * graph.bytes_per_element(name)
    return total


def test_what_each_operator_of_a_layer_reads_again() -> None:
    graph = small_graph("gpt")
    found = {
        op.name.removeprefix("layer1."): {
            name.replace("layer1.", "") for name in saved_by(graph, op)
        }
        for op in graph.operators
        if op.block == "layer1"
    }
    assert found == {
        "attention_norm": {"layer0.mlp_residual.out", "attention_norm.statistic"},
        "qkv": {"attention_norm.out"},
        "attention_scores": {"qkv.q.out", "qkv.k.out"},
        "attention_softmax": {"attention_softmax.out"},
        "attention_dropout": {"attention_dropout.mask"},
        "attention_context": {"attention_dropout.out", "qkv.v.out"},
        "projection": {"attention_context.out"},
        "attention_residual": {"attention_residual.mask"},
        "mlp_norm": {"attention_residual.out", "mlp_norm.statistic"},
        "fc1": {"mlp_norm.out"},
        "gelu": {"fc1.out"},
        "fc2": {"gelu.out"},
        "mlp_residual": {"mlp_residual.mask"},
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_saves_34_sbh_and_5_as2b_and_two_statistics(shape: dict[str, int]) -> None:
    graph = small_graph("gpt", **shape)
    s, b, h, a = shape["sequence"], shape["sequences"], shape["hidden"], shape["heads"]
    assert saved_bytes(graph, "layer1") == 34 * s * b * h + 5 * a * s * s * b + 16 * b * s


@pytest.mark.parametrize("shape", SHAPES)
def test_flash_attention_saves_a_statistic_a_row_instead(shape: dict[str, int]) -> None:
    graph = small_graph("gpt", attention="flash", **shape)
    s, b, h, a = shape["sequence"], shape["sequences"], shape["hidden"], shape["heads"]
    assert saved_bytes(graph, "layer1") == 34 * s * b * h + 4 * a * s * b + 16 * b * s


def test_selective_recompute_covers_exactly_the_squares() -> None:
    """The group repeats what makes 5as²b, and keeps queries, keys and values."""
    graph = small_graph("gpt")
    group = [op.name for op in graph.operators if op.block == "layer1" and op.group]
    names = ("scores", "softmax", "dropout", "context")
    assert group == [f"layer1.attention_{name}" for name in names]


def test_the_recomputed_group_is_one_run_with_relative_positions_too() -> None:
    operators = [op for op in small_graph("gopher").operators if op.block == "layer1"]
    names = [op.name.removeprefix("layer1.") for op in operators]
    first, last = names.index("attention_scores"), names.index("attention_context")
    assert "score_sum" in names[first:last]
    assert [bool(op.group) for op in operators] == [first <= i <= last for i in range(len(names))]
