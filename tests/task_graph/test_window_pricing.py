"""A convolution is priced as the product that it implies, and moves its image once."""

from __future__ import annotations

import pytest

from flexsim.operator_graph import GraphBuilder, Operator, OperatorGraph
from flexsim.operator_graph.kinds import (
    CellShape,
    Filters,
    convolution,
    lstm_cell,
    max_pool,
    square,
)
from flexsim.strategy import ParallelConfig
from flexsim.strategy.config import part_sizes
from flexsim.task_graph.pricing import work_of


def conv(groups: int = 1, stride: int = 1) -> tuple[OperatorGraph, Operator]:
    builder = GraphBuilder("test", "fp32")
    x = builder.input("x", (2, 8, 16, 16), 4)
    convolution(builder, "op", x, square(3, stride, 1), Filters(12, groups))
    graph = builder.build(2, 1)
    return graph, graph.operators[0]


@pytest.mark.parametrize(
    ("stride", "wanted"),
    [
        (1, [(1, 512, 12, 72), (1, 512, 8, 108), (1, 72, 12, 512)]),
        (2, [(1, 128, 12, 72), (1, 512, 8, 108), (1, 72, 12, 128)]),
    ],
)
def test_sides_of_the_implied_products(stride: int, wanted: list[tuple[int, ...]]) -> None:
    """Forward b·h·w by o by c·3·3; input gradient b·p·q by c by o·3·3; weights c·3·3 by o."""
    graph, operator = conv(stride=stride)
    works = [work_of(graph, step, operator.sizes) for step in operator.steps]
    assert [work.matmul for work in works] == wanted
    assert len({work.flops for work in works}) == 1
    assert works[0].flops == 2 * 2 * (16 // stride) ** 2 * 12 * 8 * 9


def test_groups_are_a_batch_of_products() -> None:
    graph, operator = conv(groups=4)
    works = [work_of(graph, step, operator.sizes) for step in operator.steps]
    assert [work.matmul for work in works] == [(4, 512, 3, 18), (4, 512, 2, 27), (4, 18, 3, 512)]


def test_the_image_is_moved_once_with_its_halo() -> None:
    graph, operator = conv()
    config = ParallelConfig.from_degrees({"h": 4}, range(4))
    (box,) = part_sizes(operator, config).boxes
    work = work_of(graph, operator.forward[0], box)
    image, weight, result = 2 * 8 * (4 + 2) * 16, 12 * 8 * 9, 2 * 12 * 4 * 16
    assert work.num_bytes == 4 * (image + weight + result)


def test_pooling_is_bound_by_memory() -> None:
    builder = GraphBuilder("test", "fp32")
    max_pool(builder, "op", builder.input("x", (2, 8, 16, 16), 4), square(2, 2))
    graph = builder.build(2, 1)
    forward, backward = (
        work_of(graph, s, graph.operators[0].sizes) for s in graph.operators[0].steps
    )
    assert forward.matmul is None
    assert forward.num_bytes == 4 * 2 * 8 * (256 + 64)
    assert backward.num_bytes == 4 * 2 * 8 * (256 + 256 + 64 + 64)


def test_the_products_of_an_lstm_are_one_kernel() -> None:
    builder = GraphBuilder("test", "fp32")
    x = builder.input("x", (4, 1, 6), 4)
    shape = CellShape(4, 6, 8, "cell")
    first = lstm_cell(builder, "first", x, None, shape)
    lstm_cell(builder, "second", x, first, shape)
    graph = builder.build(4, 1)
    product = work_of(graph, graph.by_name["second"].forward[0], graph.by_name["second"].sizes)
    assert product.matmul == (1, 4, 4 * 8, 6 + 8)
    assert product.flops == 2 * 4 * 4 * 8 * (6 + 8)
