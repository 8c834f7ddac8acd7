"""Merged updates in several buckets, and under hosts that run ahead, are those of all parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_merged_update import HOSTS, LAYERS, SIZES, grown
from whole_updates import build_merged_update

from flexsim.cost.costs import Costs
from flexsim.cost.roofline import Roofline
from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees
from flexsim.strategy.sharding import WHOLE
from flexsim.task_graph.grown_update import build_update

CASES = {
    "one rank": Degrees(data=4),
    "one device": Degrees(),
    "two ranks": Degrees(tensor=2, pipeline=2, data=4, sequence_parallel=True),
    "six ranks": Degrees(pipeline=6, data=2),
    "no gradient norm": Degrees(pipeline=3, data=2, gradient_norm=False),
}


def costs_of(devices: DeviceGraph, bucket_bytes: float, host_ns: float) -> Costs:
    """Return the costs of a host that runs ahead, which takes so long to issue a kernel."""
    found = make_costs(devices, "megatron-deepspeed")
    software = replace(
        found.software, gradient_bucket_bytes=bucket_bytes, host_time_per_kernel_ns=host_ns
    )
    return replace(found, compute=Roofline(software), software=software)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bucket_bytes", [3e5, 1e6, 1e9])
@pytest.mark.parametrize("host_ns", [0.0, 3_000.0, 2_000_000.0])
def test_ranks_update_as_with_all_parts(case, bucket_bytes, host_ns):
    devices = load_device_graph("dgx-a100", HOSTS)
    costs = costs_of(devices, bucket_bytes, host_ns)
    long = grown(CASES[case], costs)
    whole = build_model(model_config(**SIZES, layers=LAYERS), 1, "fp16")
    merged = build_merged_update(long, whole, devices, costs, WHOLE)
    plain = build_update(long, whole, devices, costs)
    assert not isinstance(merged, str), merged
    assert not isinstance(plain, str), plain
    for name in ("duration_ns", "num_bytes"):
        assert np.array_equal(getattr(merged, name), getattr(plain.templates, name)), name
    edges = plain.templates.sources, plain.templates.targets
    assert sorted(zip(*merged.edges, strict=True)) == sorted(zip(*edges, strict=True))
    entries = [
        ends.entries.members + plain.templates.offsets[rank]
        for rank, ends in enumerate(plain.templates.ends)
    ]
    assert np.array_equal(np.sort(merged.entries), np.unique(np.concatenate(entries)))
    for name in ("weights", "gradients", "optimizer", "step"):
        one, other = getattr(merged.static_memory, name), getattr(plain.static_memory, name)
        assert np.array_equal(one, other), name
    assert merged.num_tasks_unfolded == plain.num_tasks_unfolded


def test_small_buckets_are_several_and_a_slow_host_is_waited_for():
    devices = load_device_graph("dgx-a100", HOSTS)
    whole = build_model(model_config(**SIZES, layers=LAYERS), 1, "fp16")
    found = {}
    for bucket_bytes, host_ns in ((3e5, 0.0), (1e9, 0.0), (1e9, 2e6)):
        costs = costs_of(devices, bucket_bytes, host_ns)
        long = grown(CASES["one rank"], costs)
        found[bucket_bytes, host_ns] = build_merged_update(long, whole, devices, costs, WHOLE)
    assert len(found[3e5, 0.0].rank) > len(found[1e9, 0.0].rank)
    assert found[1e9, 2e6].duration_ns.sum() > found[1e9, 0.0].duration_ns.sum()
