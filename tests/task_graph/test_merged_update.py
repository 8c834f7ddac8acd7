"""An update of merged parts is the update of all parts: tasks, prices and what devices hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from whole_updates import build_merged_update

from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees, megatron, ranks_of_devices, sharding_of
from flexsim.strategy.sharding import WHOLE
from flexsim.task_graph.grown_update import build_update
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.uniform import Seed, build_seed

MODEL = {"name": "gpt", "preset": None, "hidden": 256, "heads": 8, "sequence": 64}
SIZES = {**MODEL, "vocabulary": 1_000}
HOSTS, LAYERS = 2, 12
CASES = {
    "one rank": Degrees(data=4),
    "two ranks": Degrees(tensor=2, pipeline=2, data=4, sequence_parallel=True),
    "four ranks without replicas": Degrees(tensor=4, pipeline=4),
    "no gradient norm": Degrees(pipeline=3, data=2, gradient_norm=False),
}


def grown(degrees: Degrees, costs: Costs) -> Grown:
    num_ranks = 1 if degrees.pipeline == 1 else BLOCKS
    small = replace(degrees, pipeline=num_ranks, data=2)
    graph = build_model(model_config(**SIZES, layers=BLOCKS * num_ranks), 2, "fp16")
    seed = build_seed(graph, megatron(graph, small), costs.compute, costs.software, "a100-80gb")
    assert isinstance(seed, Seed), seed
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    return Grown(
        seed, Site(devices, 1, degrees.data, costs.communication), LAYERS // degrees.pipeline
    )


@pytest.mark.parametrize("case", CASES)
def test_merged_parts_update_as_all_parts_do(case):
    devices = load_device_graph("dgx-a100", HOSTS)
    costs = make_costs(devices)
    long = grown(CASES[case], costs)
    whole = build_model(model_config(**SIZES, layers=LAYERS), 1, "fp16")
    merged = build_merged_update(long, whole, devices, costs, WHOLE)
    plain = build_update(long, whole, devices, costs)
    assert not isinstance(merged, str), merged
    assert not isinstance(plain, str), plain
    table, held = plain.templates.resource_table, plain.templates.held
    rank = np.searchsorted(long.site.representatives, table.device)
    assert np.array_equal(merged.rank, plain.templates.template_of_member)
    assert np.array_equal(merged.kind, table.kind[held.values[held.offsets[:-1]]])
    for name in ("duration_ns", "num_bytes"):
        assert np.array_equal(getattr(merged, name), getattr(plain.templates, name)), name
    assert np.array_equal(merged.holds.offsets, held.offsets)
    assert np.array_equal(merged.holds.values, rank[held.values])
    edges = plain.templates.sources, plain.templates.targets
    assert sorted(zip(*merged.edges, strict=True)) == sorted(zip(*edges, strict=True))
    for name in ("device", "weights", "gradients", "optimizer", "step", "num_alike"):
        one, other = getattr(merged.static_memory, name), getattr(plain.static_memory, name)
        assert np.array_equal(one, other), name
    assert merged.num_tasks_unfolded == plain.num_tasks_unfolded


@pytest.mark.parametrize(
    ("degrees", "reason"),
    [
        (Degrees(data=3, zero=1), "shares of weights are not whole"),
        (Degrees(data=4, overlap_gradients=True), "part by part"),
    ],
)
def test_what_depends_on_the_order_of_sums_is_not_merged(degrees, reason):
    devices = load_device_graph("dgx-a100", HOSTS)
    costs = make_costs(devices)
    whole = build_model(model_config(**SIZES, layers=LAYERS), 1, "fp16")
    sharing = sharding_of(degrees)
    found = build_merged_update(
        grown(replace(degrees, zero=0), costs), whole, devices, costs, sharing
    )
    assert isinstance(found, str)
    assert reason in found
