"""The backward steps are the derivatives of the forward steps, on random arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_execution import Execution, assert_backward_is_the_derivative, random_values

from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    AttentionShape,
    LinearShape,
    add,
    attention_context,
    attention_scores,
    embedding,
    linear,
    position_embedding,
    rotary,
)
from flexsim.operator_graph.kinds.attention import HEADS, KEY, QUERY

DIMS = ("b", "s", "h", "f", "v", "g", "r", "d")
HIDDEN = (("b",), ("s",), ("h",))
SIZES = st.fixed_dictionaries({dim: st.integers(1, 3) for dim in DIMS})
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def hidden(builder: GraphBuilder, sizes: dict[str, int], name: str = "x") -> str:
    return builder.input(name, (sizes["b"], sizes["s"], sizes["h"]), 2)


def shape_of(sizes: dict[str, int]) -> AttentionShape:
    b, s, g, r, d = (sizes[dim] for dim in "bsgrd")
    return AttentionShape(b, s, g, r, d)


def queries(builder: GraphBuilder, sizes: dict[str, int]) -> str:
    shape = (sizes["b"], sizes["s"], sizes["g"] * sizes["r"], sizes["d"])
    return builder.input("q", shape, 2)


def keys(builder: GraphBuilder, sizes: dict[str, int]) -> str:
    return builder.input("k", (sizes["b"], sizes["s"], sizes["g"], sizes["d"]), 2)


def build(builder: GraphBuilder, sizes: dict[str, int]) -> OperatorGraph:
    return builder.build(sizes["b"], sizes["s"])


def one_linear(sizes: dict[str, int], **options: object) -> OperatorGraph:
    builder = GraphBuilder("test")
    shape = LinearShape(("b", "s"), (("h",),), {"": (("f",),)}, sizes, **options)  # type: ignore[arg-type]
    linear(builder, "op", hidden(builder, sizes), shape)
    return build(builder, sizes)


@few
@given(SIZES, SEEDS)
def test_linear_with_bias(sizes: dict[str, int], seed: int) -> None:
    found = assert_backward_is_the_derivative(one_linear(sizes), "op", {}, seed)
    assert found == {"x", "op.weight", "op.bias"}


@few
@given(SIZES, SEEDS)
def test_linear_with_a_shared_output_major_weight(sizes: dict[str, int], seed: int) -> None:
    graph = one_linear(sizes, bias=False, tied_weight="table")
    assert graph.shape("table") == (sizes["f"], sizes["h"])
    assert assert_backward_is_the_derivative(graph, "op", {}, seed) == {"x", "table"}


def test_no_gradient_flows_into_data() -> None:
    sizes = dict.fromkeys(DIMS, 2)
    graph = one_linear(sizes, constant_input=True)
    found = assert_backward_is_the_derivative(graph, "op", {}, seed=0)
    assert found == {"op.weight", "op.bias"}


@few
@given(SIZES, SEEDS)
def test_grouped_query_projection(sizes: dict[str, int], seed: int) -> None:
    builder, one = GraphBuilder("test"), (("g",), ("d",))
    outputs = {"q": (HEADS, ("d",)), "k": one, "v": one}
    shape = LinearShape(("b", "s"), (("h",),), outputs, sizes)
    linear(builder, "qkv", hidden(builder, sizes), shape)
    found = assert_backward_is_the_derivative(build(builder, sizes), "qkv", {}, seed)
    parts = {f"qkv.{part}.{kind}" for part in "qkv" for kind in ("weight", "bias")}
    assert found == {"x"} | parts


@few
@given(SIZES, SEEDS)
def test_attention_scores_of_shared_keys(sizes: dict[str, int], seed: int) -> None:
    builder = GraphBuilder("test")
    qk = (queries(builder, sizes), keys(builder, sizes))
    attention_scores(builder, "scores", qk, shape_of(sizes))
    found = assert_backward_is_the_derivative(build(builder, sizes), "scores", {}, seed)
    assert found == {"q", "k"}


@few
@given(SIZES, SEEDS)
def test_attention_context(sizes: dict[str, int], seed: int) -> None:
    builder, s = GraphBuilder("test"), sizes["s"]
    weights = builder.input("p", (sizes["b"], sizes["g"] * sizes["r"], s, s), 2)
    attention_context(builder, "context", (weights, keys(builder, sizes)), shape_of(sizes))
    found = assert_backward_is_the_derivative(build(builder, sizes), "context", {}, seed)
    assert found == {"p", "k"}


def test_attention_scores_by_hand() -> None:
    """Grouped-query scores are those of keys repeated for every query head of their group."""
    sizes = {"b": 2, "s": 3, "g": 2, "r": 3, "d": 4}
    builder, rng = GraphBuilder("test"), np.random.default_rng(7)
    qk = (queries(builder, sizes), keys(builder, sizes))
    attention_scores(builder, "scores", qk, shape_of(sizes))
    operator = build(builder, sizes).by_name["scores"]
    execution = Execution(operator, {})
    values = random_values(execution, operator, rng)
    q = values["q"].reshape(2, 3, 6, 4)
    repeated = np.repeat(values["k"], 3, axis=2)
    expected = np.einsum("bshd,bthd->bhst", q, repeated)
    found = execution.run(operator.forward, values)["scores.out"].reshape(2, 6, 3, 3)
    np.testing.assert_allclose(found, expected)


@few
@given(SIZES, SEEDS)
def test_embedding_scatters_its_gradient(sizes: dict[str, int], seed: int) -> None:
    builder = GraphBuilder("test")
    tokens = builder.input("tokens", (sizes["b"], sizes["s"]), 8)
    embedding(builder, "words", tokens, "table", sizes)
    graph = build(builder, sizes)
    found = assert_backward_is_the_derivative(graph, "words", {"tokens": "v"}, seed)
    assert found == {"table"}


@few
@given(SIZES, SEEDS)
def test_position_embedding_sums_its_gradient_over_sequences(
    sizes: dict[str, int], seed: int
) -> None:
    builder = GraphBuilder("test")
    position_embedding(builder, "positions", hidden(builder, sizes), sizes, rate=False)
    graph = build(builder, sizes)
    found = assert_backward_is_the_derivative(graph, "positions", {}, seed)
    assert found == {"x", "positions.weight"}


@pytest.mark.parametrize("count", [2, 3])
def test_add_hands_its_gradient_to_every_addend(count: int) -> None:
    sizes = {"b": 2, "s": 3, "h": 4}
    builder = GraphBuilder("test")
    xs = [hidden(builder, sizes, f"x{i}") for i in range(count)]
    add(builder, "sum", xs, HIDDEN, sizes)
    graph = build(builder, sizes)
    assert assert_backward_is_the_derivative(graph, "sum", {}, seed=1) == set(xs)
    assert {step.kernel for step in graph.by_name["sum"].backward} == {"alias"}


def test_rotary_saves_nothing_and_keeps_the_head_whole() -> None:
    sizes = {"b": 2, "s": 3, "g": 2, "r": 2, "d": 4}
    builder = GraphBuilder("test")
    pair = (queries(builder, sizes), keys(builder, sizes))
    sizes["kv"] = sizes["s"]
    out = rotary(builder, "rotary", pair, (QUERY, KEY), sizes)
    operator = build(builder, sizes).by_name["rotary"]
    (back,) = operator.backward
    assert {use.tensor for use in back.reads} == {f"gradient:{y}" for y in out}
    assert {use.tensor for use in back.writes} == {f"gradient:{x}" for x in pair}
    assert [dim.name for dim in operator.dims if dim.max_degree == 1] == ["d"]
