"""Unity's four parallelization operators are pairs of configs, not operators of the graph.

Two operators, a tensor between them, and a config each: what the edge implies is the operator
that Unity would put there, in the forward, and its adjoint in the backward.
"""

from __future__ import annotations

import pytest
from transformation_graphs import HIDDEN, SIZES, built, started

from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, add, linear
from flexsim.strategy import Mesh, ParallelConfig
from flexsim.strategy.layout import read_layout, write_layout
from flexsim.strategy.transition import Collective, TensorSize, transition

MESH = Mesh(("t",), [0, 1])
ONE = Mesh(("t",), [0])
WHOLE = ParallelConfig.of(MESH, {})
ALONE = ParallelConfig.of(ONE, {})
ROWS = ParallelConfig.of(MESH, {"s": ("t",)})
SUMMED = ParallelConfig.of(MESH, {"h": ("t",)})
NUM_BYTES = 2 * 4 * 4 * 4
"""Of the tensor between: 2 samples, 4 positions, 4 channels of 4 bytes."""

PAIRS = {
    "partition": (WHOLE, ROWS, [], ["all-gather"]),
    "combine": (ROWS, WHOLE, ["all-gather"], []),
    "replicate": (ALONE, WHOLE, ["Exchange"], ["Exchange"]),
    "reduce": (SUMMED, WHOLE, ["all-reduce"], []),
    "reduce and partition": (SUMMED, ROWS, ["reduce-scatter"], ["all-gather"]),
}
"""Configs of writer and reader; what happens to the tensor, and to its gradient on the way back."""


def two_linears() -> OperatorGraph:
    """Return a product that sums over h, and an add that reads what it writes."""
    builder, x = started()
    sizes = SIZES | {"s": 4, "f": 4}
    x = builder.input("long", (2, 4, 4), 4)
    shape = LinearShape(("b", "s"), (("h",),), {"": (("f",),)}, sizes, bias=False)
    (y,) = linear(builder, "writer", x, shape)
    add(builder, "reader", [y, x], HIDDEN, sizes)
    return built(builder)


def kinds(steps: tuple[object, ...]) -> list[str]:
    return [s.kind if isinstance(s, Collective) else type(s).__name__ for s in steps]


@pytest.mark.parametrize("name", PAIRS)
def test_each_of_unitys_operators_is_a_pair_of_configs(name: str) -> None:
    source, target, forward, backward = PAIRS[name]
    graph = two_linears()
    writer, reader = graph.by_name["writer"], graph.by_name["reader"]
    (m,) = writer.forward[0].maps
    read = next(u for u in reader.forward[0].reads if u.tensor == "writer.out")
    size = TensorSize(graph.shape("writer.out"), 4)
    written = write_layout(writer, source, m)
    needed = read_layout(reader, target, read)
    assert kinds(transition(written, needed, size)) == forward
    gradient = transition(needed, written.whole(), size)
    assert kinds(gradient) == backward
    assert len(graph.operators) == 2


def test_replicate_sums_gradients_where_the_copies_compute_different_shares() -> None:
    """Copies of a tensor whose readers work on different channels give partial gradients."""
    graph = two_linears()
    writer = graph.by_name["writer"]
    columns = ParallelConfig.of(MESH, {"f": ("t",)})
    back = next(step for step in writer.backward if step.pass_name == "I")
    partial = write_layout(writer, columns, back.maps[0])
    assert partial.partial_axes == {"t"}
    whole = read_layout(writer, columns, writer.forward[0].reads[0])
    assert kinds(transition(partial, whole, TensorSize((2, 4, 4), 4))) == ["all-reduce"]


@pytest.mark.parametrize("name", ["combine", "reduce"])
def test_bytes_are_those_of_the_whole_tensor(name: str) -> None:
    source, target, *_ = PAIRS[name]
    graph = two_linears()
    writer, reader = graph.by_name["writer"], graph.by_name["reader"]
    written = write_layout(writer, source, writer.forward[0].maps[0])
    needed = read_layout(reader, target, reader.forward[0].reads[0])
    (step,) = transition(written, needed, TensorSize((2, 4, 4), 4))
    assert isinstance(step, Collective)
    assert step.num_bytes == NUM_BYTES
