"""Groups of devices cost what they do on the first hosts, where hosts are equal."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.cost.alike_hosts import (
    devices_per_equal_host,
    devices_per_host,
    each_in_first_hosts,
    in_first_hosts,
    likeness_of_hosts,
)
from flexsim.cost.collectives import Communication
from flexsim.cost.rings import Rings, find_rings
from flexsim.cost.stars import find_stars
from flexsim.device_graph import load_device_graph
from flexsim.device_graph.graph import DeviceGraph
from flexsim.scenario.prepare import make_costs

HOSTS = 4
LEVELS = ("dgx-a100", "dgx2-v100", "hgx-a100-4xhdr", "gb200-nvl72")


@pytest.mark.parametrize("name", LEVELS)
def test_hosts_of_levels_are_equal_as_a_look_at_all_routes_finds(name: str) -> None:
    graph = load_device_graph(name, 3)
    assert devices_per_equal_host(graph) == devices_per_host(graph) > 0


@pytest.mark.parametrize("column", ["bandwidth_bytes_per_s", "latency_ns", "kind"])
@pytest.mark.parametrize("link", [0, -1])
def test_one_unlike_link_makes_hosts_unequal(column: str, link: int) -> None:
    graph = load_device_graph("dgx-a100", 3)
    values = getattr(graph.links, column).copy()
    values[link] += 1
    changed = replace(graph, links=replace(graph.links, **{column: values}))
    assert devices_per_equal_host(changed) == 0


@pytest.mark.parametrize("name", ["p100-4x4", "hgx-h100-roce", "tpu-v4-pod"])
def test_other_routers_do_not_tell(name: str) -> None:
    assert devices_per_equal_host(load_device_graph(name)) == 0


def test_rows_move_each_by_itself() -> None:
    rows = np.array([[5, 13, 4], [12, 0, 1], [0, 1, 2]])
    moved = each_in_first_hosts(rows, 4)
    assert moved.tolist() == [[1, 5, 0], [4, 0, 1], [0, 1, 2]]
    assert all(
        in_first_hosts(row, 4).tolist() == to.tolist() for row, to in zip(rows, moved, strict=True)
    )


@st.composite
def groups_of(draw: st.DrawFn, graph: DeviceGraph) -> np.ndarray:
    """Draw disjoint groups of one size anywhere in a cluster."""
    devices = draw(st.permutations(range(graph.num_devices)))
    size = draw(st.integers(2, min(12, graph.num_devices)))
    count = draw(st.integers(1, graph.num_devices // size))
    return np.array(devices[: size * count]).reshape(count, size)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_rings_and_stars_are_found_on_the_first_hosts_as_anywhere(data: st.DataObject) -> None:
    graph = load_device_graph(data.draw(st.sampled_from(LEVELS)), HOSTS)
    communication = make_costs(graph).communication
    groups = data.draw(groups_of(graph))
    plain = find_rings(graph, communication.links, groups)
    found = communication.rings_of(groups)
    for name in (field.name for field in fields(Rings)):
        assert np.array_equal(getattr(found, name), getattr(plain, name)), name
    moved = communication.in_first_hosts(groups.reshape(1, -1)).reshape(groups.shape)
    for one, other in zip(
        find_stars(graph, communication.links, groups),
        find_stars(graph, communication.links, moved),
        strict=True,
    ):
        assert np.array_equal(one, other)


def communication_on(name: str, hosts: int, software: str = "megatron-lm") -> Communication:
    found = make_costs(load_device_graph(name, hosts), software).communication
    assert isinstance(found, Communication)
    return found


@pytest.mark.parametrize("name", LEVELS)
def test_clusters_with_more_of_the_same_hosts_are_alike(name: str) -> None:
    few, more, one = (communication_on(name, hosts) for hosts in (2, 5, 1))
    like = [likeness_of_hosts(one.device_graph, one.links) for one in (few, more, one)]
    assert like[0] == like[1] != like[2]
    size = devices_per_host(few.device_graph)
    groups = np.array([[0, 1, size], [2, 3, size + 1]])
    for column in (field.name for field in fields(Rings)):
        plain = [find_rings(one.device_graph, one.links, groups) for one in (few, more)]
        assert np.array_equal(*(getattr(rings, column) for rings in plain)), column
    ends = np.array([0, 1]), np.array([size, size + 3])
    for column in ("bandwidth_bytes_per_s", "latency_ns"):
        assert np.array_equal(*(getattr(one.pace_of(*ends), column) for one in (few, more)))


def test_what_was_found_is_not_taken_for_other_software_or_links() -> None:
    plain = communication_on("dgx-a100", 2)
    links = replace(plain.links, latency_ns=plain.links.latency_ns + 1)
    others = [
        communication_on("dgx-a100", 2, "flexflow"),
        replace(plain, links=links),
        replace(plain, transfer_time_ns=plain.transfer_time_ns + 1),
        replace(plain, constants=replace(plain.constants, launch_ns=1.0)),
    ]
    assert plain.before.once("here", lambda: "found") == "found"
    assert communication_on("dgx-a100", 3).before.once("here", lambda: "again") == "found"
    assert [other.before.once("here", lambda: "anew") for other in others] == ["anew"] * len(others)
