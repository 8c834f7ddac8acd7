"""Any cut of any operator of image, recurrent and recommender networks replays in full."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, counted, one_ns, record, software
from test_any_strategy import Flat, any_strategy

from flexsim.cost.costs import Costs
from flexsim.engine.event import simulate
from flexsim.errors import StrategyError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import Filters, convolution, mean_loss, square
from flexsim.strategy import Degrees, ParallelConfig, Strategy, data, megatron
from flexsim.task_graph.build import build_task_graph

RECURRENT = {"layers": 1, "hidden": 4, "sequence": 3, "vocabulary": 8}
NETWORKS: dict[str, dict[str, object]] = {
    "lenet": {},
    "alexnet": {"image": 96, "classes": 8},
    "unet": {"image": 188, "hidden": 4},
    "resnext": {"layers": 50, "image": 64, "classes": 8},
    "inception": {"image": 107, "classes": 8},
    "vit": {"layers": 1, "hidden": 8, "heads": 4, "image": 32, "patch": 8, "classes": 8},
    "rnnlm": RECURRENT,
    "rnntc": RECURRENT,
    "nmt": RECURRENT,
    "dlrm": {"tables": 3, "vocabulary": 16},
    "xdl": {"tables": 2, "vocabulary": 16},
    "candle-uno": {"hidden": 8},
}
SMALL = [name for name in NETWORKS if name not in ("resnext", "inception", "unet")]


@cache
def network(name: str) -> OperatorGraph:
    return build_model(model_config(name, None, **NETWORKS[name]), 8, "fp32")


def replay(name: str, seed: int) -> None:
    graph = network(name)
    strategy = any_strategy(graph, random.Random(seed))
    costs = Costs(one_ns, Flat(), software())
    tasks = build_task_graph(graph, strategy, cluster(), costs, False)
    assert simulate(tasks).makespan_ns > 0
    assert tasks.hardware_flops >= graph.flops * strategy.num_microbatches


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(SMALL), seed=st.integers(0, 10**6))
def test_any_strategy_replays_and_leaves_out_no_work(name: str, seed: int) -> None:
    replay(name, seed)


@pytest.mark.parametrize("name", ["resnext", "inception", "unet"])
def test_any_strategy_of_a_large_network_replays(name: str) -> None:
    replay(name, seed=7)


@pytest.mark.parametrize("name", NETWORKS)
def test_data_parallelism_sums_each_weight_once_and_moves_nothing_else(name: str) -> None:
    graph = network(name)
    found = record(graph, data(graph, Degrees(data=4)))
    assert len(found.of("U", stream="gradient")) == len(graph.weights)
    assert not found.of("F")
    assert not found.of("B")


@pytest.mark.parametrize("name", ["lenet", "inception", "rnnlm"])
def test_tensor_parallelism_of_what_it_cannot_cut_is_refused(name: str) -> None:
    graph = network(name)
    with pytest.raises(StrategyError, match=r"strategy\.tensor = 2 has no meaning"):
        megatron(graph, Degrees(tensor=2))


def two_convolutions() -> OperatorGraph:
    builder = GraphBuilder("test", "fp32")
    x = builder.input("images", (2, 3, 8, 8), 4)
    for name, channels in (("first", 4), ("second", 6)):
        filters = Filters(channels, constant_input=x == "images")
        x = convolution(builder, name, x, square(3, 1, 1), filters)
    mean_loss(
        builder, "loss", x, {"b": 2, "c": 6, "h": 8, "w": 8}, (("b",), ("c",), ("h",), ("w",))
    )
    return builder.build(2, 1)


def cut(graph: OperatorGraph, **degrees: int) -> Strategy:
    config = ParallelConfig.from_degrees(degrees, range(4))
    return Strategy("cut", dict.fromkeys(graph.by_name, config), gradient_norm=False)


ROW = 2 * 8 * 4
"""Bytes of one row of both samples in one channel."""


def test_rows_exchange_halos_forward_and_gradients_of_halos_backward() -> None:
    """Kernels of three: one row to each neighbour; weights sum over all rows' parts."""
    graph = two_convolutions()
    found = record(graph, cut(graph, h=4))
    neighbours = ((0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2))
    (forward,), (backward,) = found.of("F"), found.of("B")
    assert (forward.name, forward.num_bytes, forward.devices) == ("transfer", 4 * ROW, neighbours)
    assert (backward.name, backward.num_bytes) == ("transfer", 6 * ROW)
    assert backward.devices == neighbours
    assert [m.name for m in found.of("U", stream="gradient")] == ["all-reduce"] * 2


def test_output_channels_gather_forward_and_sum_backward() -> None:
    """What is read whole is saved in parts, and gathered again for the weight gradient."""
    graph = two_convolutions()
    loss = ParallelConfig.from_degrees({"c": 4}, range(4))
    configs = dict.fromkeys(graph.by_name, ParallelConfig.from_degrees({"o": 4}, range(4)))
    found = record(graph, Strategy("cut", configs | {"loss": loss}, gradient_norm=False))
    assert ("all-gather", 2 * 4 * 8 * 8 * 4) in counted(found.of("F"))
    assert [m.name for m in found.of("B")] == ["all-gather", "reduce-scatter"]
    assert not found.of("U", stream="gradient")


def test_inputs_and_states_cut_leave_partial_gates_that_are_summed_once() -> None:
    """Both products of a cell are shares of one sum, whichever devices made them."""
    sizes = {"layers": 1, "hidden": 8, "sequence": 2, "vocabulary": 6}
    graph = build_model(model_config("rnnlm", None, **sizes), 8, "fp32")
    configs = {op.name: ParallelConfig.from_degrees({"b": 4}, range(4)) for op in graph.operators}
    configs["layer0.step0"] = ParallelConfig.from_degrees({"i": 4}, range(4))
    configs["layer0.step1"] = ParallelConfig.from_degrees({"i": 2, "m": 2}, range(4))
    found = record(graph, Strategy("reduced", configs)).of("F", block="layer0")
    gates = 8 * 4 * 8 * 4
    sums = [m for m in found if m.name == "all-reduce"]
    assert [(m.operator, m.num_bytes, m.devices) for m in sums] == [
        (f"layer0.step{step}", gates, ((0, 1, 2, 3),)) for step in range(2)
    ]
