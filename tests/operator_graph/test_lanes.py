"""Copies of a model that share its weights, one for each direction of a pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.engine.table import load_engine
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.lanes import in_lanes
from flexsim.scenario.prepare import make_costs
from flexsim.strategy import BASELINES, Degrees
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.plan import Plan

GPUS = load_device_graph("dgx-a100", 1)
COSTS = make_costs(GPUS)
SIZES = {"layers": 4, "hidden": 256, "heads": 4, "sequence": 64, "vocabulary": 512}


def model(sequences: int = 1) -> OperatorGraph:
    return build_model(model_config("gpt", None, **SIZES), sequences, "fp16")


def plan_of(schedule: str, lanes: int, fold: bool = True, **degrees: int) -> Plan:
    values = Degrees(pipeline=4, num_microbatches=8, schedule=schedule, lanes=lanes, **degrees)
    graph = in_lanes(model(values.data), lanes)
    return plan_task_graph(graph, BASELINES["megatron"](graph, values), GPUS, COSTS, fold)


def test_copies_have_the_same_weights_and_tensors_of_their_own() -> None:
    one, two = model(), in_lanes(model(), 2)
    assert two.num_parameters == one.num_parameters
    assert len(two.operators) == 2 * len(one.operators)
    assert two.flops == 2 * one.flops
    assert set(two.tensors) == {*one.tensors, *(f"lane1.{name}" for name in one.tensors)}
    assert [op.key for op in two.operators[len(one.operators) :]] == [
        op.key for op in one.operators
    ]


def test_one_lane_is_the_model_itself() -> None:
    graph = model()
    assert in_lanes(graph, 1) is graph


@pytest.mark.parametrize("schedule", ["chimera", "dualpipe"])
def test_the_work_is_that_of_one_direction(schedule: str) -> None:
    both, one = plan_of(schedule, 2).task_graph(), plan_of("1f1b", 1).task_graph()
    for name in ("forward", "weight-gradient", "input-gradient"):
        code = TASK_CODE[name]
        sums = [graph.duration_ns[graph.kind == code].sum() for graph in (both, one)]
        assert sums[0] == sums[1]
    assert both.hardware_flops == one.hardware_flops


@pytest.mark.parametrize("schedule", ["chimera", "dualpipe"])
def test_every_rank_holds_two_stages_and_their_gradients_are_summed(schedule: str) -> None:
    plan = plan_of(schedule, 2)
    graph = plan.task_graph()
    weights = plan.static_memory.weights
    single = plan_of("1f1b", 1).static_memory.weights
    tied = 512 * 256 * 2  # the word embedding, which the head reads too, lies there once
    assert (single + single[::-1] - weights).tolist() == [tied, 0, 0, tied]
    summed = graph.num_bytes[graph.kind == TASK_CODE["gradient"]]
    assert summed.sum() > 0
    assert (graph.kind == TASK_CODE["embedding"]).sum() == 0


@pytest.mark.parametrize("schedule", ["chimera", "dualpipe"])
def test_engines_and_folding_agree(schedule: str) -> None:
    graphs = [plan_of(schedule, 2, fold, data=2).task_graph() for fold in (True, False)]
    ends = [load_engine(name)(g, None) for g in graphs for name in ("event", "compiled")]
    assert len({timeline.makespan_ns for timeline in ends}) == 1
    assert np.array_equal(ends[0].start_ns, ends[1].start_ns)
