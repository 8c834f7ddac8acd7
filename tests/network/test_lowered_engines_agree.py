"""Both engines give one timeline of flows, on any strategy; and what must hold of any lowering."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_by_hand import communication
from small_gpt import small

import flexsim
from flexsim.cost.costs import Costs
from flexsim.engine import compiled, event
from flexsim.network.lower import lower
from flexsim.network.options import FORWARDINGS, NetworkOptions
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.scenario.runner import planned_in_full
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import TaskGraph

CLUSTERS = {"dgx-a100": 2, "pcie-8x2080ti": None, "dgx1-v100": None}


def any_config(operator: Operator, rng: random.Random, num_devices: int) -> ParallelConfig:
    """Return random degrees along random dimensions over random devices."""
    limits = {dim.name: min(dim.size, dim.max_degree or dim.size) for dim in operator.dims}
    degrees: dict[str, int] = {}
    for name in rng.sample(sorted(limits), len(limits)):
        degree = rng.choice([1, 2, 4])
        if degree <= limits[name] and degree * np.prod([*degrees.values(), 1]) <= 8:
            degrees[name] = degree
    count = int(np.prod([*degrees.values(), 1]))
    devices = rng.sample(range(num_devices), count)
    return ParallelConfig.from_degrees(degrees or {operator.dims[0].name: 1}, devices)


def any_graph(seed: int, cluster: str) -> TaskGraph:
    """Return the unfolded tasks of a small model, cut at random."""
    rng = random.Random(seed)
    model = communication(cluster, CLUSTERS[cluster])
    scenario = flexsim.Scenario.from_dict(small(model={"layers": 1}), "any.toml")
    costs = flexsim.make_costs(model.device_graph)
    graph: OperatorGraph = flexsim.build_model(
        flexsim.model_config(scenario.model.name, None, **scenario.model.sizes), 4, "fp16"
    )
    configs = {
        op.name: any_config(op, rng, model.device_graph.num_devices) for op in graph.operators
    }
    strategy = Strategy(
        "any", configs, num_microbatches=rng.choice([1, 2]), overlap_gradients=rng.random() < 0.5
    )
    costs = Costs(lambda work, device_type: 1000, model, costs.software)
    plan = plan_task_graph(graph, strategy, model.device_graph, costs, False)
    return replace(plan.task_graph(), collective=plan.collective)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cluster=st.sampled_from(sorted(CLUSTERS)),
    segment=st.sampled_from([None, 2**16]),
    algorithm=st.sampled_from(["auto", "ring", "hierarchical", "direct"]),
    forwarding=st.sampled_from(FORWARDINGS),
)
def test_engines_agree_on_flows_of_any_strategy(seed, cluster, segment, algorithm, forwarding):
    graph = any_graph(seed, cluster)
    model = communication(cluster, CLUSTERS[cluster])
    priced = compiled.simulate(graph)
    options = NetworkOptions(algorithm, segment, forwarding)
    below = lower(graph, model, options, True, priced.start_ns)
    one, other = event.simulate(below.graph), compiled.simulate(below.graph)
    np.testing.assert_array_equal(one.start_ns, other.start_ns)
    np.testing.assert_array_equal(one.end_ns, other.end_ns)
    check_shape(below)
    check_spans(below, one)


def check_shape(below):
    graph = below.graph
    counts = np.bincount(graph.successors.values, minlength=graph.num_tasks)
    np.testing.assert_array_equal(counts, graph.in_degree)
    assert len(graph.successors.values) == graph.successors.offsets[-1]
    assert len(graph.resources.values) == graph.resources.offsets[-1]
    assert (np.diff(below.origin) >= 0).all()
    np.testing.assert_array_equal(below.origin[below.first], np.arange(len(below.first)))
    held = graph.resources.values[graph.resources.values >= below.original.num_resources]
    np.testing.assert_array_equal(held - below.original.num_resources, below.routes.values)
    np.testing.assert_array_equal(graph.duration_ns[below.flow], below.wire_ns)


def check_spans(below, timeline):
    starts = np.minimum.reduceat(timeline.start_ns, below.first)
    ends = np.maximum.reduceat(timeline.end_ns, below.first)
    np.testing.assert_array_equal(starts, timeline.start_ns[below.first])
    np.testing.assert_array_equal(ends, timeline.end_ns[below.last])
    original = below.original
    before, after = original.successors.rows, original.successors.values
    assert (ends[before] <= starts[after]).all()
    task, stream = original.resources.rows, original.resources.values
    order = np.lexsort((starts[task], stream))
    task, stream = task[order], stream[order]
    same = stream[1:] == stream[:-1]
    assert (ends[task[:-1]] <= starts[task[1:]])[same].all()


@pytest.mark.parametrize(
    "strategy",
    [
        {},
        {"sequence_parallel": True},
        {"tensor": 4, "data": 1},
        {"name": "data", "tensor": 1, "pipeline": 1, "data": 8},
        *({"zero": stage, "pipeline": 1, "data": 4} for stage in (1, 2, 3)),
    ],
)
def test_every_collective_of_a_plan_is_known(strategy):
    scenario = flexsim.Scenario.from_dict(small(strategy={"fold": False, **strategy}), "all.toml")
    plan, _ = planned_in_full(scenario)
    graph = plan.task_graph()
    is_transfer = (
        graph.resource_table.peer[graph.resources.values[graph.resources.offsets[:-1]]] >= 0
    )
    expected = ~graph.is_compute & ~is_transfer
    np.testing.assert_array_equal(plan.collective > 0, expected)
