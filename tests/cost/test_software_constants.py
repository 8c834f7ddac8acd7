"""What a software adds to transfers, and how fast its weight gradients are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexsim.cost import Communication, Roofline, Work, load_software_profile
from flexsim.cost.costs import Costs
from flexsim.cost.transfer_table import with_transfer_table
from flexsim.device_graph import load_device_graph

MEGATRON = load_software_profile("megatron-lm")
SLOW = replace(MEGATRON, transfer_time_ns=1000.0, transfer_bandwidth_bytes_per_s=60e9)
GRAPH = load_device_graph("dgx-a100", 2)
SIZES = np.array([0, 1, 10**6, 10**8])
NEAR, FAR = 1, 9


def transfers_ns(software, target: int, tabled: bool) -> np.ndarray:
    """Return the time of one transfer of every size from device 0, each alone."""
    costs = Costs(Roofline(software), Communication.of(GRAPH, software), software)
    priced = (with_transfer_table(costs) if tabled else costs).communication
    ends = np.array([0], np.int32), np.array([target], np.int32)
    return np.array([priced.transfer_ns(np.array([size]), *ends)[0] for size in SIZES])


@pytest.mark.parametrize("tabled", [False, True])
def test_a_transfer_takes_longer_and_is_no_faster_than_the_software(tabled: bool) -> None:
    plain = transfers_ns(replace(MEGATRON, host_time_per_kernel_ns=0), NEAR, tabled)
    slow = transfers_ns(replace(SLOW, host_time_per_kernel_ns=0), NEAR, tabled)
    assert plain[0] == slow[0] == 0, "no bytes"
    assert slow[1] == plain[1] + 1000
    assert slow[3] - slow[1] == pytest.approx(1e8 / 60, rel=1e-6)
    assert plain[3] - plain[1] == pytest.approx(1e8 / 240, rel=1e-6), "0.8 of 300 GB/s"


@pytest.mark.parametrize("tabled", [False, True])
def test_a_slower_link_stays_as_slow(tabled: bool) -> None:
    plain, slow = (transfers_ns(software, FAR, tabled) for software in (MEGATRON, SLOW))
    np.testing.assert_array_equal(slow[1:], plain[1:] + 1000)


@pytest.mark.parametrize("tabled", [False, True])
def test_to_itself_a_device_sends_nothing(tabled: bool) -> None:
    np.testing.assert_array_equal(transfers_ns(SLOW, 0, tabled), 0)


def test_flows_over_links_are_as_slow() -> None:
    plain, slow = (Communication.of(GRAPH, software) for software in (MEGATRON, SLOW))
    assert slow.flow_links("star").bandwidth_bytes_per_s.max() == 60e9
    assert plain.flow_links("star").bandwidth_bytes_per_s.max() > 200e9
    np.testing.assert_array_equal(
        slow.flow_links("star").step_latency_ns, plain.flow_links("star").step_latency_ns + 1000
    )
    ring = slow.flow_links("ring")
    np.testing.assert_array_equal(
        ring.bandwidth_bytes_per_s, plain.flow_links("ring").bandwidth_bytes_per_s
    )


@pytest.mark.parametrize("step", ["F", "I", "W"])
def test_only_weight_gradients_have_the_softwares_rate(step: str) -> None:
    size = 8192
    work = Work("matmul", step, 2 * size**3, 6 * size**2, matmul=(1, size, size, size))
    plain = Roofline(MEGATRON)(work, "a100-80gb")
    fast = Roofline(replace(MEGATRON, weight_gradient_factor=1.25))(work, "a100-80gb")
    launch_ns = 3300
    expected = (plain - launch_ns) / 1.25 + launch_ns if step == "W" else plain
    assert fast == pytest.approx(expected, abs=1)
