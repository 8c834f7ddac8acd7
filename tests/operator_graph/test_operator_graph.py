"""The record of an operator and the graph around it: letters, counts, views, errors."""

from __future__ import annotations

import pytest

from flexsim.errors import ModelError
from flexsim.operator_graph import Dim, GraphBuilder, Map, Operator, Step, Use, soap
from flexsim.operator_graph.kinds import (
    AttentionShape,
    LinearShape,
    attention_scores,
    cross_entropy,
    dropout,
    embedding,
    flash_attention,
    layer_norm,
    linear,
    outside_loss,
    rms_norm,
    swiglu,
)

SIZES = {"b": 2, "s": 3, "h": 4, "f": 5, "v": 7}
HIDDEN = (("b",), ("s",), ("h",))


def new_builder() -> tuple[GraphBuilder, str]:
    builder = GraphBuilder("test")
    return builder, builder.input("x", (2, 3, 4), 2)


def with_linear() -> GraphBuilder:
    builder, x = new_builder()
    linear(builder, "op", x, LinearShape(("b", "s"), (("h",),), {"": (("f",),)}, SIZES))
    return builder


def test_soap_letters_of_a_linear() -> None:
    graph = with_linear().build(2, 3)
    operator = graph.by_name["op"]
    letters = {dim: soap(operator, dim, graph.weights) for dim in operator.sizes}
    assert letters == {"b": "S", "s": "A", "h": "P", "f": "P"}


def test_soap_letters_of_attention_have_no_parameter() -> None:
    builder = GraphBuilder("test")
    q, k = builder.input("q", (2, 3, 4, 5), 2), builder.input("k", (2, 3, 2, 5), 2)
    attention_scores(builder, "scores", (q, k), AttentionShape(2, 3, 2, 2, 5))
    graph = builder.build(2, 3)
    operator = graph.by_name["scores"]
    letters = "".join(soap(operator, dim, graph.weights) for dim in ("b", "s", "kv", "g", "r", "d"))
    assert letters == "SAAAAA"


def test_flops_and_parameters_of_a_linear() -> None:
    graph = with_linear().build(2, 3)
    product = 2 * 2 * 3 * 4 * 5
    assert [graph.by_name["op"].flops(p) for p in "FIW"] == [product] * 3
    assert graph.flops == 3 * product
    assert graph.num_parameters == 4 * 5 + 5


def test_matmul_dims_name_the_sides_of_a_product() -> None:
    step = with_linear().build(2, 3).by_name["op"].forward[0]
    assert step.maps[0].matmul_dims == ((), ("b", "s"), ("f",), ("h",))


def test_causal_flash_attention_executes_half_of_what_it_counts() -> None:
    builder = GraphBuilder("test")
    qkv = tuple(builder.input(name, (2, 8, 4, 5), 2) for name in "qkv")
    flash_attention(builder, "op", qkv, AttentionShape(2, 8, 4, 1, 5))  # type: ignore[arg-type]
    operator = builder.build(2, 8).by_name["op"]
    points = 2 * 8 * 8 * 4 * 5
    assert operator.flops("F") == 4 * points
    assert operator.flops("I") == 8 * points
    executed = [step.nominal_flops(operator.sizes) * step.work_fraction for step in operator.steps]
    assert executed == [2 * points, 5 * points]


def test_norms_keep_the_hidden_dimension_whole_and_save_their_statistics() -> None:
    builder, x = new_builder()
    layer_norm(builder, "layer", x)
    rms_norm(builder, "rms", x)
    layer_norm(builder, "plain", x, has_bias=False)
    graph = builder.build(2, 3)
    for operator in graph.operators:
        assert [d.name for d in operator.dims if d.max_degree == 1] == ["h"]
    assert graph.num_parameters == 2 * 4 + 4 + 4
    assert [graph.bytes_per_element(f"{n}.statistic") for n in ("layer", "rms")] == [8, 4]


def test_swiglu_reads_both_halves_again() -> None:
    builder, x = new_builder()
    y = builder.input("y", (2, 3, 4), 2)
    swiglu(builder, "gate", (x, y), HIDDEN, SIZES)
    (back,) = builder.build(2, 3).by_name["gate"].backward
    assert [use.tensor for use in back.reads] == ["gradient:gate.out", "x", "y"]
    assert [use.tensor for use in back.writes] == ["gradient:x", "gradient:y"]


def test_dropout_saves_a_mask_of_one_byte_an_element() -> None:
    builder, x = new_builder()
    dropout(builder, "drop", x, HIDDEN, SIZES)
    graph = builder.build(2, 3)
    assert graph.bytes_per_element("drop.mask") == 1
    (back,) = graph.by_name["drop"].backward
    assert [use.tensor for use in back.reads] == ["gradient:drop.out", "drop.mask"]


def test_cross_entropy_has_three_statistics_over_the_vocabulary() -> None:
    builder = GraphBuilder("test")
    logits, labels = builder.input("logits", (2, 3, 7), 2), builder.input("labels", (2, 3), 8)
    cross_entropy(builder, "loss", logits, labels, SIZES)
    operator = builder.build(2, 3).by_name["loss"]
    summed = [
        use.tensor
        for step in operator.forward
        for m in step.maps
        for use in (m.write,)
        if "v" in m.dims and "v" not in use.dims
    ]
    assert summed == ["loss.maximum", "loss.label", "loss.sum"]
    assert operator.forward[0].writes[0].combine == "max"


def test_outside_loss_moves_next_to_nothing() -> None:
    builder, x = new_builder()
    outside_loss(builder, "loss", x, builder.input("target", (2,), 4), SIZES)
    operator = builder.build(2, 3).by_name["loss"]
    dense = {use.tensor for s in operator.steps for use in (*s.reads, *s.writes) if use.dense}
    assert dense == {"target", "loss.out"}
    assert [use.tensor for use in operator.backward[0].writes] == ["gradient:x"]


def test_readers_and_writer() -> None:
    builder, x = new_builder()
    first = layer_norm(builder, "first", x)
    layer_norm(builder, "second", first)
    graph = builder.build(2, 3)
    assert graph.readers[first] == ("second",)
    assert graph.writer[first] == "first"
    assert x not in graph.writer


def test_networkx_view() -> None:
    builder, x = new_builder()
    with builder.block("layer0"):
        y = layer_norm(builder, "norm", x)
        outputs = {"q": (("f",),), "k": (("f",),)}
        a, b = linear(builder, "pair", y, LinearShape(("b", "s"), (("h",),), outputs, SIZES))
        swiglu(builder, "gate", (a, b), (("b",), ("s",), ("f",)), SIZES)
    graph = builder.build(2, 3).to_networkx()
    assert list(graph.edges) == [("layer0.norm", "layer0.pair"), ("layer0.pair", "layer0.gate")]
    assert graph.edges["layer0.pair", "layer0.gate"]["tensors"] == (a, b)
    assert graph.nodes["layer0.norm"] == {
        "kind": "layer-norm",
        "dims": {"b": 2, "s": 3, "h": 4},
        "block": "layer0",
    }


def test_a_block_ends_even_where_something_fails_inside() -> None:
    builder, _ = new_builder()
    with pytest.raises(ModelError), builder.block("layer0"):
        builder.tensor("x", (1,))
    assert builder.named("op") == "op"


def test_unknown_precision() -> None:
    with pytest.raises(ModelError, match=r"test: precision 'int4'.*choose from fp16, bf16, fp32"):
        GraphBuilder("test", "int4")


def test_two_tensors_of_one_name() -> None:
    builder, _ = new_builder()
    with pytest.raises(ModelError, match="test: two tensors are named 'x'"):
        builder.tensor("x", (2, 3, 4))


def test_a_shared_weight_of_another_shape() -> None:
    builder = GraphBuilder("test")
    builder.weight("table", (7, 4))
    tokens = builder.input("tokens", (2, 3), 8)
    with pytest.raises(ModelError, match=r"weight 'table' has shape \(7, 4\), not \(8, 4\)"):
        embedding(builder, "words", tokens, "table", SIZES | {"v": 8})


def test_two_operators_of_one_name() -> None:
    builder, x = new_builder()
    use = Use(x, HIDDEN)
    dims = tuple(Dim(d, SIZES[d]) for d in "bsh")
    for name in ("y", "z"):
        y = Use(builder.tensor(name, (2, 3, 4)), HIDDEN)
        step = Step("forward", "F", (Map((use,), y),), "elementwise")
        builder.add(Operator("op", "elementwise", dims, (step,), ()))
    with pytest.raises(ModelError, match="test: two operators are named 'op'"):
        builder.build(2, 3)


def test_reading_what_nothing_writes() -> None:
    builder = GraphBuilder("test")
    builder.tensor("ghost", (2, 3, 4))
    layer_norm(builder, "norm", "ghost")
    with pytest.raises(ModelError, match="'norm' reads 'ghost', which nothing before it writes"):
        builder.build(2, 3)


def test_indexing_a_tensor_with_other_sizes() -> None:
    builder, x = new_builder()
    dropout(builder, "drop", x, HIDDEN, SIZES | {"h": 5})
    with pytest.raises(ModelError, match=r"indexes 'x' as \(2, 3, 5\), but its shape is \(2, 3, 4"):
        builder.build(2, 3)
