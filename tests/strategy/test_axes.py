"""Axes of samples, positions and experts: their sizes, their order, what they cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.errors import StrategyError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.strategy import Degrees, megatron
from flexsim.strategy.axes import Replicas, completed_order
from flexsim.strategy.baselines import ranks_of_devices
from flexsim.strategy.config import ParallelConfig

SMALL = {"layers": 2, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32, "experts": 4}


def mixtral(sequences: int = 4, **sizes: object) -> OperatorGraph:
    return build_model(model_config("mixtral", None, **(SMALL | sizes)), sequences)


def config_of(name: str, **degrees: object) -> ParallelConfig:
    found = Degrees(**degrees)  # type: ignore[arg-type]
    return megatron(mixtral(found.data), found).configs[name]


@pytest.mark.parametrize(
    ("replicas", "axes"),
    [
        (Replicas(), {"data": 1}),
        (Replicas(4), {"data": 4}),
        (Replicas(4, 2), {"data": 4, "context": 2}),
        (Replicas(8, 1, 4), {"data": 2, "expert": 4}),
        (Replicas(4, 1, 4), {"data": 1, "expert": 4}),
        (Replicas(2, 4, 2), {"data": 1, "expert": 2, "context": 4}),
        (Replicas(2, 4, 4), {"data": 1, "expert": 2, "context": 2, "context.expert": 2}),
        (Replicas(1, 4, 4), {"data": 1, "context.expert": 4}),
        (Replicas(8, 1, 1, 2), {"data.replica": 4, "data.shard": 2}),
    ],
)
def test_experts_take_their_axis_from_data_and_then_context(
    replicas: Replicas, axes: dict[str, int]
) -> None:
    replicas.check()
    kept = {name: size for name, size in replicas.axes if size > 1 or name == "data"}
    assert {name: size for name, size in kept.items() if name in axes} == kept
    assert {name: size for name, size in axes.items() if size > 1 or name == "data"} == kept


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 24))
def test_axes_multiply_to_the_replicas_or_are_refused(data: int, context: int, expert: int) -> None:
    replicas = Replicas(data, context, expert)
    try:
        replicas.check()
    except StrategyError as problem:
        choices = [int(n) for n in str(problem).rpartition("choose from ")[2].split(", ")]
        assert 1 in choices
        assert data in choices
        assert expert not in choices
        return
    assert np.prod([size for _, size in replicas.axes]) == data * context
    assert replicas.expert_of_data * replicas.expert_of_context == expert


def test_context_varies_faster_than_experts_and_these_faster_than_data() -> None:
    """Megatron-Core's order: tensor, context, expert, data, pipeline."""
    order = completed_order(["tensor", "data", "pipeline"], Replicas(4, 2, 2))
    assert order == ["tensor", "context", "expert", "data", "pipeline"]
    named = completed_order(["context", "tensor", "data", "pipeline"], Replicas(4, 2, 2))
    assert named == ["context", "tensor", "expert", "data", "pipeline"]


def test_devices_stand_in_that_order() -> None:
    degrees = Degrees(tensor=2, context=2, data=4, expert=2, pipeline=2)
    devices = ranks_of_devices(degrees).reshape(2, 2, 2, 2, 2)
    along = [devices[1, 0, 0, 0, 0], devices[0, 1, 0, 0, 0], devices[0, 0, 1, 0, 0]]
    assert [*along, devices[0, 0, 0, 1, 0], devices[0, 0, 0, 0, 1]] == [16, 8, 4, 2, 1]


def test_an_order_may_name_context_and_experts() -> None:
    degrees = Degrees(context=2, data=4, expert=2, order="expert,context,data,tensor,pipeline")
    devices = ranks_of_devices(degrees).reshape(2, 2, 2)
    assert [devices[1, 0, 0], devices[0, 1, 0], devices[0, 0, 1]] == [4, 1, 2]


def test_positions_of_all_operators_are_cut_by_context() -> None:
    graph = mixtral(2)
    strategy = megatron(graph, Degrees(data=2, context=4))
    for op in graph.operators:
        if "s" in op.sizes:
            assert strategy.configs[op.name].axes("s") == ("context",), op.name


def test_experts_are_cut_instead_of_samples() -> None:
    splits = config_of("layer0.expert_down", data=4, expert=2, context=2)
    assert splits.axes("e") == ("expert",)
    assert splits.axes("b") == ("data",)
    assert splits.axes("s") == ("context",)
    routed = config_of("layer0.dispatch", data=4, expert=2, context=2)
    assert routed.axes("b") == ("data", "expert")
    assert routed.axes("e") == ()


def test_experts_beyond_the_samples_are_cut_instead_of_positions() -> None:
    splits = config_of("layer0.expert_down", data=2, expert=4, context=4)
    assert splits.axes("e") == ("expert", "context.expert")
    assert splits.axes("b") == ()
    assert splits.axes("s") == ("context",)


def test_ulysses_cuts_heads_in_attention_only() -> None:
    inside = config_of("layer0.attention", context=4, context_method="ulysses")
    assert (inside.axes("g"), inside.axes("s")) == (("context",), ())
    outside = config_of("layer0.rotary", context=4, context_method="ulysses")
    assert (outside.axes("g"), outside.axes("s")) == ((), ("context",))


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ({"context": 3}, "strategy.context = 3 does not divide the 8 positions"),
        ({"data": 3, "expert": 3}, "strategy.expert = 3 does not divide the 4 experts"),
        ({"data": 4, "expert": 8}, "choose from 1, 2, 4"),
        ({"data": 4, "expert": 2, "shard": 2}, "does not go with strategy.expert"),
        ({"context": 8, "data": 1}, "more than the 4 slots that an expert"),
        ({"context": 2, "context_method": "rnig"}, "did you mean 'ring'"),
        ({"context": 4, "tensor": 2, "context_method": "ulysses"}, "leave 2 key heads each"),
    ],
)
def test_wrong_degrees_are_told(degrees: dict[str, object], message: str) -> None:
    found = Degrees(**degrees)  # type: ignore[arg-type]
    with pytest.raises(StrategyError, match=message):
        megatron(mixtral(found.data), found)


@pytest.mark.parametrize(("family", "key"), [("gpt", "expert"), ("mlp", "context")])
def test_a_degree_without_meaning_is_told(family: str, key: str) -> None:
    sizes = {k: v for k, v in SMALL.items() if k != "experts"}
    if family == "mlp":
        sizes = {"layers": 2, "hidden": 16}
    graph = build_model(model_config(family, None, **sizes), 2)
    with pytest.raises(StrategyError, match="has no meaning"):
        megatron(graph, Degrees(**({"data": 2} if key == "expert" else {}), **{key: 2}))  # type: ignore[arg-type]


def test_ring_attention_needs_a_kernel_that_works_on_blocks() -> None:
    graph = mixtral(1, attention="unfused")
    with pytest.raises(StrategyError, match=r"choose 'all-gather', or model\.attention"):
        megatron(graph, Degrees(context=2, context_method="ring"))
