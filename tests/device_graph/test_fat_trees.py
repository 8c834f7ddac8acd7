"""Fat trees and mixed clusters: routes, bandwidth above the leaves, spreading, and mistakes."""

import tracemalloc
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.load import device_graph_from
from flexsim.errors import DeviceGraphError

LINK = {"bandwidth": "100 GB/s", "latency": "1 us"}
NETWORK = {"kind": "infiniband", "bandwidth": "10 GB/s", "latency": "1 us"}
HOST = {
    "device_type": "a100-80gb",
    "devices_per_host": 4,
    "intra_host": {"kind": "nvlink", **LINK},
    "inter_host": NETWORK,
}
DRAWN = {
    "device_type": "v100-16gb",
    "inter_host": NETWORK,
    "host": {
        "devices": 4,
        "nics": ["left", "right"],
        "switches": ["plx0", "plx1"],
        "links": [
            {"kind": "nvlink", "between": [["gpu0", "gpu1"], ["gpu2", "gpu3"]], **LINK},
            {
                "kind": "pcie",
                "bandwidth": "16 GB/s",
                "latency": "500 ns",
                "between": [
                    *(["gpu0", "plx0"], ["gpu1", "plx0"], ["left", "plx0"], ["plx0", "plx1"]),
                    *(["gpu2", "plx1"], ["gpu3", "plx1"], ["right", "plx1"]),
                ],
            },
        ],
    },
}


def cluster(hosts: int, rails: int = 4, base: dict = HOST, **fat_tree: object) -> DeviceGraph:
    inter_host = {**base["inter_host"], "rails": rails}
    content = {**base, "hosts": hosts, "inter_host": inter_host, "fat_tree": fat_tree}
    return device_graph_from(content, Path("mine.toml"))


def names_on(graph: DeviceGraph, source: int, target: int) -> list[str]:
    return [graph.vertex_names[graph.links.target[x]] for x in graph.route(source, target)]


def check_routes(graph: DeviceGraph) -> None:
    """Every route is a path of links; between hosts as short as networkx finds over switches."""
    number = graph.num_devices
    sources, targets = np.divmod(np.arange(number**2), number)
    routes = graph.routes(sources, targets)
    links, whole = graph.links, graph.to_networkx()
    switches = range(number, graph.num_vertices)
    outside = nx.Graph(whole.subgraph(switches))
    for row, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        path = [source, *links.target[routes.row(row)].tolist()]
        assert links.source[routes.row(row)].tolist() == path[:-1]
        assert path[-1] == target
        if graph.host_of_device[source] != graph.host_of_device[target]:
            seen = outside.copy()
            for end in (source, target):
                near = (x for x in whole.successors(end) if x >= number)
                seen.add_edges_from((end, x) for x in near)
            assert len(path) - 1 == nx.shortest_path_length(seen, source, target)


@pytest.mark.parametrize(
    "graph",
    [
        cluster(5, nics_per_leaf=2),
        cluster(5, rails=1, nics_per_leaf=8),
        cluster(6, rails=2, nics_per_leaf=4, oversubscription=2),
        cluster(9, rails=1, nics_per_leaf=4, leaves_per_pod=2, oversubscription=[1, 7]),
        cluster(9, rails=1, nics_per_leaf=4, leaves_per_pod=2, spreading="hash"),
        cluster(3, rails=2, base=DRAWN, nics_per_leaf=1),
        load_device_graph("a100-v100-mixed", 4),
        load_device_graph("dgx1-v100", 2),
    ],
    ids=lambda graph: f"{graph.name}-{graph.num_vertices}",
)
def test_routes_are_shortest_and_connected(graph: DeviceGraph) -> None:
    check_routes(graph)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_random_fat_trees_are_routed_right(data: st.DataObject) -> None:
    rails = data.draw(st.sampled_from([1, 2, 4]))
    table = {"nics_per_leaf": data.draw(st.integers(4 // rails, 9))}
    table["oversubscription"] = data.draw(st.sampled_from([1, 1.5, 4]))
    table["spreading"] = data.draw(st.sampled_from(["target", "hash"]))
    if data.draw(st.booleans()):
        table["leaves_per_pod"] = data.draw(st.integers(1, 4))
    check_routes(cluster(data.draw(st.integers(1, 5)), rails, **table))


def test_rails_stay_on_their_leaf_within_a_unit() -> None:
    graph = cluster(4, nics_per_leaf=2)
    assert names_on(graph, 1, 4 + 1) == ["leaf1", "host1.gpu1"]
    assert names_on(graph, 1, 4 + 2) == ["leaf1", "spine1", "leaf2", "host1.gpu2"]
    assert names_on(graph, 1, 12 + 1) == ["leaf1", "spine1", "leaf5", "host3.gpu1"]


def test_without_rails_a_host_hangs_on_one_leaf() -> None:
    graph = cluster(4, rails=1, nics_per_leaf=8)
    assert names_on(graph, 1, 4 + 2) == ["leaf0", "host1.gpu2"]
    assert names_on(graph, 1, 8 + 2)[1::2] == ["spine2", "host2.gpu2"]


def test_messages_go_up_only_as_far_as_they_must() -> None:
    graph = cluster(8, rails=1, nics_per_leaf=4, leaves_per_pod=4)
    assert names_on(graph, 0, 4) == ["leaf0", "pod0.spine0", "leaf1", "host1.gpu0"]
    assert names_on(graph, 0, 20) == [
        *("leaf0", "pod0.spine0", "core1", "pod1.spine0", "leaf5", "host5.gpu0"),
    ]


def above(graph: DeviceGraph, name: str) -> float:
    """Return the bandwidth of all links up from the switches whose names begin with ``name``."""
    links = graph.links
    height = {"leaf": 0, "spine": 1, "core": 2}

    def level(vertex: int) -> int:
        plain = graph.vertex_names[vertex].rpartition(".")[2].rstrip("0123456789")
        return height.get(plain, -1)

    ends = zip(links.source, links.target, strict=True)
    up = [level(source) == height[name] < level(target) for source, target in ends]
    return float(links.bandwidth_bytes_per_s[np.array(up)].sum())


@pytest.mark.parametrize(("factor", "spines"), [(1, 8), (2, 4), (3, 3), (7, 2)])
def test_oversubscription_divides_what_leads_up_from_leaves(factor: int, spines: int) -> None:
    graph = cluster(4, rails=1, nics_per_leaf=8, oversubscription=factor)
    assert above(graph, "leaf") == pytest.approx(16 * 10e9 / factor)
    assert sum("spine" in name for name in graph.vertex_names) == spines


def test_oversubscription_of_pods_divides_what_leads_up_from_spines() -> None:
    graph = cluster(8, rails=1, nics_per_leaf=4, leaves_per_pod=4, oversubscription=[1, 7])
    assert above(graph, "leaf") == pytest.approx(32 * 10e9)
    assert above(graph, "spine") == pytest.approx(32 * 10e9 / 7)


def test_fewer_uplinks_carry_more_each() -> None:
    graph = cluster(4, rails=1, nics_per_leaf=8, uplinks=2)
    assert above(graph, "leaf") == pytest.approx(16 * 10e9)
    assert set(graph.links.bandwidth_bytes_per_s.tolist()) == {100e9, 10e9, 40e9}


def test_a_permutation_shares_no_link_in_a_non_blocking_tree() -> None:
    graph = cluster(16, rails=1, nics_per_leaf=8, leaves_per_pod=4)
    devices = np.arange(64)
    for shift in (4, 8, 20, 32, 36):
        routes = graph.routes(devices, (devices + shift) % 64)
        assert len(np.unique(routes.values)) == len(routes.values)


def test_hashing_spreads_evenly_and_always_alike() -> None:
    graph = cluster(16, rails=1, nics_per_leaf=8, spreading="hash")
    sources, targets = np.divmod(np.arange(64 * 64), 64)
    first = graph.routes(sources, targets)
    again = cluster(16, rails=1, nics_per_leaf=8, spreading="hash").routes(sources, targets)
    assert first.values.tolist() == again.values.tolist()
    spines = [i for i, name in enumerate(graph.vertex_names) if name.startswith("spine")]
    users = np.bincount(graph.links.target[first.values])[spines]
    assert len(spines) == 8
    assert users.min() > 0.8 * users.mean()
    assert users.max() < 1.2 * users.mean()


def test_devices_share_the_nearest_network_cards() -> None:
    graph = cluster(2, rails=2, base=DRAWN, nics_per_leaf=2)
    assert [names_on(graph, device, 4)[1] for device in range(4)] == [
        *("host0.left", "host0.left", "host0.right", "host0.right"),
    ]
    assert names_on(graph, 0, 1) == ["host0.gpu1"]
    assert names_on(graph, 0, 3) == ["host0.gpu1", "host0.plx0", "host0.plx1", "host0.gpu3"][1:]


def test_mixed_clusters_hold_each_kind_of_host() -> None:
    graph = load_device_graph("a100-v100-mixed")
    assert graph.device_types == ("a100-80gb",) * 16 + ("v100-16gb",) * 32
    assert names_on(graph, 0, 16) == [
        *("leaf0", "host2.nic0", "host2.plx0", "host2.gpu0"),
    ]
    links = graph.links
    a100, v100 = graph.route(0, 16)[:2]
    assert links.bandwidth_bytes_per_s[[a100, v100]].tolist() == [25e9, 12.5e9]
    assert load_device_graph("a100-v100-mixed", 3).num_devices == 24


def test_one_host_of_a_fat_tree_has_no_network() -> None:
    graph = load_device_graph("dgx-h200")
    assert (graph.num_devices, graph.num_vertices, len(graph.links)) == (8, 9, 16)
    assert names_on(graph, 0, 7) == ["host0.nvlink-switch", "host0.gpu7"]


def test_sixteen_thousand_devices_take_no_quadratic_memory() -> None:
    """A byte for every pair of devices would be 268 MB."""
    tracemalloc.start()
    graph = load_device_graph("hgx-h100-roce", 2048)
    devices = np.arange(graph.num_devices)
    routes = graph.routes(devices, devices[::-1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert graph.num_devices == 16_384
    assert set(routes.counts.tolist()) == {4, 6}
    assert peak < 50e6


def test_a_file_builds_on_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "dgx-h100"\nhosts = 4\n[fat_tree]\nnics_per_leaf = 2\n')
    graph = load_device_graph(str(path))
    assert graph.num_devices == 32
    assert names_on(graph, 0, 31) == ["leaf0", "spine1", "leaf15", "host3.gpu7"]
    assert graph.links.bandwidth_bytes_per_s.max() == 450e9
    above_it = tmp_path / "other.toml"
    above_it.write_text('base = "mine.toml"\nhosts = 2\n[intra_host]\nbandwidth = "1 GB/s"\n')
    graph = load_device_graph(str(above_it))
    assert graph.num_devices == 16
    assert graph.links.bandwidth_bytes_per_s.min() == 1e9


MISTAKES = [
    ({"fat_tree": {"nics_per_leaf": 2}, "rails": 1}, "host has 4 NICs on one leaf; choose 4 or m"),
    ({"fat_tree": {}}, "the key fat_tree.nics_per_leaf is missing"),
    ({"fat_tree": {"nics_per_leaf": 4, "oversubscription": 0.5}}, "oversubscription[0] = 0.5"),
    ({"fat_tree": {"nics_per_leaf": 4, "oversubscription": [1, 7]}}, "leaves_per_pod is missing"),
    ({"fat_tree": {"nics_per_leaf": 4, "spreading": "ecmp"}}, "choose from hash, target"),
    ({"fat_tree": {"nics_per_leaf": 4, "leafs_per_pod": 4}}, "did you mean 'leaves_per_pod'"),
    ({"host": {"devices": 2}}, "devices_per_host cannot stand beside the table host"),
    ({"fat_tree": {"nics_per_leaf": 4}, "devices_per_host": None}, "devices_per_host is missing"),
    ({"fat_tree": {"nics_per_leaf": 4}, "inter_host": None}, "the table inter_host is missing"),
    ({"base": "dgx-a10"}, "there is no device graph 'dgx-a10': did you mean 'dgx-a100'"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=lambda each: str(each)[:40])
def test_each_mistake_is_one_sentence(changes: dict, message: str) -> None:
    inter_host = {**NETWORK, "rails": changes.pop("rails", 4)}
    content = {**HOST, "hosts": 2, "inter_host": inter_host, **changes}
    content = {key: value for key, value in content.items() if value is not None}
    with pytest.raises(DeviceGraphError) as caught:
        device_graph_from(content, Path("mine.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


HOST_MISTAKES = [
    ("between", [["gpu0", "gpu9"]], "links[0].between[0] = 'gpu9' is unknown"),
    ("between", [["gpu0", "gpu0"]], "leads from 'gpu0' to itself"),
    ("between", [["gpu0", "gpu1"], ["gpu1", "gpu0"]], "joins 'gpu1' and 'gpu0' a second time"),
    ("between", [["gpu0", "gpu1"]], "in a host, 'gpu2' cannot be reached from 'gpu0'; add a lin"),
    ("latency", "-1 us", "host.links[0].latency = '-1 us': a latency must lie between"),
]


@pytest.mark.parametrize(
    ("key", "value", "message"), HOST_MISTAKES, ids=lambda each: str(each)[:30]
)
def test_each_mistake_in_a_drawn_host_is_one_sentence(
    key: str, value: object, message: str
) -> None:
    links = [{"kind": "nvlink", "between": [["gpu0", "gpu1"]], **LINK, key: value}]
    host = {"devices": 3, "links": links}
    with pytest.raises(DeviceGraphError) as caught:
        device_graph_from({**DRAWN, "host": host}, Path("mine.toml"))
    assert message in str(caught.value)


def test_kinds_of_hosts_come_from_files_of_hosts(tmp_path: Path) -> None:
    content = {"host_types": [{"base": "tpu-v4-pod", "hosts": 2}]}
    with pytest.raises(DeviceGraphError, match=r"host_types\[0\].base = 'tpu-v4-pod' gives no k"):
        device_graph_from(content, tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text('base = "mine.toml"\n')
    with pytest.raises(DeviceGraphError, match=r"base = 'mine.toml' builds on itself"):
        load_device_graph(str(tmp_path / "mine.toml"))
    with pytest.raises(DeviceGraphError, match="hosts = 9 is more than the hosts that the file"):
        load_device_graph("a100-v100-mixed", 9)
