"""Repeated blocks: copies are what writing each block would have given."""

from __future__ import annotations

from dataclasses import fields

import pytest

from flexsim.models import build_model, model_config
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import LinearShape, linear
from flexsim.operator_graph.records import Operator
from flexsim.operator_graph.repeat import repeat

SIZES = {"layers": 3, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}
WIDTH = {"b": 4, "h": 8, "o": 8}
DERIVED = ("sizes", "leaders", "inputs", "outputs", "passed_on", "upstream", "flops_by_pass")


def one_by_one(builder: GraphBuilder, blocks, write, x: str) -> str:  # type: ignore[no-untyped-def]
    for block in blocks:
        with builder.block(block):
            x = write(x)
    return x


def told(operator: Operator) -> list[object]:
    """Return every field of an operator and all that is derived from it or its steps."""
    own = [getattr(operator, field.name) for field in fields(operator)]
    derived = [getattr(operator, name) for name in DERIVED]
    steps = [(s.reads, s.writes, s.signature, s.key) for s in operator.steps]
    maps = [(m.uses, m.dims, m.summed_dims) for s in operator.steps for m in s.maps]
    return [own, derived, steps, maps, operator.key]


@pytest.mark.parametrize("family", ["gpt", "bert", "llama", "palm", "gopher"])
@pytest.mark.parametrize("embedding_and_head", [True, False])
def test_copied_layers_are_the_written_ones(
    family: str, embedding_and_head: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = model_config(family, None, **SIZES, embedding_and_head=embedding_and_head)
    copied = build_model(config, 2)
    monkeypatch.setattr("flexsim.models.transformer.repeat", one_by_one)
    written = build_model(config, 2)
    assert list(map(told, copied.operators)) == list(map(told, written.operators))
    assert list(copied.tensors.items()) == list(written.tensors.items())
    assert list(copied.weights.items()) == list(written.weights.items())


def chain(weight: str) -> OperatorGraph:
    """Three products in a row; each declares what it needs for itself."""
    builder = GraphBuilder("chain")
    x = builder.input("x", (4, 8), 2)
    shape = LinearShape(("b",), (("h",),), {"": (("o",),)}, WIDTH, False, weight)
    repeat(builder, ["one", "two", "three"], lambda x: linear(builder, "linear", x, shape)[0], x)
    return builder.build(4, 1)


def test_a_weight_outside_the_block_is_shared() -> None:
    """It is declared by the first block under a name that is not the block's own."""
    graph = chain("table")
    assert list(graph.weights) == ["table"]
    assert len(graph.readers["table"]) == 3


def test_every_block_reads_the_result_of_the_one_before() -> None:
    graph = chain("")
    assert [op.inputs[0] for op in graph.operators] == ["x", "one.linear.out", "two.linear.out"]
    assert list(graph.weights) == [f"{name}.linear.weight" for name in ("one", "two", "three")]
