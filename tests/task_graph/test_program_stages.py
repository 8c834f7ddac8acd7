"""What crosses stage boundaries, what recomputation repeats, and how weights meet at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from program_record import (
    SHAPE,
    Recorded,
    Recorder,
    cluster,
    counted,
    model,
    one_ns,
    recorded,
    software,
)

from flexsim.cost.costs import Costs
from flexsim.strategy import Degrees, megatron
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.task_graph.rows import B
from flexsim.task_graph.update import write_update

S, H = SHAPE["sequence"], SHAPE["hidden"]
ROW = 2 * S * H
"""Bytes of [s, h]."""


def rows_of(found: Recorded, kind: str) -> list[str]:
    """Return the operators of the backward's compute rows of one kind."""
    graph = found.program.graph
    return [
        graph.operators[row.operator].name
        for row in found.program.notebook.rows
        if row.action == B and TASK_KINDS[row.kind] == kind and row.operator >= 0
    ]


@pytest.mark.parametrize("family", ["gpt", "llama", "palm"])
@pytest.mark.parametrize("tensor", [1, 2])
def test_a_boundary_is_crossed_by_bsh_both_ways(family: str, tensor: int) -> None:
    """Narayanan et al. 2021, section 3.2: b s h elements between each pair of devices."""
    b, data = 3, 2
    found = recorded(model(family, b * data), tensor=tensor, pipeline=2, data=data)
    size = tensor * data
    (there,) = found.of("F", stream="pipeline")
    (back,) = found.of("B", stream="pipeline")
    assert there.what == back.what == ("transfer", b * ROW)
    assert there.devices == tuple((i, i + size) for i in range(size))
    assert back.devices == tuple((i + size, i) for i in range(size))


@pytest.mark.parametrize("family", ["gpt", "llama", "palm"])
def test_scatter_gather_sends_a_share_and_gathers_it(family: str) -> None:
    """Narayanan et al. 2021, section 4.1: b s h / t, then an all-gather at the destination."""
    b, tensor = 3, 4
    plain = recorded(model(family, b), tensor=tensor, pipeline=2)
    found = recorded(model(family, b), tensor=tensor, pipeline=2, scatter_gather=True)
    for action in "FB":
        (sent,) = found.of(action, stream="pipeline")
        assert sent.what == ("transfer", b * ROW // tensor)
        more = counted(found.of(action, stream="tensor"))
        more.subtract(counted(plain.of(action, stream="tensor")))
        assert +more == Counter({("all-gather", b * ROW): 1})
        assert min(more.values()) == 0
    assert [m.stage for m in found.of("F") if m.name == "all-gather"] == [1]
    assert [m.stage for m in found.of("B") if m.name == "all-gather"] == [0]


def test_what_is_gathered_at_a_boundary_is_saved_whole() -> None:
    """Shares are a way of sending; a layer's input is kept as its norm reads it."""
    found = recorded(model(), tensor=4, pipeline=2, scatter_gather=True)
    assert found.program.saved_on(1)["layer0.mlp_residual.out"].axes == ((), (), ())


@pytest.mark.parametrize("scatter_gather", [False, True])
def test_sequence_parallelism_sends_shares_without_gathering(scatter_gather: bool) -> None:
    """Korthikanti et al. 2022, section 4.2.2: the layers' inputs are cut already."""
    b, tensor = 3, 4
    found = recorded(
        model("gpt", b, layers=4),
        tensor=tensor,
        pipeline=2,
        sequence_parallel=True,
        scatter_gather=scatter_gather,
    )
    gather, scatter = ("all-gather", b * ROW), ("reduce-scatter", b * ROW)
    for action in "FB":
        (sent,) = found.of(action, stream="pipeline")
        assert sent.what == ("transfer", b * ROW // tensor)
    assert counted(found.of("F", "layer2", "tensor")) == {gather: 2, scatter: 2}


def test_chunks_cross_between_all_stages() -> None:
    found = recorded(model(layers=4), pipeline=2, chunks=2, schedule="interleaved-1f1b")
    assert [(m.stage, m.devices) for m in found.of("F")] == [
        (0, ((0, 1),)),
        (1, ((1, 0),)),
        (2, ((0, 1),)),
    ]
    assert [(m.stage, m.devices) for m in found.of("B")] == [
        (3, ((1, 0),)),
        (2, ((0, 1),)),
        (1, ((1, 0),)),
    ]


def test_a_tied_embedding_on_two_stages_is_summed_between_them() -> None:
    """After its own synchronization on each: Megatron's embedding group."""
    graph = model("gpt", 4)
    found = recorded(graph, tensor=2, pipeline=2, data=2)
    table = 2 * graph.weights["word_embedding"].num_parameters // 2
    (tied,) = found.of("U", stream="embedding")
    assert tied.what == ("all-reduce", table)
    assert tied.devices == ((0, 4), (1, 5), (2, 6), (3, 7))
    own = [m for m in found.of("U", stream="gradient") if m.num_bytes == table]
    assert [m.devices for m in own] == [((4, 6), (5, 7)), ((0, 2), (1, 3))]


def test_an_untied_embedding_is_not() -> None:
    graph = model("gpt", 4, tied_embedding=False)
    assert not recorded(graph, tensor=2, pipeline=2, data=2).of("U", stream="embedding")


def test_an_embedding_tied_on_one_rank_is_one_weight() -> None:
    """Two chunks of one rank: both uses lie on one mesh."""
    found = recorded(model("gpt", 4), data=2, chunks=2, schedule="interleaved-1f1b")
    assert not found.of("U", stream="embedding")
    names = [part.name for part in found.parts]
    assert sorted(names) == sorted(found.program.graph.weights)


def test_the_gradient_norm_is_one_number_from_everyone() -> None:
    (norm,) = recorded(model("gpt", 2), pipeline=2, data=2).of("U", stream="gradient-norm")
    assert norm.what == ("all-reduce", 4)
    assert norm.devices == ((0, 1, 2, 3),)
    without = recorded(model("gpt", 2), pipeline=2, data=2, gradient_norm=False)
    assert not without.of("U", stream="gradient-norm")


def test_buckets_join_gradients_of_one_group() -> None:
    """Shards sum over data, with sequence parallelism whole norms over everyone: two buckets."""
    graph = model("gpt", 2)
    degrees = Degrees(tensor=2, data=2, sequence_parallel=True, gradient_norm=False)
    profile = replace(software(), gradient_bucket_bytes=10**12)
    costs = Costs(one_ns, Recorder(), profile)
    program = build_program(graph, megatron(graph, degrees), cluster(), costs)
    before = len(program.notebook.rows)
    parts = write_update(program, profile)
    joined = [row for row in program.notebook.rows[before:] if not row.is_compute]
    sizes = sorted(int(row.num_bytes[0]) for row in joined)
    wide = sum(2 * p.num_parameters for p in parts if "norm" in p.name)
    assert sizes == sorted([wide, sum(2 * p.num_parameters for p in parts) - wide])


def test_selective_recompute_repeats_the_attention_core_only() -> None:
    found = recorded(model(layers=2), tensor=2, recompute="selective")
    core = ("scores", "softmax", "dropout", "context")
    assert rows_of(found, "recompute") == [
        f"layer{i}.attention_{name}" for i in (1, 0) for name in core
    ]
    plain = recorded(model(layers=2), tensor=2)
    assert counted(found.of("B")) == counted(plain.of("B")), "the core needs no communication"


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_full_recompute_repeats_layers_with_their_communication(sequence_parallel: bool) -> None:
    """What the forward gathers is gathered again, and then at hand for the weight gradients."""
    graph = model("gpt", 3, layers=3)
    found = recorded(graph, tensor=2, recompute="full", sequence_parallel=sequence_parallel)
    layer = [op.name for op in graph.operators if op.block == "layer1"]
    assert [n for n in rows_of(found, "recompute") if n.startswith("layer1.")] == layer
    forward = counted(found.of("F", "layer1"))
    size = 3 * ROW
    gradients = (
        {("all-gather", size): 2, ("reduce-scatter", size): 2}
        if sequence_parallel
        else {("all-reduce", size): 2}
    )
    assert counted(found.of("B", "layer1")) == forward + Counter(gradients)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_every_operator_has_its_gradients_once(recompute: str) -> None:
    """One row a step of every operator's backward, and one sum a residual branch."""
    graph = model("gpt", 2)
    found = recorded(graph, tensor=2, recompute=recompute)
    steps = Counter(
        op.name
        for op in graph.operators
        for s in op.backward
        if s.pass_name == "W" and s.kernel != "alias"
    )
    assert Counter(rows_of(found, "weight-gradient")) == steps
    inputs = Counter(
        op.name
        for op in graph.operators
        for s in op.backward
        if s.pass_name == "I" and s.kernel != "alias"
    )
    sums = Counter(rows_of(found, "input-gradient")) - inputs
    readers_twice = [
        graph.writer[tensor]
        for tensor, names in graph.readers.items()
        if len(names) > 1 and tensor in graph.writer
    ]
    assert sums == Counter(readers_twice)


def test_flops_are_those_of_the_model_plus_what_is_repeated() -> None:
    graph = model("gpt", 4)
    forward = sum(op.flops("F") for op in graph.operators if op.block)
    for degrees in ({}, {"tensor": 4}, {"data": 2, "pipeline": 2, "tensor": 2}):
        plain = recorded(graph, **degrees).program.notebook.flops
        full = recorded(graph, **degrees, recompute="full").program.notebook.flops
        assert (plain, full) == (graph.flops, graph.flops + forward)


def test_transfers_go_between_twins_whatever_the_order_of_axes() -> None:
    found = recorded(model("gpt", 2), tensor=2, pipeline=2, data=2, order="pipeline,tensor,data")
    (there,) = found.of("F", stream="pipeline")
    assert there.devices == ((0, 1), (2, 3), (4, 5), (6, 7))
    groups = {m.devices for m in found.of("F", stream="tensor")}
    assert groups == {((0, 2), (4, 6)), ((1, 3), (5, 7))}


def test_rows_need_only_rows_before_them() -> None:
    found = recorded(model("gpt", 2), tensor=2, pipeline=2, recompute="selective")
    for index, row in enumerate(found.program.notebook.rows):
        assert all(need < index for need in row.needs)
        assert np.all(row.duration_ns >= 1)
