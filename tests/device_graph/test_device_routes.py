"""Routes: shortest, deterministic, the same one by one and all at once."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.levels import LevelsRouter
from flexsim.device_graph.load import device_graph_from
from flexsim.errors import DeviceGraphError

SHIPPED = [
    ("dgx-a100", 3),
    ("dgx-h100", 2),
    ("dgx2h-v100", 2),
    ("pcie-8x2080ti", 1),
    ("two-hosts-example", 2),
]


@pytest.fixture(params=SHIPPED, ids=lambda each: each[0])
def graph(request: pytest.FixtureRequest) -> DeviceGraph:
    return load_device_graph(*request.param)


def vertices_on(graph: DeviceGraph, route: tuple[int, ...]) -> list[int]:
    links = graph.links
    return [int(links.source[link]) for link in route] + [int(links.target[link]) for link in route]


def all_pairs(graph: DeviceGraph) -> tuple[np.ndarray, np.ndarray]:
    return np.divmod(np.arange(graph.num_devices**2), graph.num_devices)


def test_routes_lead_from_source_to_target(graph: DeviceGraph) -> None:
    sources, targets = all_pairs(graph)
    routes = graph.routes(sources, targets)
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        route = routes.row(row)
        if source == target:
            assert len(route) == 0
            continue
        assert graph.links.source[route[0]] == source
        assert graph.links.target[route[-1]] == target
        assert (graph.links.target[route[:-1]] == graph.links.source[route[1:]]).all()


def test_routes_are_shortest_by_hops_then_latency(graph: DeviceGraph) -> None:
    """Compare with networkx; in a levels cluster only switches forward."""
    whole = graph.to_networkx()
    for _, _, data in whole.edges(data=True):
        data["weight"] = 10**9 + data["latency_ns"]
    sources, targets = all_pairs(graph)
    routes = graph.routes(sources, targets)
    weights = 10**9 + graph.links.latency_ns
    for row, (source, target) in enumerate(zip(sources.tolist(), targets.tolist(), strict=True)):
        if isinstance(graph.router, LevelsRouter):
            switches = range(graph.num_devices, graph.num_vertices)
            seen = whole.subgraph([source, target, *switches])
        else:
            seen = whole
        expected = nx.shortest_path_length(seen, source, target, weight="weight")
        assert weights[routes.row(row)].sum() == expected


def test_vectorized_equals_one_by_one(graph: DeviceGraph) -> None:
    sources, targets = all_pairs(graph)
    together = graph.routes(sources, targets)
    picked = range(0, len(sources), 7)
    apart = [graph.route(int(sources[row]), int(targets[row])) for row in picked]
    assert apart == [tuple(together.row(row).tolist()) for row in picked]


def test_routes_do_not_depend_on_what_was_asked_before() -> None:
    first, second = (load_device_graph("pcie-8x2080ti") for _ in range(2))
    sources, targets = all_pairs(first)
    forward = first.routes(sources, targets).values.tolist()
    backward = second.routes(sources[::-1], targets[::-1])
    again = [link for row in range(len(sources) - 1, -1, -1) for link in backward.row(row)]
    assert forward == again


def grid(spreading: str) -> DeviceGraph:
    """Sixteen devices on an open 4 x 4 grid, link by link."""
    names = [f"{row}{column}" for row in range(4) for column in range(4)]
    ways = [(f"{r}{c}", f"{r}{c + 1}") for r in range(4) for c in range(3)]
    ways += [(f"{r}{c}", f"{r + 1}{c}") for r in range(3) for c in range(4)]
    link = {"kind": "ici", "bandwidth": "1 GB/s", "latency": "1 us"}
    content = {
        "hosts": ["h"],
        "devices": [{"name": name, "host": "h", "type": "gpu"} for name in names],
        "links": [{"source": source, "target": target, **link} for source, target in ways],
        "spreading": spreading,
    }
    return device_graph_from(content, Path("mine.toml"))


def test_hashed_routes_are_as_short_and_spread_over_more_links() -> None:
    """From corner to corner and back there are 20 ways each."""
    plain, hashed = grid("none"), grid("hash")
    sources, targets = all_pairs(plain)
    first, second = plain.routes(sources, targets), hashed.routes(sources, targets)
    assert first.counts.tolist() == second.counts.tolist()
    links = hashed.links
    for row in range(0, len(sources), 5):
        path = [int(sources[row]), *links.target[second.row(row)].tolist()]
        assert links.source[second.row(row)].tolist() == path[:-1]
        assert path[-1] == targets[row]
    busiest = [np.bincount(each.values).max() for each in (first, second)]
    assert busiest[1] < busiest[0]
    assert second.values.tolist() == grid("hash").routes(sources, targets).values.tolist()


def test_a_pair_alone_takes_the_way_that_it_takes_among_others() -> None:
    hashed = grid("hash")
    sources, targets = all_pairs(hashed)
    together = hashed.routes(sources, targets)
    for row in range(0, len(sources), 7):
        alone = grid("hash").route(int(sources[row]), int(targets[row]))
        assert alone == tuple(together.row(row).tolist())


def test_no_pairs_give_no_routes(graph: DeviceGraph) -> None:
    routes = graph.routes([], [])
    assert routes.offsets.tolist() == [0]
    assert len(routes.values) == 0


def test_sources_and_targets_broadcast(graph: DeviceGraph) -> None:
    everyone = np.arange(graph.num_devices)
    grid = graph.routes(everyone[:, None], everyone[None, :])
    listed = graph.routes(*all_pairs(graph))
    assert grid.values.tolist() == listed.values.tolist()


@pytest.mark.parametrize("device", [-1, 8])
def test_unknown_device_is_named(device: int) -> None:
    graph = load_device_graph("dgx-a100")
    with pytest.raises(DeviceGraphError, match=f"no device {device}; choose from 0 to 7"):
        graph.route(0, device)


def kinds_on(graph: DeviceGraph, source: int, target: int) -> list[str]:
    return [graph.link_kinds[graph.links.kind[link]] for link in graph.route(source, target)]


def test_same_rail_stays_on_its_rail_switch() -> None:
    graph = load_device_graph("dgx-a100", 2)
    assert kinds_on(graph, 3, 8 + 3) == ["infiniband"] * 2
    assert graph.vertex_names[graph.links.target[graph.route(3, 11)[0]]] == "rail3"


def test_other_rail_crosses_the_spine() -> None:
    graph = load_device_graph("dgx-a100", 2)
    passed = [graph.vertex_names[graph.links.target[x]] for x in graph.route(3, 8 + 5)]
    assert passed == ["rail3", "spine", "rail5", "host1.gpu5"]


def test_spine_lanes_belong_to_one_nic() -> None:
    """A non-blocking tree: flows from different NICs share no link between rails."""
    graph = load_device_graph("dgx-a100", 4)
    routes = graph.routes(np.arange(8), 8 + (np.arange(8) + 1) % 8)
    assert len(np.unique(routes.values)) == len(routes.values) == 8 * 4


def test_two_gpus_of_a_dgx2h_share_a_nic() -> None:
    graph = load_device_graph("dgx2h-v100", 2)
    assert kinds_on(graph, 0, 16) == ["pcie", "infiniband", "infiniband", "pcie"]
    assert graph.route(0, 16)[1:3] == graph.route(1, 17)[1:3]
    assert graph.route(0, 16)[1] != graph.route(2, 16)[1]


def test_sockets_are_crossed_once() -> None:
    graph = load_device_graph("pcie-8x2080ti")
    assert kinds_on(graph, 0, 1) == ["pcie"] * 2
    assert kinds_on(graph, 0, 7) == ["pcie", "pcie", "socket", "pcie", "pcie"]


def test_three_thousand_devices_are_routed_right() -> None:
    graph = load_device_graph("dgx-a100", 384)
    assert (graph.num_devices, graph.num_hosts) == (3072, 384)
    rng = np.random.default_rng(1)
    sources, targets = rng.integers(0, 3072, (2, 20_000))
    routes = graph.routes(sources, targets)
    same_host, same_rail = sources // 8 == targets // 8, sources % 8 == targets % 8
    hops = np.where(same_host | same_rail, 2, 4)
    hops[sources == targets] = 0
    assert (routes.counts == hops).all()
    starts = routes.offsets[:-1][hops > 0]
    ends = routes.offsets[1:][hops > 0] - 1
    assert (graph.links.source[routes.values[starts]] == sources[hops > 0]).all()
    assert (graph.links.target[routes.values[ends]] == targets[hops > 0]).all()
    inner = np.ones(len(routes.values), bool)
    inner[ends] = False
    before = np.flatnonzero(inner)
    links = graph.links
    assert (links.target[routes.values[before]] == links.source[routes.values[before + 1]]).all()
