"""Kinds of mixtures and of latent attention: shapes, gradients, and cuts that need no sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from map_execution import assert_backward_is_the_derivative

from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import (
    LatentInputs,
    LinearShape,
    Routing,
    combine,
    dispatch,
    linear,
    rotary_keys,
    route,
)
from flexsim.operator_graph.loads import Largest, Ramp, in_runs, lognormal_factors, with_load
from flexsim.strategy import Mesh, ParallelConfig
from flexsim.strategy.config import part_sizes
from flexsim.strategy.layout import write_layout

few = settings(max_examples=20, deadline=None)
SIZES = st.fixed_dictionaries({dim: st.integers(1, 3) for dim in "bshefk"})
SEEDS = st.integers(0, 2**32 - 1)


def mixture(sizes: dict[str, int], factor: float = 1.0) -> OperatorGraph:
    """Return routing, dispatch, one product an expert with bias, and combination."""
    builder = GraphBuilder("test")
    routing = Routing(sizes["e"], sizes["k"], factor)
    logits = builder.input("logits", (sizes["b"], sizes["s"], sizes["e"]), 4)
    x = builder.input("x", (sizes["b"], sizes["s"], sizes["h"]), 2)
    gates, numbers = route(builder, "route", logits, routing)
    sent = dispatch(builder, "dispatch", x, numbers, routing)
    inner = {"s": builder.shape(sent)[2], "out": sizes["h"]}
    shape = LinearShape(("e", "b", "s"), (("h",),), {"": (("out",),)}, sizes | inner, stack=("e",))
    (made,) = linear(builder, "expert", sent, shape)
    combine(builder, "combine", made, gates, routing)
    return builder.build(sizes["b"], sizes["s"])


@few
@given(SIZES, SEEDS)
def test_experts_have_a_weight_and_a_bias_each(sizes: dict[str, int], seed: int) -> None:
    graph = mixture(sizes)
    assert graph.shape("expert.weight") == (sizes["e"], sizes["h"], sizes["h"])
    assert graph.shape("expert.bias") == (sizes["e"], sizes["h"])
    found = assert_backward_is_the_derivative(graph, "expert", {}, seed)
    assert found == {"dispatch.out", "expert.weight", "expert.bias"}


@few
@given(SIZES, SEEDS)
def test_dispatch_and_combine_hand_their_gradients_on(sizes: dict[str, int], seed: int) -> None:
    graph = mixture(sizes)
    assert assert_backward_is_the_derivative(graph, "dispatch", {}, seed) == {"x"}
    found = assert_backward_is_the_derivative(graph, "combine", {}, seed)
    assert found == {"expert.out", "route.gates"}


@few
@given(SIZES, SEEDS)
def test_keys_of_all_heads_share_a_rotated_part(sizes: dict[str, int], seed: int) -> None:
    b, s, g = sizes["b"], sizes["s"], sizes["e"]
    own, shared = sizes["h"], sizes["f"]
    dims = {"b": b, "s": s, "g": g, "r": 2, "n": own, "p": shared, "d": own + shared}
    builder = GraphBuilder("test")
    q = builder.input("q", (b, s, 2 * g, own + shared), 2)
    k = builder.input("k", (b, s, g, own), 2)
    rotary = builder.input("shared", (b, s, shared), 2)
    rotary_keys(builder, "rotary", LatentInputs(q, k, rotary), dims)
    graph = builder.build(b, s)
    assert graph.shape("rotary.k.out") == (b, s, g, own + shared)
    found = assert_backward_is_the_derivative(graph, "rotary", {}, seed)
    assert found == {"q", "k", "shared"}


@pytest.mark.parametrize(
    ("experts", "chosen", "factor", "slots"),
    [(8, 2, 1.0, 1024), (256, 8, 1.0, 128), (128, 1, 1.25, 40), (3, 1, 1.0, 1366), (1, 1, 1, 4096)],
)
def test_slots_are_the_even_share_times_the_capacity(
    experts: int, chosen: int, factor: float, slots: int
) -> None:
    assert Routing(experts, chosen, factor).num_slots(4096) == slots


def test_slots_filled_by_their_own_positions_are_no_partial_sums() -> None:
    graph = mixture({"b": 4, "s": 8, "h": 2, "e": 4, "f": 1, "k": 2})
    mesh = Mesh(("data", "context"), np.arange(4).reshape(2, 2))
    config = ParallelConfig.of(mesh, {"b": ("data",), "s": ("context",)})
    for name in ("dispatch", "combine"):
        operator = graph.by_name[name]
        for step in operator.steps:
            for m in step.maps:
                layout = write_layout(operator, config, m)
                assert not layout.partial
                assert layout.split_axes == {"data", "context"}


def test_a_load_scales_the_even_share_of_a_part_by_its_fullest_index() -> None:
    graph = mixture({"b": 2, "s": 8, "h": 2, "e": 4, "f": 1, "k": 2})
    loaded = with_load(
        graph, "s", Largest("e", (0.5, 1.5, 1.25, 0.75)), lambda op: op.name == "expert"
    )
    operator = loaded.by_name["expert"]
    mesh = Mesh(("expert",), np.arange(2))
    parts = part_sizes(operator, ParallelConfig.of(mesh, {"e": ("expert",)}))
    slots = [parts.boxes[box]["s"] for box in parts.box_of_part]
    assert slots == [6, 5], "4 slots x 1.5, and 4 x 1.25"
    assert part_sizes(operator, ParallelConfig.of(mesh, {})).boxes[0]["s"] == 6


def test_late_positions_see_more_keys() -> None:
    """Causal work of part k of n: (2k + 1) / n of the mean; all parts together have the whole."""
    from flexsim.models import build_model, model_config

    sizes = {"layers": 1, "hidden": 16, "heads": 4, "sequence": 32, "vocabulary": 32}
    graph = build_model(model_config("llama", None, **sizes), 1)
    operator = in_runs(graph).by_name["layer0.attention"]
    assert next(d.load for d in operator.dims if d.name == "kv") == Ramp("s")
    config = ParallelConfig.of(Mesh(("context",), np.arange(4)), {"s": ("context",)})
    parts = part_sizes(operator, config)
    keys = [parts.boxes[box]["kv"] for box in parts.box_of_part]
    assert keys == [8, 24, 40, 56]
    assert sum(keys) == 4 * 32
    even = replace(operator, dims=graph.by_name["layer0.attention"].dims)
    assert [box["kv"] for box in part_sizes(even, config).boxes] == [32]


def test_only_kernels_that_skip_what_is_masked_have_a_ramp() -> None:
    from flexsim.models import build_model, model_config

    sizes = {"layers": 1, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}
    for family, attention in (("gpt", "unfused"), ("bert", "flash")):
        graph = build_model(model_config(family, None, attention=attention, **sizes), 1)
        assert all(dim.load is None for op in in_runs(graph).operators for dim in op.dims)


@few
@given(st.integers(1, 64), st.floats(0, 2), st.floats(0, 2), st.integers(0, 99))
def test_the_largest_load_grows_with_the_variation(n: int, a: float, b: float, seed: int) -> None:
    low, high = sorted((a, b))
    few_, many = (lognormal_factors(n, v, seed) for v in (low, high))
    assert sum(many) == pytest.approx(n)
    assert max(many) >= max(few_) * (1 - 1e-9)
    assert lognormal_factors(n, 0.0, seed) == pytest.approx((1.0,) * n)
    assert lognormal_factors(n, high, seed) == many
