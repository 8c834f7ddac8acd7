"""Hosts that are alike: one price serves wherever a group lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexsim.cost import load_software_profile
from flexsim.cost.alike_hosts import devices_per_host, in_first_hosts
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.roofline import Roofline
from flexsim.cost.transfer_table import TabledCommunication, with_transfer_table
from flexsim.device_graph import load_device_graph


@pytest.mark.parametrize(
    ("name", "hosts", "expected"), [("k80-16x4", 16, 4), ("p100-4x4", 4, 4), ("dgx-a100", 2, 8)]
)
def test_hosts_of_clusters_are_alike(name, hosts, expected):
    assert devices_per_host(load_device_graph(name, hosts)) == expected


def test_one_slow_link_makes_hosts_differ():
    graph = load_device_graph("p100-4x4", 4)
    bandwidth = graph.links.bandwidth_bytes_per_s.copy()
    bandwidth[int(graph.route(0, 15)[0])] /= 2
    slower = replace(graph, links=replace(graph.links, bandwidth_bytes_per_s=bandwidth))
    assert devices_per_host(slower) == 0


def test_devices_of_other_types_make_hosts_differ():
    graph = load_device_graph("p100-4x4", 4)
    mixed = replace(graph, device_types=("other", *graph.device_types[1:]))
    assert devices_per_host(mixed) == 0


def test_groups_move_to_the_first_hosts_in_order():
    moved = in_first_hosts(np.array([[13, 6], [7, 12]]), 4)
    assert moved.tolist() == [[5, 2], [3, 4]]


@pytest.mark.parametrize(("name", "hosts"), [("k80-16x4", 16), ("p100-4x4", 4)])
@pytest.mark.parametrize("software", ["flexflow", "megatron-lm"])
def test_collectives_cost_the_same_wherever_they_are(name, hosts, software):
    graph, habits = load_device_graph(name, hosts), load_software_profile(software)
    plain = Communication.of(graph, habits)
    tabled = with_transfer_table(Costs(Roofline(habits), plain, habits)).communication
    assert isinstance(tabled, TabledCommunication)
    rng = np.random.default_rng(0)
    for _ in range(40):
        count = int(rng.integers(2, graph.num_devices // 2))
        devices = rng.permutation(graph.num_devices)[: 2 * count].reshape(2, -1)
        for kind in ("all-reduce", "all-gather", "reduce-scatter", "all-to-all"):
            expected = plain.collective_ns(kind, 10**6, devices)
            assert np.array_equal(tabled.collective_ns(kind, 10**6, devices), expected)
