"""Every rule leaves what is computed as it is: values, gradients, parameters, FLOPs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from graph_execution import backward, forward, random_feed, random_upstream, results
from map_execution import Array
from transformation_graphs import CASES, SIZES, WIDE, built, project, started

from flexsim.errors import ModelError
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.kinds import (
    Filters,
    batch_norm,
    concatenate,
    convolution,
    gelu,
    split,
    square,
)
from flexsim.operator_graph.transformations import (
    TRANSFORMATIONS,
    apply,
    apply_all,
    forward_only,
    sites,
)


def case(name: str) -> tuple[str, OperatorGraph, OperatorGraph]:
    rule, write = CASES[name]
    before = write()
    (site,) = sites(before, rule)
    return rule, before, apply(before, rule, site)


PIECES = {"concat-linear": (0, [5, 7]), "concat-convolution": (1, [2, 4])}
PIECES["concat-up-convolution"] = (1, [3])
"""The axis of the absorbing weight that is cut, and where."""


def mapped(name: str, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Return the weights of the transformed graph, given those of the graph before."""
    if name in PIECES:
        axis, places = PIECES[name]
        parts = np.split(feed["after.weight"], places, axis)
        return {**feed, **{f"after.weight.piece{k}": part for k, part in enumerate(parts)}}
    if name == "convolution-norm":
        gain = feed["norm.gain"]
        scaled = feed["conv.weight"] * gain[:, None, None, None]
        bias = feed["norm.bias"] + gain * feed["conv.bias"]
        return {**feed, "conv.weight": scaled, "norm.bias": bias}
    return dict(feed)


def unmapped(name: str, gradients: dict[str, Array]) -> dict[str, Array]:
    """Return weight gradients of the transformed graph as those of the graph before."""
    if name in PIECES:
        axis, places = PIECES[name]
        parts = [gradients.pop(f"after.weight.piece{k}") for k in range(len(places) + 1)]
        gradients["after.weight"] = np.concatenate(parts, axis)
    return gradients


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _ in CASES.values()} == set(TRANSFORMATIONS)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_values_and_gradients_are_kept(name: str, seed: int) -> None:
    _, before, after = case(name)
    feed = random_feed(before, seed)
    functions = dict.fromkeys(("gelu.out", "relu.out", "tanh.out"), np.tanh)
    values = forward(before, feed, functions)
    new = forward(after, mapped(name, feed), functions)
    ends = [t for t in results(before) if "statistic" not in t]
    assert {*ends} <= {*results(after)}
    for tensor in after.tensors.keys() & new.keys():
        np.testing.assert_allclose(new[tensor], values[tensor], err_msg=tensor)
    upstream = random_upstream(before, ends, seed + 10)
    expected = backward(before, values, upstream)
    found = unmapped(name, backward(after, new, upstream))
    assert {*found} <= {*expected}
    assert {*before.weights, "x"} & {*expected} == {*before.weights, "x"} & {*found}
    for tensor, array in found.items():
        np.testing.assert_allclose(array, expected[tensor], err_msg=tensor)


@pytest.mark.parametrize("name", CASES)
def test_parameters_and_operations_are_kept(name: str) -> None:
    rule, before, after = case(name)
    unused = 2 * (2 * 3) * 2 * 3 if name == "concat-linear" else 0  # z is data
    assert after.flops == before.flops - unused
    folded = 2 * 4 if rule == "fold-conv-batch-norm" else 0
    assert after.num_parameters == before.num_parameters - folded
    assert not sites(after, rule)


@pytest.mark.parametrize("name", CASES)
def test_there_are_fewer_kernels_and_less_traffic(name: str) -> None:
    _, before, after = case(name)
    assert len(after.operators) < len(before.operators)
    assert num_bytes(after) < num_bytes(before)


def num_bytes(graph: OperatorGraph) -> int:
    """Bytes that all kernels touch, every tensor of one once."""
    return sum(
        graph.widths[use.tensor] * use.num_elements(op.sizes)
        for op in graph.operators
        for step in op.steps
        for use in {u.tensor: u for m in step.maps for u in m.uses}.values()
    )


def test_merged_weights_are_one_weight_concatenated() -> None:
    _, before, after = case("query-key-value")
    feed = random_feed(before, 3)
    (merged,) = after.operators
    names = [m.reads[1].tensor for m in merged.forward[0].maps]
    joined = np.concatenate([feed[name].reshape(4, -1) for name in names], axis=1)
    biases = np.concatenate([feed[name.replace("weight", "bias")].reshape(-1) for name in names])
    product = feed["x"] @ joined + biases
    values = forward(after, feed)
    found = [values[t].reshape(2, 3, -1) for t in merged.outputs]
    np.testing.assert_allclose(product, np.concatenate(found, axis=2))


def test_merged_dimensions_are_cut_together() -> None:
    assert [(d.name, d.follows) for d in merged_dims("query-key-value")] == [
        *[(name, "") for name in ("b", "s", "h", "g", "d")]
    ]
    grouped = {d.name: (d.size, d.max_degree, d.follows) for d in merged_dims("grouped-queries")}
    assert grouped["g"] == (6, 2, "")
    assert grouped["g1"] == (2, 1, "g")
    unequal = {d.name: (d.size, d.max_degree, d.follows) for d in merged_dims("unequal-linears")}
    assert (unequal["f"], unequal["f1"], unequal["v"]) == ((5, 5, ""), (6, 1, "f"), (7, 1, "f"))


def merged_dims(name: str):
    return next(op for op in case(name)[2].operators if "+" in op.name).dims


def test_what_a_fused_product_sums_over_is_whole() -> None:
    _, _, after = case("linear-gelu")
    (first, _) = after.operators
    assert [d.name for d in first.dims if d.max_degree == 1] == ["h"]
    assert first.outputs == ("fc1.out", "gelu.out")


def test_a_tensor_that_another_reads_is_kept() -> None:
    builder, x = started()
    y = project(builder, "fc1", x, "f")
    for name in ("one", "two"):
        gelu(builder, name, y, WIDE, SIZES)
    graph = built(builder)
    assert not any(sites(graph, rule) for rule in TRANSFORMATIONS)


def test_a_split_joined_in_another_order_stays() -> None:
    builder, x = started()
    pieces = split(builder, "split", x, (("b",), ("s",), ("h",)), "h", [2, 2])
    concatenate(builder, "joined", pieces[::-1], (("b",), ("s",), ("h",)), "h")
    assert not sites(built(builder), "eliminate-split-concat")


def test_batch_norms_are_not_folded_in_training() -> None:
    builder, x = started(side=6)
    batch_norm(builder, "norm", convolution(builder, "conv", x, square(1), Filters(4)))
    graph = built(builder)
    assert not sites(graph, "fold-conv-batch-norm")
    assert sites(forward_only(graph), "fold-conv-batch-norm") == (("conv", "norm"),)


def test_several_sites_at_once_are_one_after_another() -> None:
    graph = chain()
    rule = "fuse-bias-activation"
    at_once = apply_all(graph, rule, sites(graph, rule))
    step_by_step = graph
    while found := sites(step_by_step, rule):
        step_by_step = apply(step_by_step, rule, found[-1])
    assert [op.name for op in at_once.operators] == [op.name for op in step_by_step.operators]
    assert [op.steps for op in at_once.operators] == [op.steps for op in step_by_step.operators]


def chain() -> OperatorGraph:
    builder, x = started()
    for index in range(2):
        with builder.block(f"layer{index}"):
            x = gelu(builder, "gelu", project(builder, "fc", x, "f", f=4), WIDE, {**SIZES, "f": 4})
    return built(builder)


def test_unknown_rules_and_sites_are_refused() -> None:
    graph = chain()
    with pytest.raises(ModelError, match=r"no rule 'fuse'.*fuse-bias-activation"):
        sites(graph, "fuse")
    with pytest.raises(ModelError, match=r"does not apply to layer0\.fc, layer1\.gelu"):
        apply(graph, "fuse-bias-activation", ("layer0.fc", "layer1.gelu"))


def test_pieces_of_a_split_make_up_the_whole() -> None:
    builder, x = started()
    with pytest.raises(ModelError, match=r"\[1, 2\] do not make up the 4 elements of 'x'"):
        split(builder, "split", x, (("b",), ("s",), ("h",)), "h", [1, 2])


def test_split_pieces_and_their_gradient() -> None:
    builder, x = started()
    split(builder, "split", x, (("b",), ("s",), ("h",)), "h", [1, 3])
    graph = built(builder)
    values = forward(graph, random_feed(graph, 5))
    one, two = values["split.out0"], values["split.out1"]
    np.testing.assert_array_equal(np.concatenate([one, two], 2), values["x"])
    upstream = random_upstream(graph, ["split.out0", "split.out1"], 6)
    found = backward(graph, values, upstream)["x"]
    np.testing.assert_array_equal(found, np.concatenate([*upstream.values()], 2))
