"""Pictures of tori, fat trees and rings: what is on them, and that nothing lies on another."""

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.load import device_graph_from
from flexsim.device_graph.torus import Torus
from flexsim.plotting.topology import layout_of, topology_figure
from flexsim.plotting.topology_torus import TorusLayout, shown_of
from flexsim.plotting.topology_tree import TreeLayout, tree_of


def torus(shape: tuple[int, ...], twisted: bool = False) -> Torus:
    return Torus(shape, (True,) * len(shape), twisted)


def tree_layout(name: str, hosts: int) -> TreeLayout:
    graph = load_device_graph(name, hosts)
    tree = tree_of(graph)
    assert tree is not None
    return TreeLayout(graph, tree)


@pytest.mark.parametrize(
    ("size", "most", "shown"),
    [(4, 4, (0, 1, 2, 3)), (5, 4, (0, 1, 2, 4)), (32, 8, (0, 1, 2, 3, 4, 5, 6, 31)), (1, 4, (0,))],
)
def test_long_dimensions_are_cut_before_their_end(
    size: int, most: int, shown: tuple[int, ...]
) -> None:
    assert shown_of(size, most) == shown


@pytest.mark.parametrize("shape", [(12,), (4, 8), (32, 32), (4, 4, 4), (4, 4, 8), (16, 16, 16)])
def test_devices_of_a_torus_stand_apart(shape: tuple[int, ...]) -> None:
    spots = TorusLayout(torus(shape)).spots.values()
    assert len(spots) == math.prod(len(shown_of(n, (16, 8, 4)[len(shape) - 1])) for n in shape)
    assert min(math.dist(first, second) for first, second in combinations(spots, 2)) > 0.45


def test_every_row_of_a_torus_has_a_way_back() -> None:
    layout = TorusLayout(torus((4, 8)))
    rings = layout.rings()
    assert len(rings) == 4 + 8
    assert ((2, 0), (2, 7), 1) in rings
    assert len(layout.lines()) == 4 * 7 + 3 * 8
    assert not any(is_cut for *_, is_cut in layout.lines())


def test_a_mesh_has_no_way_back_and_a_cut_row_says_so() -> None:
    layout = TorusLayout(Torus((32, 4), (True, False)))
    assert {dimension for *_, dimension in layout.rings()} == {0}
    assert [line for line in layout.lines() if line[2]] == [
        ((6, column), (31, column), True) for column in range(4)
    ]


def test_layers_of_three_dimensions_show_their_own_rings() -> None:
    rings = TorusLayout(torus((4, 4, 4))).rings()
    assert [sum(dimension == d for *_, dimension in rings) for d in range(3)] == [4, 16, 16]


def test_a_fat_tree_shows_its_levels_one_above_the_other() -> None:
    layout = tree_layout("dgx-b200", 4)
    rows = {level: [i.name for i in layout.items.values() if i.level == level] for level in LEVELS}
    assert rows["host"] == [f"host{host}" for host in range(4)]
    assert rows["leaf"] == [f"leaf{leaf}" for leaf in range(8)]
    assert rows["spine"] == [*(f"spine{n}" for n in range(7)), "", "spine31"]
    assert rows["core"] == []
    heights = [item.y for level in LEVELS for item in layout.items.values() if item.level == level]
    assert heights == sorted(heights)


LEVELS = ("host", "leaf", "spine", "core")


def test_what_a_fat_tree_leaves_out_is_counted() -> None:
    layout = tree_layout("hgx-h100-roce", 2048)
    assert sorted(i.left_out for i in layout.items.values() if i.left_out) == [
        *(4, 12, 12, 60, 124, 188, 380, 440),
    ]
    lines = {(line.low.name, line.high.name): line.count for line in layout.lines()}
    assert lines["host0", "leaf0"] == 8
    assert lines["pod5.spine15", "core447"] == 1
    assert ("leaf0", "pod5.spine0") not in lines


@pytest.mark.parametrize(("name", "hosts"), [("dgx-b200", 4), ("hgx-h100-roce", 2048)])
def test_boxes_of_a_row_stand_apart(name: str, hosts: int) -> None:
    items = tree_layout(name, hosts).items.values()
    for level in LEVELS:
        xs = sorted(item.x for item in items if item.level == level)
        assert np.diff(xs).min(initial=9.0) > 1.0


@pytest.mark.parametrize("name", ["dgx-a100", "dgx1-v100", "gb200-nvl72"])
def test_one_host_is_a_ring(name: str) -> None:
    graph = load_device_graph(name)
    layout = layout_of(graph)
    assert sorted(layout.places) == list(range(graph.num_vertices))
    devices = [layout.places[device] for device in range(graph.num_devices)]
    radii = [math.hypot(place.x, place.y) for place in devices]
    assert max(radii) - min(radii) < 1e-9
    spots = [(place.x, place.y) for place in layout.places.values()]
    assert min(math.dist(first, second) for first, second in combinations(spots, 2)) > 0.9


def test_what_joins_all_devices_stands_in_the_middle() -> None:
    graph = load_device_graph("dgx-a100")
    middle = layout_of(graph).places[8]
    assert math.hypot(middle.x, middle.y) == 0
    outside = layout_of(load_device_graph("dgx1-v100")).places[8]
    assert math.hypot(outside.x, outside.y) > 2


def test_trees_of_switches_are_no_rings() -> None:
    graph = load_device_graph("pcie-8x2080ti")
    rows = {round(layout_of(graph).places[device].y, 6) for device in range(8)}
    assert len(rows) == 1


def torus_graph(*shape: int, **keys: object) -> DeviceGraph:
    link = {"kind": "ici", "bandwidth": "50 GB/s", "latency": "1 us"}
    table = {"shape": list(shape), **keys, **link}
    return device_graph_from({"device_type": "tpu-v4", "torus": table}, Path("mine.toml"))


@pytest.mark.parametrize(
    ("graph", "note"),
    [
        (load_device_graph("tpu-v3-pod", 2), "4 × 4 torus"),
        (load_device_graph("tpu-v3-pod"), "32 × 32 torus; dotted lines leave devices out"),
        (load_device_graph("two-tpu-v4-pods"), "12 × 16 × 16 torus; dotted lines"),
        (torus_graph(4, 4, 8, twisted=True), "shift the long dimensions by 4"),
        (torus_graph(12), "a ring of 12"),
        (torus_graph(4, 6, wrap=[False, True]), "4 × 6 torus, open in dimension 1"),
        (torus_graph(3, 3, wrap=False), "3 × 3 mesh"),
        (load_device_graph("hgx-h100-roce", 2048), "large levels are abbreviated"),
        (load_device_graph("a100-v100-mixed"), "6 hosts, 48 devices"),
        (load_device_graph("dgx1-v100"), "1 host, 8 devices"),
    ],
    ids=lambda each: each.name if isinstance(each, DeviceGraph) else each[:20],
)
def test_every_shape_is_drawn_with_its_title(graph: DeviceGraph, note: str, tmp_path: Path) -> None:
    figure = topology_figure(graph)
    figure.savefig(tmp_path / "picture.png")
    title = figure.axes[0].get_title()
    assert title.startswith(f"{graph.name}: ")
    assert note in " ".join(title.split())
