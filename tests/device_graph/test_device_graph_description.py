"""The lines that describe a device graph."""

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.cuts import (
    bisection_bytes_per_s,
    diameter_hops,
    halves_bytes_per_s,
    torus_cut_links,
)
from flexsim.device_graph.describe import describe, host_egress_bytes_per_s, link_classes
from flexsim.device_graph.load import device_graph_from
from flexsim.device_graph.torus import Torus, TorusRouter


def test_dgx_a100_is_told_in_full() -> None:
    facts = dict(describe(load_device_graph("dgx-a100", 8)))
    assert facts["devices"] == "64 (64 × a100-80gb)"
    assert facts["hosts"] == "8"
    assert facts["nvlink links"] == "128 directed, 300 GB/s, 300 ns each"
    assert facts["infiniband links"].startswith("256 directed, 25.0 GB/s")
    assert facts["diameter"] == "4 links on the longest route"
    assert facts["bandwidth out of a host"] == "200 GB/s each way"
    assert facts["bisection bandwidth"] == (
        "800 GB/s each way, between the first half of the devices and the rest"
    )


def test_one_host_has_no_bandwidth_out_of_it() -> None:
    facts = dict(describe(load_device_graph("pcie-8x2080ti")))
    assert "bandwidth out of a host" not in facts
    assert facts["bisection bandwidth"].startswith("20.8 GB/s each way")
    assert facts["links out of a device"] == "1"


def test_large_clusters_are_told_in_full_too() -> None:
    facts = dict(describe(load_device_graph("hgx-h100-roce", 3072)))
    assert facts["devices"] == "24,576 (24,576 × h100-80gb)"
    # Half of 8 pods of 3,072 devices with 50 GB/s each, seven to one between pods.
    assert facts["bisection bandwidth"].startswith(f"{4 * 3072 * 50 / 7 / 1000:.1f} TB/s")
    assert facts["diameter"] == "6 links on the longest route"


def test_links_are_counted_by_kind() -> None:
    classes = link_classes(load_device_graph("two-hosts-example"))
    assert [(each.kind, each.num_links) for each in classes] == [
        *(("nvlink", 4), ("pcie", 8), ("infiniband", 4)),
    ]


def test_levels_diameter_from_one_device_is_that_of_all() -> None:
    graph = load_device_graph("dgx2h-v100", 3)
    everyone = range(graph.num_devices)
    assert diameter_hops(graph) == max(len(graph.route(s, t)) for s in everyone for t in everyone)


def test_egress_and_halves_of_the_example() -> None:
    graph = load_device_graph("two-hosts-example")
    assert host_egress_bytes_per_s(graph).tolist() == [25e9, 25e9]
    assert halves_bytes_per_s(graph) == 25e9


def test_one_device_alone_can_be_described(tmp_path: Path) -> None:
    path = tmp_path / "alone.toml"
    path.write_text('device_type = "cpu"\ndevices_per_host = 1\n', encoding="utf-8")
    facts = dict(describe(load_device_graph(str(path))))
    assert facts["devices"] == "1 (1 × cpu)"
    assert facts["diameter"] == "0 links on the longest route"


TORI = [
    *(((6,), False), ((4, 4), False), ((3, 4), False), ((5, 2), False), ((4, 4, 2), False)),
    *(((2, 2, 4), True), ((4, 4, 8), True), ((2, 4, 4), True), ((3, 3, 6), True)),
]


def torus_graph(shape: tuple[int, ...], twisted: bool, wrap: bool = True) -> DeviceGraph:
    link = {"kind": "ici", "bandwidth": "10 GB/s", "latency": "1 us"}
    torus = {"shape": list(shape), "wrap": wrap, "twisted": twisted, **link}
    return device_graph_from({"device_type": "tpu-v4", "torus": torus}, Path("mine.toml"))


def flow_across(torus: Torus, dimension: int) -> float:
    """Return networkx' maximum flow between the halves of a torus with links of capacity 1."""
    source, target = TorusRouter(torus).ends()
    flow: nx.DiGraph = nx.DiGraph()
    for ends in zip(source.tolist(), target.tolist(), strict=True):
        before = flow.edges[ends]["capacity"] if flow.has_edge(*ends) else 0
        flow.add_edge(*ends, capacity=before + 1)
    half = torus.points(np.arange(torus.size))[:, dimension] < torus.shape[dimension] // 2
    for vertex, is_first in enumerate(half.tolist()):
        flow.add_edge(*(("first", vertex) if is_first else (vertex, "second")))
    return float(nx.maximum_flow_value(flow, "first", "second"))


@pytest.mark.parametrize(("shape", "twisted"), TORI)
@pytest.mark.parametrize("wrap", [True, False])
def test_cuts_of_tori_are_what_flows_across_them(
    shape: tuple[int, ...], twisted: bool, wrap: bool
) -> None:
    if twisted and not wrap:
        return
    torus = Torus(shape, (wrap,) * len(shape), twisted)
    cuts = [torus_cut_links(torus, dimension) for dimension in range(len(shape))]
    assert cuts == [flow_across(torus, dimension) for dimension in range(len(shape))]
    bandwidth, cut = bisection_bytes_per_s(torus_graph(shape, twisted, wrap))
    assert bandwidth == min(cuts) * 10e9
    assert cut == f"across dimension {cuts.index(min(cuts)) + 1}"


@pytest.mark.parametrize(
    ("shape", "twisted"), [((8,), False), ((4, 2), False), ((2, 6), False), ((4, 3), False)]
)
def test_no_other_half_of_a_small_torus_is_cut_by_fewer_links(
    shape: tuple[int, ...], twisted: bool
) -> None:
    graph = torus_graph(shape, twisted)
    devices = range(graph.num_devices)
    source, target = graph.links.source, graph.links.target
    least = min(
        int((np.isin(source, half) & ~np.isin(target, half)).sum())
        for half in itertools.combinations(devices, graph.num_devices // 2)
    )
    assert bisection_bytes_per_s(graph)[0] == least * 10e9


def test_a_twist_widens_the_narrowest_cut() -> None:
    straight, twisted = (bisection_bytes_per_s(torus_graph((4, 4, 8), t))[0] for t in (False, True))
    assert (straight, twisted) == (32 * 10e9, 64 * 10e9)


@pytest.mark.parametrize(("name", "hosts"), [("dgx1-v100", 2), ("hgx-h100-roce", 6)])
def test_halves_are_what_networkx_finds(name: str, hosts: int) -> None:
    graph = load_device_graph(name, hosts)
    links = graph.links
    flow: nx.DiGraph = nx.DiGraph()
    ends = zip(links.source.tolist(), links.target.tolist(), strict=True)
    capacities = links.bandwidth_bytes_per_s.tolist()
    flow.add_edges_from((*x, {"capacity": c}) for x, c in zip(ends, capacities, strict=True))
    for device in range(graph.num_devices):
        is_first = device < graph.num_devices // 2
        flow.add_edge(*(("first", device) if is_first else (device, "second")))
    expected = nx.maximum_flow_value(flow, "first", "second")
    assert halves_bytes_per_s(graph) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        load_device_graph("a100-v100-mixed", 4),
        load_device_graph("dgx1-v100", 2),
        load_device_graph("hgx-h100-roce", 6),
        load_device_graph("two-tpu-v4-pods", 16),
        torus_graph((4, 3, 2), twisted=False, wrap=False),
        torus_graph((4, 4, 8), twisted=True),
    ],
    ids=lambda graph: f"{graph.name}-{graph.num_devices}",
)
def test_the_diameter_from_few_devices_is_that_of_all(graph: DeviceGraph) -> None:
    everyone = np.arange(graph.num_devices)
    hops = graph.routes(everyone[:, None], everyone[None, :]).counts
    assert diameter_hops(graph) == hops.max()


def test_a_torus_is_told_by_its_shape() -> None:
    facts = dict(describe(load_device_graph("two-tpu-v4-pods")))
    assert facts["torus"] == "12 x 16 x 16, wrap-around in dimensions 1, 2, 3, 2 pods"
    assert facts["links out of a device"] == "7"
    assert facts["diameter"] == "22 links on the longest route"
    # 768 hosts a pod with 100 Gb/s each.
    assert facts["bisection bandwidth"].startswith("9.60 TB/s each way")
    pod = dict(describe(load_device_graph("tpu-v4-pod")))
    assert pod["bisection bandwidth"] == "25.6 TB/s each way, across dimension 1"
