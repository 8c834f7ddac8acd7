"""What must hold of simulated iterations, whatever the constants are."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_gpt import most_activations, simulate_small, small

import flexsim
from flexsim.cost.collectives import Communication
from flexsim.device_graph.load import device_graph_from
from flexsim.task_graph.kinds import ACTION_CODE

ONE_DEVICE = {"name": "single", "tensor": 1, "pipeline": 1, "data": 1}
WIDE = {"hidden": 2048, "heads": 16, "sequence": 512}


@cache
def alone(recompute="none", optimizer="adam", precision="fp16"):
    """Return the small model on one device."""
    training = {"recompute": recompute, "optimizer": optimizer, "precision": precision}
    return simulate_small(model=WIDE, training=training, strategy=ONE_DEVICE)


@cache
def replicated(data, global_batch):
    """Return the small model on ``data`` replicas."""
    strategy = {"name": "data", "tensor": 1, "pipeline": 1, "data": data}
    return simulate_small(training={"global_batch": global_batch}, strategy=strategy)


def test_on_one_device_the_iteration_is_the_sum_of_its_tasks():
    result = alone()
    assert result.task_graph.duration_ns.sum() == result.timeline.makespan_ns
    assert result.metrics["bubble_fraction"] == 0
    assert result.metrics["compute_fraction"] == 1
    assert sum(result.metrics["exposed_communication_s"].values()) == 0


def test_without_recomputation_hardware_flops_are_model_flops():
    assert alone().metrics["hfu"] == alone().metrics["mfu"]
    assert alone().metrics["hardware_flops"] == alone().metrics["model_flops"]


def test_recomputation_trades_flops_for_memory():
    results = [alone(recompute=policy) for policy in ("none", "selective", "full")]
    runs = [result.metrics for result in results]
    flops = [run["hardware_flops"] for run in runs]
    memory = [most_activations(result) for result in results]
    times = [run["iteration_time_s"] for run in runs]
    assert flops == sorted(set(flops))
    assert times == sorted(set(times))
    assert memory == sorted(set(memory), reverse=True)
    assert len({run["model_flops"] for run in runs}) == 1


def test_full_recomputation_runs_the_layers_forward_once_more():
    none, full = (alone(recompute=policy).metrics for policy in ("none", "full"))
    shape = small(model=WIDE)["model"]
    tokens = small()["training"]["global_batch"] * shape["sequence"]
    head = 6 * tokens * shape["hidden"] * shape["vocabulary"]
    assert full["hardware_flops"] - none["hardware_flops"] == pytest.approx(
        (none["model_flops"] - head) / 3, rel=0.01
    )


def test_momentum_needs_less_memory_and_time_than_adam():
    adam, sgd = alone().metrics, alone(optimizer="sgd").metrics
    parameters = (adam["peak_memory_bytes"] - sgd["peak_memory_bytes"]) / 4
    assert parameters == pytest.approx(12 * 4 * 2048**2 + 1024 * 2048 + 512 * 2048, rel=0.01)
    assert sgd["iteration_time_s"] < adam["iteration_time_s"]


def test_fp32_is_slower_and_larger_than_fp16():
    results = alone(), alone(precision="fp32")
    half, single = (result.metrics for result in results)
    assert single["iteration_time_s"] > half["iteration_time_s"]
    assert single["model_flops"] == half["model_flops"]
    activations = [most_activations(result) for result in results]
    assert activations[0] < activations[1] <= 2 * activations[0]


@pytest.mark.parametrize("data", [2, 4, 8])
def test_a_replica_does_the_same_work_however_many_there_are(data):
    one, many = replicated(1, 2), replicated(data, 2 * data)
    assert many.metrics["model_flops"] == data * one.metrics["model_flops"]
    assert many.metrics["iteration_time_s"] >= one.metrics["iteration_time_s"]
    kinds = [_compute_of_layers(each) for each in (one, many)]
    assert np.array_equal(*kinds)


def _compute_of_layers(result):
    """Return the durations of forward and backward kernels on the first device, in order."""
    graph = result.task_graph
    inside = graph.is_compute & (graph.action >= 0) & (graph.device == 0)
    update = graph.actions.kind[graph.action] == ACTION_CODE["U"]
    return graph.duration_ns[inside & ~update]


def test_more_microbatches_make_a_smaller_bubble():
    runs = [simulate_small(training={"global_batch": batch}) for batch in (4, 8, 32)]
    ratios = [run.metrics["bubble_ratio"] for run in runs]
    assert ratios == sorted(set(ratios), reverse=True)
    rates = [run.metrics["samples_per_s"] for run in runs]
    assert rates == sorted(set(rates))


def test_throughput_is_batch_over_time():
    metrics = simulate_small().metrics
    assert metrics["samples_per_s"] == pytest.approx(8 / metrics["iteration_time_s"])
    assert metrics["tokens_per_s"] == pytest.approx(256 * metrics["samples_per_s"])


def test_folding_changes_no_number_but_the_counts_of_tasks():
    folded, full = (simulate_small(strategy={"fold": fold}).metrics for fold in (True, False))
    counts = ("num_tasks", "num_tasks_folded_away")
    assert folded["num_tasks"] + folded["num_tasks_folded_away"] == full["num_tasks"]
    for key in folded.keys() - set(counts):
        assert _approximately(folded[key]) == full[key], key


def _approximately(value):
    return pytest.approx(value) if isinstance(value, float | dict) else value


@pytest.mark.parametrize("order", ["data,tensor,pipeline", "pipeline, tensor, data"])
def test_the_order_of_axes_counts_only_where_links_differ(order):
    degrees = {"tensor": 8, "pipeline": 1, "data": 2}
    here = [simulate_small(strategy={"order": o}) for o in (order, "tensor,data,pipeline")]
    assert here[0].timeline.makespan_ns == here[1].timeline.makespan_ns
    near, far = (
        simulate_small(cluster={"hosts": 2}, strategy=degrees | {"order": each}).metrics
        for each in ("tensor,data,pipeline", "data,tensor,pipeline")
    )
    assert near["exposed_communication_s"]["tensor"] < far["exposed_communication_s"]["tensor"]
    assert near["model_flops"] == far["model_flops"]


def test_an_uneven_vocabulary_is_cut_unevenly_and_folded_as_far_as_it_is_even():
    strategy = {"tensor": 8, "pipeline": 1, "data": 1}
    even = simulate_small(model={"vocabulary": 50264}, strategy=strategy)
    uneven = simulate_small(model={"vocabulary": 50257}, strategy=strategy)
    assert even.task_graph.folding.startswith("8 devices folded to 1")
    assert "8 devices folded to 2 classes: logits moves more bytes" in uneven.task_graph.folding
    assert uneven.metrics["iteration_time_s"] == pytest.approx(
        even.metrics["iteration_time_s"], rel=0.01
    )
    ratio = uneven.metrics["model_flops"] / even.metrics["model_flops"]
    assert 1 - 7 / 50264 < ratio < 1
    assert uneven.metrics["peak_memory_bytes"] <= even.metrics["peak_memory_bytes"]


def test_more_bandwidth_never_makes_a_collective_slower():
    group = np.arange(8, dtype=np.int32)[None, :]
    for collective in ("all-reduce", "all-gather", "reduce-scatter"):
        for num_bytes in (1024, 2**20, 2**28):
            times = [
                int(_communication(rate).collective_ns(collective, num_bytes, group)[0])
                for rate in (50, 100, 300, 900)
            ]
            assert times == sorted(times, reverse=True)
            assert num_bytes < 2**28 or times[0] > times[-1]


def _communication(gigabytes_per_s):
    content = {
        "device_type": "a100-80gb",
        "devices_per_host": 8,
        "intra_host": {
            "kind": "nvlink",
            "bandwidth": f"{gigabytes_per_s} GB/s",
            "latency": "300 ns",
        },
    }
    devices = device_graph_from(content, Path("eight.toml"))
    return Communication.of(devices, flexsim.make_costs(devices).software)


def test_a_users_own_function_prices_every_kernel():
    seen = set()

    def one_microsecond(work, device_type):
        seen.add((work.kind, work.step, device_type))
        return 1000

    result = flexsim.run(
        flexsim.Scenario.from_dict(small(strategy=ONE_DEVICE)), cost_model=one_microsecond
    )
    assert set(result.task_graph.duration_ns.tolist()) == {1000}
    assert result.timeline.makespan_ns == 1000 * result.task_graph.num_tasks
    assert {("matmul", "F", "a100-80gb"), ("matmul", "W", "a100-80gb")} <= seen


@pytest.mark.parametrize("price", [0, -5, 1.5, math.nan, None, "1", True, 2**62])
def test_a_users_function_must_give_whole_nanoseconds(price):
    scenario = flexsim.Scenario.from_dict(small(strategy=ONE_DEVICE), "small.toml")
    with pytest.raises(flexsim.FlexSimError, match="whole nanoseconds from 1") as caught:
        flexsim.run(scenario, cost_model=lambda work, device_type: price)
    assert str(caught.value).startswith("small.toml: ")
    assert f"gives {price!r} for a " in str(caught.value)


def test_a_result_is_the_same_every_time():
    first, second = (simulate_small() for _ in range(2))
    assert first.metrics == second.metrics
    assert np.array_equal(first.timeline.start_ns, second.timeline.start_ns)
