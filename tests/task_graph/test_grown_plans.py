"""A long pipeline grown from a small one is the long pipeline built in full."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from flexsim.cost.costs import Costs
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees, megatron, ranks_of_devices
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.grown_plan import grown_plan, parts_of
from flexsim.task_graph.grown_update import build_update
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.uniform import Seed, build_seed, priced

HOSTS = 4
MODEL = {"name": "gpt", "preset": None, "hidden": 256, "heads": 8, "sequence": 64}
SIZES = {**MODEL, "vocabulary": 1_000}


def costs() -> Costs:
    return make_costs(load_device_graph("dgx-a100", HOSTS))


def built_in_full(layers: int, micro_batch: int, degrees: Degrees) -> Plan:
    graph = build_model(model_config(**SIZES, layers=layers), micro_batch * degrees.data, "fp16")
    devices = load_device_graph("dgx-a100", HOSTS)
    return plan_task_graph(graph, megatron(graph, degrees), devices, costs())


def seed(layers_per_stage: int, micro_batch: int, degrees: Degrees) -> Seed:
    num_ranks = 1 if degrees.pipeline * degrees.chunks == 1 else 3
    small = replace(degrees, pipeline=num_ranks, chunks=1, data=2, order=Degrees.order)
    layers = (1 if layers_per_stage == 1 else BLOCKS) * num_ranks
    graph = build_model(model_config(**SIZES, layers=layers), 2, "fp16")
    given = costs()
    found = build_seed(graph, megatron(graph, small), given.compute, given.software, "a100-80gb")
    assert isinstance(found, Seed), found
    return priced(found, micro_batch)


def grown(full: Plan, layers: int, micro_batch: int, degrees: Degrees) -> Plan:
    given, num_stages = costs(), degrees.pipeline * degrees.chunks
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    site = Site(devices, degrees.chunks, degrees.data, given.communication)
    small = seed(layers // num_stages, micro_batch, degrees)
    found = Grown(small, site, layers // num_stages)
    whole = build_model(model_config(**SIZES, layers=layers), 1, "fp16")
    update = build_update(found, whole, load_device_graph("dgx-a100", HOSTS), given)
    assert not isinstance(update, str), update
    return grown_plan(parts_of(found, update), full.schedule, degrees.overlap_gradients)


CASES = {
    "one rank": (7, 2, Degrees(data=4)),
    "one device": (2, 1, Degrees()),
    "two layers a stage": (8, 5, Degrees(pipeline=4, data=2)),
    "two ranks": (12, 1, Degrees(tensor=4, pipeline=2, data=2, sequence_parallel=True)),
    "many layers": (24, 2, Degrees(tensor=2, pipeline=4, recompute="selective")),
    "full recomputation": (15, 4, Degrees(tensor=2, pipeline=3, data=2, recompute="full")),
    "shares between stages": (16, 1, Degrees(tensor=4, pipeline=4, scatter_gather=True)),
    "overlapped gradients": (16, 1, Degrees(pipeline=4, data=4, overlap_gradients=True)),
    "no gradient norm": (16, 3, Degrees(pipeline=4, data=4, gradient_norm=False)),
    "three chunks on two ranks": (24, 1, Degrees(tensor=8, pipeline=2, chunks=3, data=2)),
    "two chunks on four ranks": (24, 1, Degrees(tensor=2, pipeline=4, chunks=2, data=4)),
    "pipeline in the hosts": (12, 1, Degrees(pipeline=4, data=8, order="pipeline,tensor,data")),
    "tensor over the hosts": (12, 1, Degrees(tensor=8, pipeline=4, order="pipeline,data,tensor")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_grown_plan_is_the_plan_built_in_full(case):
    layers, micro_batch, degrees = CASES[case]
    schedule = "interleaved-1f1b" if degrees.chunks > 1 else "1f1b"
    degrees = replace(degrees, schedule=schedule, num_microbatches=2 * degrees.pipeline)
    full = built_in_full(layers, micro_batch, degrees)
    assert_equal(grown(full, layers, micro_batch, degrees), full)


def assert_equal(plan: Plan, full: Plan) -> None:
    one, other = plan.templates, full.templates
    for name in ("offsets", "operator", "kind", "part", "duration_ns", "num_bytes"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(one.held.offsets, other.held.offsets)
    assert np.array_equal(one.held.values, other.held.values)
    for column in ("kind", "device", "peer"):
        left, right = getattr(one.resource_table, column), getattr(other.resource_table, column)
        assert np.array_equal(left, right), column
    assert edges(plan) == edges(full)
    for left, right in zip(one.ends, other.ends, strict=True):
        for side in fields(left):
            mine, theirs = getattr(left, side.name), getattr(right, side.name)
            assert sorted(mine.members.tolist()) == sorted(theirs.members.tolist()), side.name
    for record in ("static_memory", "stage_memory"):
        mine, theirs = getattr(plan, record), getattr(full, record)
        for column in fields(mine):
            left, right = getattr(mine, column.name), getattr(theirs, column.name)
            if column.name != "curves":
                assert np.array_equal(left, right), column.name
    assert_curves_equal(plan, full)
    assert plan.hardware_flops == full.hardware_flops
    assert plan.num_tasks_unfolded == full.num_tasks_unfolded
    assert plan.folding == full.folding
    assert plan.operator_names == full.operator_names


def assert_curves_equal(plan: Plan, full: Plan) -> None:
    """Compare what is held at every moment of every pass on the devices that run it."""
    mine, theirs = plan.stage_memory.curves, full.stage_memory.curves
    assert mine.keys() == theirs.keys()
    for key, one in mine.items():
        other = theirs[key]
        at = int(np.flatnonzero(one.curve_of_device >= 0)[0])
        levels = [each.curves[each.curve_of_device[at]].levels() for each in (one, other)]
        assert np.array_equal(*levels), key
        assert np.array_equal(one.operator, other.operator)
        assert np.array_equal(one.end_share, other.end_share)


def edges(plan: Plan) -> set[tuple[int, int]]:
    sources, targets = plan.templates.sources.tolist(), plan.templates.targets.tolist()
    return set(zip(sources, targets, strict=True))


def test_a_message_that_costs_more_on_some_devices_of_a_rank_has_no_price():
    degrees = Degrees(tensor=6, pipeline=2, data=2)
    model = SIZES | {"heads": 6, "hidden": 192, "vocabulary": 1_002}
    graph = build_model(model_config(**model, layers=9), 2, "fp16")
    small, given = replace(degrees, pipeline=3), costs()
    found = build_seed(graph, megatron(graph, small), given.compute, given.software, "a100-80gb")
    assert isinstance(found, Seed)
    on_hosts_of_8 = ranks_of_devices(degrees).reshape(2, -1)  # one group of 6 in a host, one not
    apart = on_hosts_of_8 + 2 * (np.arange(12) // 6)  # every group in a host of its own
    for devices, is_equal in ((on_hosts_of_8, False), (apart, True)):
        prices = Grown(found, Site(devices, 1, 2, given.communication), 3).prices
        collective = [message.kind != "transfer" for message in found.messages]
        assert (prices[collective][:, 0] > 0).all() == is_equal
