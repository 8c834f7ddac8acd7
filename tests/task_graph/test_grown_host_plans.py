"""Plans grown under software whose hosts run ahead, or that adds gradients up, are full plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grown_plans import assert_equal

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
DEVICES = load_device_graph("dgx-a100", HOSTS)
SHAPES = {
    "gpt": {"name": "gpt", "hidden": 256, "heads": 8, "sequence": 64, "vocabulary": 1_000},
    "wide": {"name": "gpt", "hidden": 4096, "heads": 8, "sequence": 512, "vocabulary": 8_000},
    "llama": {
        "name": "llama", "hidden": 256, "heads": 8, "kv_heads": 8, "ffn": 512, "sequence": 64,
        "vocabulary": 1_000,
    },
}  # fmt: skip


def costs(added_bytes: float = 6, host_ns: float = 20_000, ahead: bool = True) -> Costs:
    """Return Megatron-DeepSpeed's costs with another host and other sums."""
    found = make_costs(DEVICES, "megatron-deepspeed")
    software = replace(
        found.software,
        gradient_accumulation_bytes_per_parameter={"fp16": added_bytes} if added_bytes else {},
        host_time_per_kernel_ns=host_ns,
        host_runs_ahead=ahead,
    )
    compute = type(found.compute)(software)
    return replace(found, compute=compute, software=software)


def grown(given: Costs, shape: str, full: Plan, sizes: tuple[int, int, Degrees]) -> Plan:
    """Return the plan grown from a small pipeline."""
    layers, micro_batch, degrees = sizes
    num_stages = degrees.pipeline * degrees.chunks
    num_ranks = 1 if num_stages == 1 else 3
    small = replace(degrees, pipeline=num_ranks, chunks=1, data=2, order=Degrees.order)
    small = replace(small, schedule="1f1b", num_microbatches=min(2, degrees.num_microbatches))
    num_layers = (1 if layers == num_stages else BLOCKS) * num_ranks
    graph = model(shape, num_layers, 2)
    seed = build_seed(graph, megatron(graph, small), given.compute, given.software, "a100-80gb")
    assert isinstance(seed, Seed), seed
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    site = Site(devices, degrees.chunks, degrees.data, given.communication)
    found = Grown(priced(seed, micro_batch), site, layers // num_stages)
    update = build_update(found, model(shape, layers, 1), DEVICES, given)
    assert not isinstance(update, str), update
    return grown_plan(parts_of(found, update), full.schedule, degrees.overlap_gradients)


def model(shape: str, layers: int, sequences: int):
    """Return a model with this many layers."""
    config = model_config(preset=None, layers=layers, **SHAPES[shape])
    return build_model(config, sequences, "fp16")


def check(given: Costs, shape: str, sizes: tuple[int, int, Degrees]) -> Plan:
    """Compare both plans; return the full one."""
    layers, micro_batch, degrees = sizes
    graph = model(shape, layers, micro_batch * degrees.data)
    full = plan_task_graph(graph, megatron(graph, degrees), DEVICES, given)
    assert_equal(grown(given, shape, full, sizes), full)
    return full


CASES = {
    "one rank": (7, 2, Degrees(data=4)),
    "one device": (2, 1, Degrees()),
    "one layer": (1, 2, Degrees(tensor=2)),
    "two layers a stage": (8, 5, Degrees(pipeline=4, data=2)),
    "two ranks": (12, 1, Degrees(tensor=4, pipeline=2, data=2, sequence_parallel=True)),
    "full recomputation": (15, 4, Degrees(tensor=2, pipeline=3, data=2, recompute="full")),
    "shares between stages": (16, 1, Degrees(tensor=4, pipeline=4, scatter_gather=True)),
    "overlapped gradients": (16, 1, Degrees(pipeline=4, data=4, overlap_gradients=True)),
    "two chunks": (24, 1, Degrees(tensor=2, pipeline=4, chunks=2, data=4)),
    "blocking": (16, 1, Degrees(tensor=2, pipeline=4, data=2, blocking_transfers=True)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_grown_plan_is_the_full_one(case, shape):
    layers, micro_batch, degrees = CASES[case]
    schedule = "interleaved-1f1b" if degrees.chunks > 1 else "1f1b"
    degrees = replace(degrees, schedule=schedule, num_microbatches=2 * degrees.pipeline)
    plan = check(costs(), shape, (layers, micro_batch, degrees))
    last = plan.templates.offsets[2 * plan.schedule.num_stages] - 1
    assert (plan.templates.operator[last] < 0) == (degrees.num_microbatches > 1)


degrees_of_random = st.builds(
    Degrees,
    tensor=st.sampled_from([1, 2, 4]),
    pipeline=st.sampled_from([1, 2, 3]),
    data=st.sampled_from([1, 2]),
    sequence_parallel=st.booleans(),
    recompute=st.sampled_from(["none", "selective", "full"]),
    num_microbatches=st.sampled_from([1, 3]),
    scatter_gather=st.booleans(),
    blocking_transfers=st.booleans(),
    gradient_norm=st.booleans(),
    schedule=st.sampled_from(["gpipe", "1f1b"]),
)


@settings(max_examples=12, deadline=None)
@given(
    degrees=degrees_of_random,
    shape=st.sampled_from(list(SHAPES)),
    layers=st.sampled_from([1, 2, 4]),
    host_ns=st.sampled_from([0.0, 500.0, 20_000.0, 40_000.4]),
    software=st.tuples(st.sampled_from([0.0, 6.0, 7.3]), st.booleans()),
)
def test_random_plans_are_full_ones(degrees, shape, layers, host_ns, software):
    degrees = replace(degrees, sequence_parallel=degrees.sequence_parallel and degrees.tensor > 1)
    added, ahead = software
    check(costs(added, host_ns, ahead), shape, (layers * degrees.pipeline, 2, degrees))


def test_waits_come_and_go_with_the_kernels_of_many_layers():
    sizes = 12, 1, Degrees(tensor=8)
    plan, without = (
        check(costs(host_ns=host_ns, ahead=host_ns > 0), "wide", sizes) for host_ns in (40_000, 0)
    )
    waits_ns = plan.templates.duration_ns - without.templates.duration_ns
    assert len(np.unique(waits_ns)) > 10
    assert 0.2 < np.mean(waits_ns > 0) < 0.8
