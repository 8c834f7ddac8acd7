"""Tori: shortest dimension-ordered routes, twists, pods, and what is wrong with a file of one."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.torus import Torus, TorusRouter, has_twist
from flexsim.errors import DeviceGraphError

FILE = """
device_type = "tpu-v4"
[torus]
shape = [4, 4, 8]
host_shape = [2, 2, 1]
kind = "ici"
bandwidth = "50 GB/s"
latency = "1 us"
"""
PODS = """
pods = 2
[nic]
kind = "pcie"
bandwidth = "16 GB/s"
latency = "500 ns"
[inter_pod]
kind = "dcn"
bandwidth = "100 Gb/s"
latency = "10 us"
"""


def load(tmp_path: Path, text: str, hosts: int | None = None) -> DeviceGraph:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_device_graph(str(path), hosts)


def in_pods(text: str, pods: str = PODS) -> str:
    count, tables = pods.split("[", 1)
    return f"{count}{text}[{tables}"


def all_pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.divmod(np.arange(size**2), size)


def check_routes(torus: Torus) -> np.ndarray:
    """Every route is a path of links from source to target, as short as networkx finds."""
    router = TorusRouter(torus)
    source, target = router.ends()
    graph = nx.DiGraph(zip(source.tolist(), target.tolist(), strict=True))
    graph.add_nodes_from(range(torus.size))
    starts, goals = all_pairs(torus.size)
    routes = router.routes(starts, goals)
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    expected = [lengths[s][t] for s, t in zip(starts.tolist(), goals.tolist(), strict=True)]
    assert routes.counts.tolist() == expected
    first, last = routes.offsets[:-1], routes.offsets[1:] - 1
    moves = routes.counts > 0
    assert (source[routes.values[first[moves]]] == starts[moves]).all()
    assert (target[routes.values[last[moves]]] == goals[moves]).all()
    inner = np.setdiff1d(np.arange(len(routes.values)), last[moves])
    assert (target[routes.values[inner]] == source[routes.values[inner + 1]]).all()
    return routes.counts


@pytest.mark.parametrize(
    ("shape", "wrap", "diameter"),
    [
        ((5,), (True,), 2),
        ((5,), (False,), 4),
        ((4, 4), (True, True), 4),
        ((4, 3), (False, True), 4),
        ((2, 3, 4), (True, True, True), 4),
        ((3, 4, 5), (True, False, True), 6),
        ((1, 4, 2), (True, True, True), 3),
        ((2, 2, 2, 3), (True,) * 4, 4),
    ],
)
def test_routes_are_shortest_and_connected(
    shape: tuple[int, ...], wrap: tuple[bool, ...], diameter: int
) -> None:
    assert check_routes(Torus(shape, wrap)).max() == diameter


@pytest.mark.parametrize(
    ("shape", "diameter", "straight"),
    [
        ((2, 2, 4), 3, 4),
        ((4, 4, 8), 6, 8),
        ((3, 6, 3), 4, 5),
        ((2, 4, 4), 3, 5),
        ((6, 3, 6), 4, 7),
    ],
)
def test_twisted_tori_have_shorter_diameters(
    shape: tuple[int, ...], diameter: int, straight: int
) -> None:
    wrap = (True,) * 3
    assert check_routes(Torus(shape, wrap, twisted=True)).max() == diameter
    assert check_routes(Torus(shape, wrap)).max() == straight


def test_a_twist_makes_all_directions_alike() -> None:
    """From every vertex the same number of vertices lies at each distance."""
    router = TorusRouter(Torus((3, 3, 6), (True,) * 3, twisted=True))
    hops = router.routes(*all_pairs(54)).counts.reshape(54, 54)
    profiles = {tuple(np.bincount(row, minlength=8).tolist()) for row in hops}
    assert len(profiles) == 1


def test_crossing_a_seam_shifts_by_the_short_size() -> None:
    torus = Torus((4, 4, 8), (True,) * 3, twisted=True)
    beyond = np.array([[4, 1, 2], [0, -1, 2], [0, 0, 8], [4, 4, 0]])
    expected = np.array([[0, 1, 6], [0, 3, 6], [0, 0, 0], [0, 0, 0]])
    assert torus.vertices(beyond).tolist() == torus.vertices(expected).tolist()


def test_dimensions_are_taken_in_order_and_ties_go_up() -> None:
    router = TorusRouter(Torus((4, 4), (True, True)))
    source, target = router.ends()
    corner, middle = np.array([0]), np.array([10])
    route = router.routes(corner, middle).values
    assert target[route].tolist() == [4, 8, 9, 10]
    back = router.routes(middle, corner).values
    assert target[back].tolist() == [14, 2, 3, 0]
    assert source[back[0]] == 10


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_random_tori_are_routed_right(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    wrap = tuple(data.draw(st.booleans()) for _ in shape)
    check_routes(Torus(shape, wrap))


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        ((4, 4, 8), True),
        ((8, 4, 8), True),
        ((12, 12, 24), True),
        ((4, 4, 4), False),
        ((4, 8, 16), False),
        ((1, 1, 2), False),
        ((4, 8), False),
    ],
)
def test_which_shapes_have_a_twist(shape: tuple[int, ...], answer: bool) -> None:
    assert has_twist(shape) is answer


def test_a_file_becomes_devices_hosts_and_links(tmp_path: Path) -> None:
    graph = load(tmp_path, FILE)
    assert (graph.num_devices, graph.num_hosts, graph.torus) == (128, 32, (4, 4, 8))
    assert len(graph.links) == 128 * 6
    assert graph.vertex_names[9] == "tpu(0,1,1)"
    assert np.flatnonzero(graph.host_of_device == 0).tolist() == [0, 8, 32, 40]
    assert graph.routes([0], [127]).counts.tolist() == [3]


def test_twisted_files_are_twisted(tmp_path: Path) -> None:
    graph = load(tmp_path, FILE.replace("host_shape", "twisted = true\nhost_shape"))
    links = set(zip(graph.links.source.tolist(), graph.links.target.tolist(), strict=True))
    assert (3 * 32, 4) in links
    assert (3 * 32, 0) not in links


def test_between_pods_routes_lead_over_the_hosts_network_cards(tmp_path: Path) -> None:
    graph = load(tmp_path, in_pods(FILE))
    assert (graph.num_devices, graph.num_hosts, graph.torus) == (256, 64, (4, 4, 8))
    names = [graph.vertex_names[graph.links.target[x]] for x in graph.route(9, 128 + 127)]
    assert names == ["host1.nic", "network-switch", "host63.nic", "pod1.tpu(3,3,7)"]
    inside = graph.route(128, 128 + 9)
    assert [graph.vertex_names[graph.links.target[x]] for x in inside] == [
        *("pod1.tpu(0,1,0)", "pod1.tpu(0,1,1)"),
    ]
    switches = range(graph.num_devices, graph.num_vertices)
    whole = graph.to_networkx()
    for target in (140, 200):
        seen = whole.subgraph([9, target, *switches])
        assert len(graph.route(9, target)) == nx.shortest_path_length(seen, 9, target)


@pytest.mark.parametrize(
    ("name", "hosts", "shape"),
    [
        ("tpu-v4-pod", None, (16, 16, 16)),
        ("tpu-v4-pod", 768, (12, 16, 16)),
        ("tpu-v4-pod", 32, (4, 4, 8)),
        ("tpu-v4-pod", 64, (4, 8, 8)),
        ("tpu-v4-pod", 48, (4, 4, 12)),
        ("tpu-v4-pod", 2, (2, 2, 2)),
        ("tpu-v3-pod", 32, (16, 16)),
        ("tpu-v3-pod", 16, (8, 16)),
        ("tpu-v5p", None, (16, 16, 24)),
        ("two-tpu-v4-pods", None, (12, 16, 16)),
        ("two-tpu-v4-pods", 32, (4, 4, 4)),
    ],
)
def test_other_numbers_of_hosts_form_the_shape_nearest_to_a_cube(
    name: str, hosts: int | None, shape: tuple[int, ...]
) -> None:
    graph = load_device_graph(name, hosts)
    assert graph.torus == shape
    assert hosts in (None, graph.num_hosts)
    assert graph.num_devices == (8 if name == "tpu-v3-pod" else 4) * graph.num_hosts


MISTAKES = [
    ("shape = [4, 4, 8]", "shape = [4, 5, 8]", "host_shape = [2, 2, 1] does not divide the torus"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 8]\nwrap = [true, false]", "wrap has 2 values, but sha"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 12]\ntwisted = true", "4 x 4 x 12 has no twist: choose"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 4]\ntwisted = true", "n x n x 2n and n x 2n x 2n"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 8]\ntwisted = true\nwrap = false", "wrap around"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 8]\ntwist = true", "did you mean 'twisted'"),
    ("shape = [4, 4, 8]", "shape = []", "torus.shape = []"),
    ("shape = [4, 4, 8]", "shape = [4, 4, 0]", "torus.shape[2] = 0"),
    ("shape = [4, 4, 8]", "shape = [1024, 1024, 1024]", "1,048,576 devices allow"),
    ('"1 us"', '"-1 us"', "torus.latency = '-1 us': a latency must lie between"),
    ('"tpu-v4"', '"tpu-v4"\ndevices = 100', "devices = 100, but the torus of 4 x 4 x 8 has 128"),
    ('"tpu-v4"', '"tpu-v4"\nhosts = 33', "hosts = 33, but the torus of 4 x 4 x 8 has 32 hosts"),
    ('"tpu-v4"', '"tpu-v4"\npods = 2', "pods = 2, but the table inter_pod is missing"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=lambda each: each[:40])
def test_each_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(DeviceGraphError) as caught:
        load(tmp_path, FILE.replace(old, new, 1))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: ")
    assert "\n" not in str(caught.value)


def test_the_tables_of_pods_need_one_another(tmp_path: Path) -> None:
    nic, inter_pod = PODS.split("[inter_pod]")
    with pytest.raises(DeviceGraphError, match="the table nic needs a table inter_pod"):
        load(tmp_path, in_pods(FILE, nic.replace("pods = 2", "")))
    with pytest.raises(DeviceGraphError, match="the table nic is missing"):
        load(tmp_path, in_pods(FILE, f"pods = 2\n[inter_pod]{inter_pod}"))


@pytest.mark.parametrize(
    ("name", "hosts", "message"),
    [
        ("tpu-v4-pod", 17, "17 hosts of 4 devices do not form a torus: choose hosts = 16 or 32"),
        ("tpu-v4-pod", 2048, "hosts = 2048 is more than its max_hosts; choose from 1 to 1024"),
        ("two-tpu-v4-pods", 33, "do not form 2 equal tori: choose hosts = 32 or 64"),
    ],
)
def test_hosts_that_form_no_torus(name: str, hosts: int, message: str) -> None:
    with pytest.raises(DeviceGraphError, match=message):
        load_device_graph(name, hosts)


def test_twisted_files_stay_twisted_with_other_hosts(tmp_path: Path) -> None:
    text = FILE.replace("host_shape", "twisted = true\ncube_shape = [4, 4, 4]\nhost_shape")
    assert load(tmp_path, text, 64).torus == (4, 8, 8)
    with pytest.raises(DeviceGraphError, match="4 x 4 x 4, which has no twist: choose another"):
        load(tmp_path, text, 16)
