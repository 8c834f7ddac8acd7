"""Convolution, pooling, concatenation and recurrent products: values and derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_execution import Execution, assert_backward_is_the_derivative, random_values

from flexsim.errors import ModelError
from flexsim.operator_graph import GraphBuilder, Operator, OperatorGraph
from flexsim.operator_graph.kinds import (
    CellShape,
    CellState,
    Filters,
    Kernel,
    attend,
    average_pool,
    batch_norm,
    concatenate,
    convolution,
    embedding_bag,
    first_position,
    joint_linear,
    lstm_cell,
    max_pool,
    mean_over,
    patches,
    prepend,
    square,
    up_convolution,
)

IMAGE = (("b",), ("c",), ("h",), ("w",))
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    """Draw a kernel whose padding is smaller than its taps."""
    taps = (draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, taps[0] - 1)), draw(st.integers(0, taps[1] - 1)))
    return Kernel(taps, draw(st.integers(1, 3)), padding)


def fed(shape: tuple[int, ...]) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder("test", "fp32")
    return builder, builder.input("x", shape, 4)


def built(builder: GraphBuilder) -> OperatorGraph:
    return builder.build(2, 1)


def forward_of(operator: Operator, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random inputs and the first output that they give."""
    execution = Execution(operator, {})
    values = random_values(execution, operator, np.random.default_rng(seed))
    return values, execution.run(operator.forward, values)[operator.outputs[0]]


@few
@given(kernels(), st.integers(4, 7), st.sampled_from([1, 2]), SEEDS)
def test_convolution(kernel: Kernel, side: int, groups: int, seed: int) -> None:
    builder, x = fed((2, 4, side, side))
    convolution(builder, "op", x, kernel, Filters(2 * groups, groups, bias=groups == 1))
    found = assert_backward_is_the_derivative(built(builder), "op", {}, seed)
    assert found == {"x", "op.weight", *(["op.bias"] if groups == 1 else [])}


@few
@given(kernels(), st.integers(4, 7))
def test_convolution_by_hand(kernel: Kernel, side: int) -> None:
    """Every output is the sum over the kernel laid onto the padded image."""
    builder, x = fed((2, 3, side, side))
    y = convolution(builder, "op", x, kernel, Filters(2))
    operator = built(builder).by_name["op"]
    values, found = forward_of(operator)
    weight = values["op.weight"].reshape(2, 3, *kernel.taps)
    (top, left), (rows, columns) = kernel.padding, builder.shape(y)[2:]
    image = np.pad(values["x"], ((0, 0), (0, 0), (top, top), (left, left)))
    for h, w in itertools.product(range(rows), range(columns)):
        i, j = h * kernel.stride, w * kernel.stride
        under = image[:, :, i : i + kernel.taps[0], j : j + kernel.taps[1]]
        expected = np.einsum("bcij,ocij->bo", under, weight)
        np.testing.assert_allclose(found[:, :, h, w], expected)


@pytest.mark.parametrize("factor", [2, 3])
def test_up_convolution_lays_the_kernel_down_at_every_pixel(factor: int) -> None:
    builder, x = fed((2, 3, 4, 5))
    up_convolution(builder, "op", x, factor, 2)
    graph = built(builder)
    values, found = forward_of(graph.by_name["op"])
    blocks = np.einsum("bcpq,ocij->bopiqj", values["x"], values["op.weight"])
    expected = blocks.reshape(2, 2, 4 * factor, 5 * factor)
    np.testing.assert_allclose(found - values["op.bias"][:, None, None], expected)
    names = assert_backward_is_the_derivative(graph, "op", {}, seed=3)
    assert names == {"x", "op.weight", "op.bias"}


@few
@given(kernels(), st.integers(4, 7), SEEDS)
def test_average_pool_spreads_its_gradient(kernel: Kernel, side: int, seed: int) -> None:
    builder, x = fed((2, 2, side, side))
    average_pool(builder, "op", x, kernel)
    assert assert_backward_is_the_derivative(built(builder), "op", {}, seed) == {"x"}


def test_max_pool_looks_again_at_what_it_read_and_made() -> None:
    builder, x = fed((2, 2, 8, 8))
    y = max_pool(builder, "op", x, square(3, 2, 1))
    (back,) = built(builder).by_name["op"].backward
    assert [use.tensor for use in back.reads] == [f"gradient:{y}", x, y]


def test_a_pool_with_negative_padding_crops() -> None:
    builder, x = fed((1, 1, 6, 6))
    average_pool(builder, "op", x, Kernel((1, 1), 1, (-2, -1)))
    values, found = forward_of(built(builder).by_name["op"])
    np.testing.assert_array_equal(found, values["x"][:, :, 2:-2, 1:-1])


@pytest.mark.parametrize("along", [1, 2])
def test_concatenation(along: int) -> None:
    shapes = [[2, 3, 4, 5] for _ in range(3)]
    for shape, length in zip(shapes, (1, 3, 2), strict=True):
        shape[along] = length
    builder = GraphBuilder("test")
    xs = [builder.input(f"x{i}", tuple(shape), 2) for i, shape in enumerate(shapes)]
    concatenate(builder, "op", xs, IMAGE, "bchw"[along])
    graph = built(builder)
    values, found = forward_of(graph.by_name["op"])
    np.testing.assert_array_equal(found, np.concatenate([values[x] for x in xs], along))
    assert assert_backward_is_the_derivative(graph, "op", {}, seed=1) == set(xs)


def test_no_gradient_flows_into_joined_data() -> None:
    builder = GraphBuilder("test")
    xs = [builder.input(f"x{i}", (2, 3), 2) for i in range(2)]
    concatenate(builder, "op", xs, (("b",), ("c",)), "c", constants=xs[:1])
    assert assert_backward_is_the_derivative(built(builder), "op", {}, seed=1) == {"x1"}


def test_patches_are_a_strided_convolution_with_one_axis_of_positions() -> None:
    builder, x = fed((2, 3, 4, 6))
    y = patches(builder, "op", x, 2, 5)
    assert builder.shape(y) == (2, 2 * 3, 5)
    graph = built(builder)
    assert assert_backward_is_the_derivative(graph, "op", {}, 5) == {"op.weight", "op.bias"}
    values, found = forward_of(graph.by_name["op"])
    cut = values["x"].reshape(2, 3, 2, 2, 3, 2)
    expected = np.einsum("bcyixj,cijh->byxh", cut, values["op.weight"]) + values["op.bias"]
    np.testing.assert_allclose(found, expected)


def test_prepend_shifts_positions_by_one() -> None:
    builder, x = fed((2, 3, 4))
    prepend(builder, "op", x, "token")
    operator = built(builder).by_name["op"]
    values = {"x": np.arange(24.0).reshape(2, 3, 4), "token": np.zeros(4)}
    found = Execution(operator, {}).run(operator.forward, values)["op.out"]
    np.testing.assert_array_equal(found[:, 1:], values["x"])
    np.testing.assert_array_equal(found[:, 0], 0)


@pytest.mark.parametrize("has_state", [False, True])
def test_products_of_an_lstm_cell(has_state: bool) -> None:
    builder, x = fed((2, 1, 3))
    state = CellState(builder.input("h", (2, 1, 5), 4), builder.input("c", (2, 1, 5), 4))
    lstm_cell(builder, "op", x, state if has_state else None, CellShape(2, 3, 5, "cell"))
    graph = built(builder)
    assert graph.num_parameters == 4 * 5 * (3 + 5 + 1)
    operator = graph.by_name["op"]
    product = Operator("op", "lstm", operator.dims, operator.forward[:1], operator.backward[1:])
    alone = OperatorGraph(
        "test", (product,), graph.tensors, graph.weights, graph.inputs, 2, 1, "fp32"
    )
    found = assert_backward_is_the_derivative(alone, "op", {}, seed=4)
    names = {"x", "cell.input_weight", "cell.bias"}
    assert found == names | ({"h", "cell.state_weight"} if has_state else set())
    assert operator.flops("F") == 2 * 2 * 4 * 5 * (3 + 5 * has_state)


def test_the_last_step_of_an_lstm_hands_on_no_cell() -> None:
    builder, x = fed((2, 1, 3))
    shape = CellShape(2, 3, 5, "cell")
    state = lstm_cell(builder, "first", x, None, shape)
    lstm_cell(builder, "last", x, state, shape, is_last=True)
    graph = built(builder)
    assert graph.by_name["last"].outputs == ("last.gates", "last.out")
    reads = {use.tensor for step in graph.by_name["last"].backward for use in step.reads}
    assert {"gradient:last.out", "last.gates", "first.cell"} <= reads


def test_joint_linear_is_a_linear_of_joined_inputs() -> None:
    builder, x = fed((2, 1, 3))
    joint_linear(builder, "op", (x, builder.input("z", (2, 1, 4), 4)), 5, "w")
    graph = built(builder)
    assert graph.num_parameters == 5 * (3 + 4)
    found = assert_backward_is_the_derivative(graph, "op", {}, seed=2)
    assert found == {"x", "z", "w.weight0", "w.weight1"}


def test_attention_over_a_memory_counts_four_operations_a_point() -> None:
    builder, x = fed((2, 1, 8))
    memory = builder.input("memory", (2, 5, 8), 4)
    attend(builder, "op", x, memory, memory)
    operator = built(builder).by_name["op"]
    assert (operator.flops("F"), operator.flops("I")) == (4 * 2 * 5 * 8, 8 * 2 * 5 * 8)
    assert [d.name for d in operator.dims if d.max_degree == 1] == ["kv"]


def test_embedding_bag_sums_rows() -> None:
    builder = GraphBuilder("test")
    indices = builder.input("indices", (3, 2), 8)
    embedding_bag(builder, "op", indices, "table", {"b": 3, "s": 2, "h": 4, "v": 5})
    graph = built(builder)
    found = assert_backward_is_the_derivative(graph, "op", {"indices": "v"}, seed=6)
    assert found == {"table"}


def test_means_and_first_positions_lack_what_they_sum_over() -> None:
    builder, x = fed((2, 3, 4, 5))
    assert builder.shape(mean_over(builder, "mean", x, IMAGE, ("h", "w"))) == (2, 3)
    z = builder.input("z", (2, 3, 4), 4)
    assert builder.shape(first_position(builder, "first", z)) == (2, 4)
    graph = built(builder)
    assert assert_backward_is_the_derivative(graph, "mean", {}, seed=1) == {"x"}


def test_batch_norm_has_two_parameters_a_channel_and_local_statistics() -> None:
    builder, x = fed((2, 3, 4, 5))
    batch_norm(builder, "op", x)
    graph = built(builder)
    assert graph.num_parameters == 2 * 3
    maps = graph.by_name["op"].forward[0].maps
    assert [m.summed_dims for m in maps] == [(), ()]
    weights = graph.by_name["op"].backward[1].maps
    assert [m.summed_dims for m in weights] == [("b", "h", "w")] * 2


def test_an_image_smaller_than_a_kernel_is_refused() -> None:
    builder, x = fed((1, 1, 3, 3))
    with pytest.raises(ModelError, match="3 pixels wide cannot hold a kernel of 5"):
        convolution(builder, "op", x, square(5), Filters(1))


def test_groups_must_divide_channels() -> None:
    builder, x = fed((1, 3, 5, 5))
    with pytest.raises(ModelError, match="2 groups do not divide 3 channels"):
        convolution(builder, "op", x, square(3), Filters(4, groups=2))
