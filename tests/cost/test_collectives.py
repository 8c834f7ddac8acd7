"""Collectives and transfers: closed forms, measured numbers, shares of links, algorithms."""

import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.collectives.ring import CHAIN_PIECES
from flexsim.cost import Communication, load_device_profile, load_software_profile
from flexsim.cost.algorithms import ALGORITHMS
from flexsim.cost.profiles import CollectiveConstants
from flexsim.device_graph import load_device_graph
from flexsim.errors import FlexSimError

MEGATRON = load_software_profile("megatron-lm")
A100 = load_device_profile("a100-80gb")
NVLINK = 300e9 * A100.link("nvlink").efficiency
HDR = 25e9 * A100.link("infiniband").efficiency
LOCAL_NS = 600 + A100.link("nvlink").step_latency_ns
RAIL_NS = 1200 + A100.link("infiniband").step_latency_ns


def communication(graph: str = "dgx-a100", hosts: int = 1) -> Communication:
    return Communication.of(load_device_graph(graph, hosts), MEGATRON)


def plain(graph: str = "dgx-a100", hosts: int = 1) -> Communication:
    """Return α-β prices: no launch, no own share, no ramp."""
    free = CollectiveConstants(launch_ns=0.0, copy_bandwidth_bytes_per_s=math.inf, ramp=0.0)
    return replace(communication(graph, hosts), constants=free, host_time_ns=0.0)


def nanoseconds(seconds: float) -> object:
    return pytest.approx(seconds * 1e9, abs=1)


@pytest.mark.parametrize("n", [2, 4, 8])
@pytest.mark.parametrize("num_bytes", [10**3, 10**6, 10**9])
def test_an_all_reduce_in_a_host_is_the_ring_closed_form(n: int, num_bytes: int) -> None:
    time = plain().collective_ns("all-reduce", num_bytes, np.arange(n)[None])
    closed_form = 2 * (n - 1) / n * num_bytes / NVLINK + 2 * (n - 1) * LOCAL_NS * 1e-9
    assert time[0] == nanoseconds(closed_form)


@pytest.mark.parametrize("collective", ["all-gather", "reduce-scatter"])
def test_a_gather_is_half_an_all_reduce(collective: str) -> None:
    group = np.arange(8)[None]
    half = plain().collective_ns(collective, 10**8, group)[0]
    whole = plain().collective_ns("all-reduce", 10**8, group)[0]
    assert whole == pytest.approx(2 * half, abs=2)


def test_an_all_to_all_in_a_host_moves_all_but_the_own_share() -> None:
    time = plain().collective_ns("all-to-all", 10**8, np.arange(8)[None])
    assert time[0] == nanoseconds(7 / 8 * 1e8 / NVLINK + LOCAL_NS * 1e-9)


def test_a_broadcast_streams_through_a_chain() -> None:
    time = plain().collective_ns("broadcast", 10**8, np.arange(8)[None])
    filling = (CHAIN_PIECES + 6) / CHAIN_PIECES
    assert time[0] == nanoseconds(filling * 1e8 / NVLINK + 7 * LOCAL_NS * 1e-9)


def test_one_member_a_host_is_a_ring_of_network_links() -> None:
    group = np.array([[0, 8, 16, 24]])
    time = plain(hosts=4).collective_ns("all-gather", 10**9, group)
    assert time[0] == nanoseconds(3 / 4 * 1e9 / HDR + 3 * RAIL_NS * 1e-9)


def test_large_groups_use_every_rail_and_small_messages_a_tree() -> None:
    everyone = np.arange(32)[None]
    large = plain(hosts=4).collective_ns("all-reduce", 10**10, everyone)[0]
    rails = 2 * 31 / 32 * 1e10 / (8 * HDR)
    steps = 62 * (4 / 32 * RAIL_NS + 28 / 32 * LOCAL_NS) * 1e-9
    assert large == nanoseconds(rails + steps)
    small = plain(hosts=4).collective_ns("all-reduce", 8, everyone)[0]
    assert small == pytest.approx(2 * 7 * LOCAL_NS + 2 * 2 * RAIL_NS, abs=1)


def test_a_hierarchical_gather_sends_shares_between_hosts() -> None:
    time = plain(hosts=4).collective_ns("all-gather", 10**6, np.arange(32)[None])[0]
    local = 7 / 8 * 1e6 / NVLINK + 7 * LOCAL_NS * 1e-9
    rail = 3 / 4 * 1e6 / 8 / HDR + 3 * RAIL_NS * 1e-9
    assert time == nanoseconds(local + rail)


def test_groups_that_share_a_network_card_share_its_bandwidth() -> None:
    """DGX-2H: two devices use one card."""
    prices = communication("dgx2h-v100", 2)
    alone = prices.collective_ns("all-reduce", 10**9, np.array([[0, 16]]))[0]
    both = prices.collective_ns("all-reduce", 10**9, np.array([[0, 16], [1, 17]]))
    apart = prices.collective_ns("all-reduce", 10**9, np.array([[0, 16], [2, 18]]))
    assert both[0] == both[1]
    assert both[0] == pytest.approx(2 * alone, rel=0.05)
    assert apart[0] == apart[1] == alone


def test_groups_that_straddle_hosts_are_priced_apart() -> None:
    groups = np.arange(24).reshape(4, 6)
    times = communication(hosts=3).collective_ns("all-reduce", 10**8, groups)
    assert times[0] == times[3] < times[1]
    assert times[1] > 3 * times[0]
    assert times[1] == times[2]


def test_the_order_of_members_does_not_matter() -> None:
    prices = communication(hosts=2)
    mixed = np.random.default_rng(0).permutation(16)[None]
    expected = prices.collective_ns("all-reduce", 10**8, np.arange(16)[None])
    assert prices.collective_ns("all-reduce", 10**8, mixed) == expected


# Microseconds of NCCL on one host: AIConfigurator nccl_perf, a100_sxm and h100_sxm.
MEASURED = [
    ("dgx-a100", "all-reduce", 8, 536870912, 4225.9),
    ("dgx-a100", "all-reduce", 8, 67108864, 595.3),
    ("dgx-a100", "all-reduce", 2, 512, 9.98),
    ("dgx-a100", "all-reduce", 8, 512, 22.57),
    ("dgx-a100", "all-gather", 4, 268435456, 1106.4),
    ("dgx-a100", "reduce-scatter", 8, 268435456, 1149.5),
    ("dgx-a100", "all-to-all", 8, 268435456, 1197.9),
    ("dgx-h100", "all-reduce", 8, 536870912, 2111.06),
    ("dgx-h100", "all-reduce", 4, 536870912, 2299.71),
    ("dgx-h100", "all-gather", 8, 268435456, 728.79),
    ("dgx-h100", "all-reduce", 8, 67108864, 324.53),
    ("dgx-h100", "all-reduce", 8, 1048576, 25.40),
    ("dgx-h100", "all-reduce", 8, 512, 15.59),
]
V100_MEASURED = [(34603008, 488.8), (135266304, 1787.6), (1041235968, 13567.0)]


@pytest.mark.parametrize(("graph", "collective", "n", "num_bytes", "microseconds"), MEASURED)
def test_collectives_are_near_the_measured(
    graph: str, collective: str, n: int, num_bytes: int, microseconds: float
) -> None:
    time = communication(graph).collective_ns(collective, num_bytes, np.arange(n)[None])[0]
    assert time / 1e3 == pytest.approx(microseconds, rel=0.25 if num_bytes <= 2**20 else 0.10)


@pytest.mark.parametrize(("num_bytes", "microseconds"), V100_MEASURED)
def test_v100_all_reduces_are_near_the_measured(num_bytes: int, microseconds: float) -> None:
    """vTrain's table for eight V100."""
    price = communication("dgx2h-v100").collective_ns
    time = price("all-reduce", num_bytes, np.arange(8)[None])[0]
    assert time / 1e3 == pytest.approx(microseconds, rel=0.08)


def test_a_switch_that_sums_serves_large_messages_inside_its_host_only() -> None:
    prices = plain("dgx-h100", 2)
    groups = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]])
    link = load_device_profile("h100-80gb").link("nvlink")
    large = prices.collective_ns("all-reduce", 10**9, groups)
    summed = 1e9 / link.in_switch_bandwidth_bytes_per_s + (600 + link.in_switch_latency_ns) / 1e9
    assert large.tolist() == [nanoseconds(summed)] * 2
    small = prices.collective_ns("all-reduce", 8, groups)
    assert small[0] == pytest.approx(14 * (600 + link.step_latency_ns), abs=1)
    across = prices.collective_ns("all-reduce", 10**9, groups.reshape(1, -1))[0]
    assert across > large[0]


def test_groups_of_every_kind_are_priced_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for graph, prices in itertools.product(("dgx-a100", "dgx-h100"), (plain, communication)):
            groups = np.arange(16).reshape(-1, 8) + np.array([[0], [4]])
            times = prices(graph, 3).collective_ns("all-reduce", 10**6, groups)
            assert (times > 0).all()


def test_an_all_reduce_over_hosts_is_below_the_best_published_bandwidth() -> None:
    """NVIDIA GTC 2024, S62129: bus bandwidth of 192 GB/s on DGX A100 hosts."""
    time = communication(hosts=4).collective_ns("all-reduce", 10**9, np.arange(32)[None])[0]
    assert 140 < 2 * 31 / 32 * 1e9 / time < 192


def test_v100_hosts_reach_the_published_bus_bandwidth() -> None:
    """NVIDIA GTC 2024, S62129: 122 GB/s on eight V100; vTrain's table: 123 to 134."""
    time = communication("dgx2h-v100").collective_ns("all-reduce", 10**9, np.arange(8)[None])[0]
    assert 2 * 7 / 8 * 1e9 / time == pytest.approx(128, rel=0.06)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(ALGORITHMS)),
    st.integers(1, 10**9),
    st.sampled_from([(1, 8), (1, 3), (2, 16), (2, 6), (4, 32)]),
)
def test_more_bytes_never_take_less(
    collective: str, num_bytes: int, shape: tuple[int, int]
) -> None:
    hosts, size = shape
    prices, group = communication(hosts=hosts), np.arange(size)[None]
    less = prices.collective_ns(collective, num_bytes, group)[0]
    more = prices.collective_ns(collective, num_bytes + 10**6, group)[0]
    assert 1 <= less <= more


def test_concurrent_transfers_share_only_common_links() -> None:
    prices = communication(hosts=3)
    alone = prices.transfer_ns(10**8, np.array([0]), np.array([8]))
    apart = prices.transfer_ns(10**8, np.array([0, 1]), np.array([8, 9]))
    fan_out = prices.transfer_ns(10**8, np.array([0, 0]), np.array([8, 16]))
    assert (apart == alone[0]).all()
    assert fan_out[0] == pytest.approx(2 * alone[0], rel=0.02)


def test_a_transfer_is_latency_and_bytes() -> None:
    time = communication(hosts=2).transfer_ns(10**8, np.array([0]), np.array([8]))[0]
    link = A100.link("infiniband")
    seconds = 1e8 / (25e9 * link.transfer_efficiency)
    assert time == nanoseconds(seconds + (1200 + link.transfer_latency_ns) / 1e9)


def test_what_moves_nothing_is_free() -> None:
    prices = communication()
    assert prices.collective_ns("all-reduce", 10**9, np.array([[0], [1]])).tolist() == [0, 0]
    assert prices.collective_ns("all-reduce", 0, np.array([[0, 1]])).tolist() == [0]
    assert prices.transfer_ns(10**9, np.array([3, 3]), np.array([3, 4]))[0] == 0
    assert prices.transfer_ns(0, np.array([3]), np.array([4])).tolist() == [0]


def test_the_host_bounds_the_least_time() -> None:
    slow = Communication.of(
        load_device_graph("dgx-a100", 1), load_software_profile("megatron-deepspeed")
    )
    host_time_ns = load_software_profile("megatron-deepspeed").host_time_per_kernel_ns
    assert slow.collective_ns("all-reduce", 4, np.arange(8)[None]).tolist() == [host_time_ns]


def test_an_unknown_collective_is_told_with_the_nearest() -> None:
    with pytest.raises(FlexSimError, match="'allreduce': did you mean 'all-reduce'"):
        communication().collective_ns("allreduce", 8, np.arange(8)[None])


def test_the_largest_published_cluster_is_priced_group_by_group() -> None:
    devices = np.arange(3072).reshape(64, 6, 8)
    prices = communication(hosts=384)
    data = prices.collective_ns("all-reduce", 10**9, devices.transpose(0, 2, 1).reshape(-1, 6))
    assert data.shape == (512,)
    assert (data == data[0]).all()
