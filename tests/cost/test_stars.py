"""All-reduces on one device: closed forms on the clusters of the FlexFlow paper."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexsim.cost import Communication, load_device_profile, load_software_profile
from flexsim.cost.profiles import CollectiveConstants
from flexsim.device_graph import load_device_graph
from flexsim.errors import ProfileError
from flexsim.files import data_directory

FLEXFLOW = load_software_profile("flexflow")
K80 = load_device_profile("k80")
PCIE, IB = K80.link("pcie"), K80.link("infiniband")
PCIE_BYTES_PER_S = 15.75e9 * PCIE.transfer_efficiency
IB_BYTES_PER_S = 7e9 * IB.transfer_efficiency
BETWEEN_PAIRS_NS = 4 * 500 + PCIE.transfer_latency_ns
BETWEEN_HOSTS_NS = 2 * (500 + 500 + 600) + IB.transfer_latency_ns
NUM_BYTES = 10**8


def star(graph: str = "k80-16x4", hosts: int = 16) -> Communication:
    """Return prices without launch, own share and ramp."""
    free = CollectiveConstants(launch_ns=0.0, copy_bandwidth_bytes_per_s=math.inf, ramp=0.0)
    found = Communication.of(load_device_graph(graph, hosts), FLEXFLOW)
    return replace(found, constants=free, host_time_ns=0.0)


def all_reduce_ns(*groups: list[int], graph: str = "k80-16x4") -> list[int]:
    hosts = 16 if graph == "k80-16x4" else 4
    return star(graph, hosts).collective_ns("all-reduce", NUM_BYTES, np.array(groups)).tolist()


def nanoseconds(seconds: float, latency_ns: float) -> object:
    return pytest.approx(seconds * 1e9 + latency_ns, abs=1)


def test_the_members_of_a_host_share_the_way_to_its_first() -> None:
    one_way = 3 * NUM_BYTES / PCIE_BYTES_PER_S
    assert all_reduce_ns([0, 1, 2, 3])[0] == nanoseconds(2 * one_way, 2 * BETWEEN_PAIRS_NS)


def test_hosts_share_the_network_link_of_the_first() -> None:
    inside = 3 * NUM_BYTES / PCIE_BYTES_PER_S
    between = 15 * NUM_BYTES / IB_BYTES_PER_S
    latency_ns = 2 * (BETWEEN_PAIRS_NS + BETWEEN_HOSTS_NS)
    expected = nanoseconds(2 * (inside + between), latency_ns)
    assert all_reduce_ns(list(range(64)))[0] == expected


def test_every_nvlink_is_its_own_way() -> None:
    nvlink = load_device_profile("p100-16gb").link("nvlink")
    one_way = NUM_BYTES / (20e9 * nvlink.transfer_efficiency)
    latency_ns = 600 + nvlink.transfer_latency_ns
    found = all_reduce_ns([0, 1, 2, 3], graph="p100-4x4")[0]
    assert found == nanoseconds(2 * one_way, 2 * latency_ns)


def test_concurrent_stars_share_links() -> None:
    alone = all_reduce_ns([0, 4])[0]
    both = all_reduce_ns([0, 4], [1, 5])
    latency_ns = 2 * BETWEEN_HOSTS_NS
    assert both[0] == both[1] == pytest.approx(2 * alone - latency_ns, abs=2)


def test_unequal_hosts_send_straight_to_the_first_member() -> None:
    between = 2 * NUM_BYTES / IB_BYTES_PER_S
    assert all_reduce_ns([0, 4, 5])[0] == nanoseconds(2 * between, 2 * BETWEEN_HOSTS_NS)


def test_the_order_of_members_is_of_no_account() -> None:
    assert all_reduce_ns([5, 0, 4])[0] == all_reduce_ns([0, 4, 5])[0]


def test_other_collectives_are_as_ever() -> None:
    group = np.arange(16)[None]
    rings = replace(star(), all_reduce="rings")
    for kind in ("all-gather", "reduce-scatter", "all-to-all", "broadcast"):
        prices = [each.collective_ns(kind, NUM_BYTES, group)[0] for each in (star(), rings)]
        assert prices[0] == prices[1]


def test_a_wrong_kind_of_all_reduce_is_told_with_the_choices(tmp_path: Path) -> None:
    text = (data_directory("profiles") / "software" / "flexflow.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('all_reduce = "star"', 'all_reduce = "stars"'))
    with pytest.raises(ProfileError, match=r"mine.toml: all_reduce = 'stars': did you mean 'star'"):
        load_software_profile(str(path))
