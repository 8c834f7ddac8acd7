"""The picture of a device graph: everything on it once, nothing on top of another."""

from pathlib import Path

import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.plotting.topology import drawn_links, link_colours, topology_figure
from flexsim.plotting.topology_layout import lay_out

CASES = [
    ("dgx-a100", 1),
    ("dgx-a100", 8),
    ("dgx2h-v100", 8),
    ("pcie-8x2080ti", None),
    ("two-hosts-example", None),
]


@pytest.mark.parametrize(("name", "hosts"), CASES)
def test_every_vertex_has_a_place_of_its_own(name: str, hosts: int | None) -> None:
    graph = load_device_graph(name, hosts)
    layout = lay_out(graph)
    assert sorted(layout.places) == list(range(graph.num_vertices))
    assert layout.note == ""
    points = np.array(
        [(p.x, p.y) for p in layout.places.values() if p.role in ("device", "switch")]
    )
    apart = np.abs(points[:, None] - points[None, :]).max(axis=2) + np.eye(len(points))
    assert apart.min() > 0.9


@pytest.mark.parametrize(("name", "hosts"), CASES)
def test_devices_stand_inside_the_frame_of_their_host(name: str, hosts: int | None) -> None:
    graph = load_device_graph(name, hosts)
    layout = lay_out(graph)
    for device, host in enumerate(graph.host_of_device.tolist()):
        box, place = layout.boxes[host], layout.places[device]
        assert box.left < place.x < box.right
        assert box.bottom < place.y < box.top


def test_frames_do_not_overlap() -> None:
    boxes = lay_out(load_device_graph("dgx-a100", 8)).boxes
    for index, first in enumerate(boxes):
        for second in boxes[index + 1 :]:
            beside = first.right < second.left or second.right < first.left
            apart = first.top < second.bottom or second.top < first.bottom
            assert beside or apart


def test_lines_to_the_bars_pass_no_other_device() -> None:
    graph = load_device_graph("dgx-a100", 8)
    layout = lay_out(graph)
    for source, target, kind, is_two_way in drawn_links(graph, layout):
        assert is_two_way
        if kind == "infiniband" and source < graph.num_devices:
            (x0, _), (x1, y1) = layout.ends(source, target)
            assert x0 == x1
            assert y1 == layout.places[target].y


def test_parallel_and_opposite_links_are_one_line() -> None:
    graph = load_device_graph("dgx-a100", 8)
    lines = drawn_links(graph, lay_out(graph))
    assert len(lines) == len(set(lines)) == 64 + 64 + 8


def test_large_clusters_are_cut_and_say_so() -> None:
    graph = load_device_graph("dgx-a100", 384)
    layout = lay_out(graph)
    assert len(layout.boxes) == 8
    assert sum(place.role == "device" for place in layout.places.values()) == 64
    assert layout.note == "the first 8 of 384 hosts are drawn"


def test_many_devices_a_host_are_cut_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "wide.toml"
    path.write_text(
        'device_type = "x"\ndevices_per_host = 40\n[intra_host]\nkind = "k"\n'
        'bandwidth = "1 GB/s"\nlatency = "1 us"\n',
        encoding="utf-8",
    )
    layout = lay_out(load_device_graph(str(path)))
    assert layout.note == "the first 16 of 40 devices a host are drawn"
    assert len(layout.places) == 17


def test_kinds_have_different_colours() -> None:
    colours = link_colours(load_device_graph("dgx2h-v100", 2))
    assert list(colours) == ["nvlink", "pcie", "infiniband"]
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize(("name", "hosts"), [("two-hosts-example", None), ("dgx-a100", 2)])
def test_the_picture_is_drawn_with_legend_and_title(
    name: str, hosts: int | None, tmp_path: Path
) -> None:
    graph = load_device_graph(name, hosts)
    figure = topology_figure(graph)
    figure.savefig(tmp_path / "picture.png")
    ax = figure.axes[0]
    assert ax.get_title() == f"{name}: 2 hosts, {graph.num_devices} devices"
    legend = ax.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert any(text.startswith("infiniband: 25.0 GB/s") for text in texts)


def test_one_way_links_get_an_arrow(tmp_path: Path) -> None:
    devices = ",".join(f'{{ name = "{n}", host = "h", type = "x" }}' for n in "abc")
    links = "".join(
        f'[[links]]\nsource="{s}"\ntarget="{t}"\nkind="ici"\nbandwidth="1 GB/s"\nlatency="1 us"\n'
        "directed = true\n"
        for s, t in ("ab", "bc", "ca")
    )
    path = tmp_path / "ring.toml"
    path.write_text(f'hosts = ["h"]\ndevices = [{devices}]\n{links}', encoding="utf-8")
    graph = load_device_graph(str(path))
    assert drawn_links(graph, lay_out(graph)) == [
        *((0, 1, "ici", False), (1, 2, "ici", False), (2, 0, "ici", False)),
    ]
    topology_figure(graph).savefig(tmp_path / "ring.png")
