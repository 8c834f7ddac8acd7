"""Which communication published schemes lead to: kinds, numbers, bytes and groups.

Shapes: b sequences a replica, s positions, h hidden, v words, 2 bytes an element; t, d and c are
the tensor, data and context degrees.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from program_record import SHAPE, Recorded, counted, model, record, recorded

from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.strategy import Mesh, ParallelConfig, Strategy

S, H, V = SHAPE["sequence"], SHAPE["hidden"], SHAPE["vocabulary"]
Splits = dict[str, tuple[str, ...]]


def on_mesh(graph: OperatorGraph, mesh: Mesh, rule: dict[str, Splits], rest: Splits) -> Strategy:
    """Return a strategy of configs: ``rule`` by an operator's last name, ``rest`` for others."""

    def config(op: Operator) -> ParallelConfig:
        splits = rule.get(op.name.split(".")[-1], rest)
        return ParallelConfig.of(mesh, {d: a for d, a in splits.items() if d in op.sizes})

    return Strategy("custom", {op.name: config(op) for op in graph.operators})


def groups_of(messages: Recorded, action: str) -> set[tuple[tuple[int, ...], ...]]:
    return {m.devices for m in messages.of(action)}


def synchronized(found: Recorded) -> Counter[int]:
    """Count the synchronizations of weights by their bytes."""
    return Counter(m.num_bytes for m in found.of("U", stream="gradient"))


def weight_bytes(graph: OperatorGraph) -> Counter[int]:
    return Counter(2 * w.num_parameters for w in graph.weights.values())


@pytest.mark.parametrize("family", ["gpt", "llama", "bert"])
@pytest.mark.parametrize("degree", [2, 8])
def test_data_parallel_synchronizes_every_weight_once(family: str, degree: int) -> None:
    """A tied embedding on one stage is one weight."""
    graph = model(family, sequences=degree)
    found = recorded(graph, data=degree)
    assert not found.of("F")
    assert not found.of("B")
    assert synchronized(found) == weight_bytes(graph)
    assert {m.name for m in found.of("U")} == {"all-reduce"}
    assert groups_of(found, "U") == {(tuple(range(degree)),)}


def test_one_device_communicates_nothing() -> None:
    assert recorded(model()).messages == []


@pytest.mark.parametrize(("tensor", "data"), [(2, 1), (4, 1), (2, 4), (4, 2)])
@pytest.mark.parametrize("family", ["gpt", "bert", "llama"])
def test_tensor_parallel_layer_has_two_all_reduces_a_pass(
    family: str, tensor: int, data: int
) -> None:
    """Shoeybi et al. 2019, section 3: of b s h elements each."""
    b = 3
    found = recorded(model(family, b * data, layers=3), tensor=tensor, data=data)
    layer = Counter({("all-reduce", 2 * b * S * H): 2})
    for action in "FB":
        assert counted(found.of(action, "layer1")) == layer
        for message in found.of(action, "layer1"):
            assert message.stream == "tensor"
            assert message.devices == tuple(
                tuple(range(i * tensor, (i + 1) * tensor)) for i in range(data)
            )


@pytest.mark.parametrize(("tensor", "data"), [(2, 1), (4, 2)])
def test_split_vocabulary_needs_three_small_all_reduces(tensor: int, data: int) -> None:
    """Maximum, the label's logit and the sum: [b, s] in fp32; none in the backward."""
    found = recorded(model("gpt", 3 * data), tensor=tensor, data=data)
    loss = [m for m in found.messages if m.operator == "loss"]
    assert [(m.action, *m.what) for m in loss] == [("F", "all-reduce", 4 * 3 * S)] * 3


def test_tensor_parallel_weights_are_synchronized_in_shards() -> None:
    """Linear weights and the vocabulary are cut t times, norms and row biases are whole."""
    graph = model("gpt", 2)
    found = recorded(graph, tensor=4, data=2)
    cut = ("qkv.", "fc1.", "projection.weight", "fc2.weight", "word_embedding")
    expected = Counter(
        2 * w.num_parameters // (4 if any(c in w.name for c in cut) else 1)
        for w in graph.weights.values()
    )
    assert synchronized(found) == expected
    assert groups_of(found, "U") == {
        ((0, 4), (1, 5), (2, 6), (3, 7)),
        (tuple(range(8)),),
    }, "data groups, and everyone for the gradient norm"


@pytest.mark.parametrize("family", ["gpt", "llama"])
@pytest.mark.parametrize(("tensor", "data"), [(2, 1), (4, 2)])
def test_sequence_parallel_layer(family: str, tensor: int, data: int) -> None:
    """Korthikanti et al. 2022, section 4.2.2: pairs of the same bytes; two gathers are repeated."""
    b = 3
    found = recorded(
        model(family, b * data, layers=3), tensor=tensor, data=data, sequence_parallel=True
    )
    size = 2 * b * S * H
    gather, scatter = ("all-gather", size), ("reduce-scatter", size)
    assert counted(found.of("F", "layer1")) == {gather: 2, scatter: 2}
    assert counted(found.of("B", "layer1")) == {gather: 4, scatter: 2}


def test_sequence_parallel_norms_also_sum_over_the_tensor_axis() -> None:
    graph = model("gpt", 2)
    found = recorded(graph, tensor=2, data=2, sequence_parallel=True)
    wide = [m for m in found.of("U", stream="gradient") if m.devices == ((0, 1, 2, 3),)]
    norms = [w for w in graph.weights.values() if "norm" in w.name]
    assert len(norms) == 10
    assert Counter(m.num_bytes for m in wide) == Counter(2 * w.num_parameters for w in norms)


@pytest.mark.parametrize("family", ["gpt", "llama"])
def test_context_parallel_gathers_keys_and_values_only(family: str) -> None:
    """The degree c stands on s of every operator."""
    graph = model(family, 4, layers=3, attention="unfused")
    mesh = Mesh(("data", "context"), np.arange(8).reshape(2, 4))
    found = record(graph, on_mesh(graph, mesh, {}, {"b": ("data",), "s": ("context",)}))
    size = 2 * 2 * S * H
    gather, scatter = ("all-gather", size), ("reduce-scatter", size)
    assert counted(found.of("F", "layer1")) == {gather: 2}
    assert counted(found.of("B", "layer1")) == {gather: 2, scatter: 2}
    assert {m.stream for m in found.of("F") + found.of("B")} == {"context"}
    assert groups_of(found, "F") == {((0, 1, 2, 3), (4, 5, 6, 7))}


def test_context_parallel_keeps_shards_of_keys_and_values() -> None:
    graph = model("gpt", 2)
    mesh = Mesh(("context",), np.arange(4))
    found = record(graph, on_mesh(graph, mesh, {}, {"s": ("context",)}))
    layouts = found.program.saved_on(0)
    assert layouts["layer0.qkv.k.out"].axes == ((), ("context",), (), ())
    assert layouts["layer0.qkv.v.out"].axes == ((), ("context",), (), ())


def test_context_parallel_weights_sum_over_data_and_context() -> None:
    graph = model("llama", 4, attention="unfused")
    mesh = Mesh(("data", "context"), np.arange(8).reshape(2, 4))
    found = record(graph, on_mesh(graph, mesh, {}, {"b": ("data",), "s": ("context",)}))
    assert synchronized(found) == weight_bytes(graph)
    assert groups_of(found, "U") == {(tuple(range(8)),)}


def test_flash_attention_under_context_parallelism() -> None:
    """One kernel reads keys and values: the same gathers and reduce-scatters."""
    graph = model("gpt", 2, layers=3, attention="flash")
    mesh = Mesh(("context",), np.arange(4))
    found = record(graph, on_mesh(graph, mesh, {}, {"s": ("context",)}))
    size = 2 * 2 * S * H
    gather, scatter = ("all-gather", size), ("reduce-scatter", size)
    assert counted(found.of("F", "layer1")) == {gather: 2}
    assert counted(found.of("B", "layer1")) == {gather: 2, scatter: 2}


def test_ulysses_layer_has_four_all_to_alls_a_pass() -> None:
    """Jacobs et al. 2023 (arXiv 2309.14509): sequence cut outside attention, heads inside."""
    graph = model("gpt", 4, layers=3)
    mesh = Mesh(("data", "context"), np.arange(8).reshape(2, 4))
    inside: Splits = {"b": ("data",), "g": ("context",)}
    core = ("scores", "softmax", "dropout", "context")
    rule = {f"attention_{name}": inside for name in core}
    outside: Splits = {"b": ("data",), "s": ("context",)}
    found = record(graph, on_mesh(graph, mesh, rule, outside))
    message = ("all-to-all", 2 * 2 * S * H // 4)
    assert counted(found.of("F", "layer1")) == {message: 4}
    assert counted(found.of("B", "layer1")) == {message: 4}
    assert groups_of(found, "B") == {((0, 1, 2, 3), (4, 5, 6, 7))}


@pytest.mark.parametrize("tensor", [2, 4])
def test_palm_block_has_one_all_reduce_a_pass(tensor: int) -> None:
    """Attention and MLP side by side: partial sums of both are added first."""
    found = recorded(model("palm", 3, layers=3, kv_heads=4), tensor=tensor)
    layer = Counter({("all-reduce", 2 * 3 * S * H): 1})
    assert counted(found.of("F", "layer1")) == layer
    assert counted(found.of("B", "layer1")) == layer


@pytest.mark.parametrize(
    ("kv_heads", "groups"),
    [(1, ((0, 1, 2, 3),)), (2, ((0, 1), (2, 3)))],
)
@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_key_gradients_sum_over_the_repeats_of_their_group(
    kv_heads: int, groups: tuple[tuple[int, ...], ...], attention: str
) -> None:
    """Four ways of heads over fewer key heads: dK and dV of b s d elements a key head."""
    graph = model("llama", 3, layers=3, kv_heads=kv_heads, attention=attention)
    found = recorded(graph, tensor=4)
    whole = ("all-reduce", 2 * 3 * S * H)
    keys = ("all-reduce", 2 * 3 * S * H // 4)
    assert counted(found.of("F", "layer1")) == {whole: 2}
    assert counted(found.of("B", "layer1")) == {whole: 2, keys: 2}
    narrow = {m.devices for m in found.of("B", "layer1") if m.what == keys}
    assert narrow == {groups}


def test_key_weights_of_repeats_are_replicas() -> None:
    """Key projections lie whole on every repeat; their gradients need no sum there."""
    graph = model("llama", 2, kv_heads=2)
    found = recorded(graph, tensor=4)
    assert not found.of("U", stream="gradient")
    with_data = recorded(graph, tensor=4, data=2)
    pairs = ((0, 4), (1, 5), (2, 6), (3, 7))
    assert {m.devices for m in with_data.of("U", stream="gradient")} == {pairs}


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_the_order_of_axes_moves_groups_not_volumes(sequence_parallel: bool) -> None:
    graph = model("gpt", 4)
    tensor_first = recorded(graph, tensor=4, data=2, sequence_parallel=sequence_parallel)
    data_first = recorded(
        graph, tensor=4, data=2, sequence_parallel=sequence_parallel, order="data,tensor,pipeline"
    )
    for action in "FBU":
        assert counted(tensor_first.of(action)) == counted(data_first.of(action))
    assert groups_of(data_first, "F") == {((0, 2, 4, 6), (1, 3, 5, 7))}
