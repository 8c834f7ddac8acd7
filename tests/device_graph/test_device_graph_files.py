"""Reading device-graph files: what they become, and one sentence for each mistake."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.errors import DeviceGraphError
from flexsim.files import data_directory, shipped_names

LEVELS = """
device_type = "a100-80gb"
devices_per_host = 4
hosts = 2
max_hosts = 16
[intra_host]
kind = "nvlink"
bandwidth = "300 GB/s"
latency = "300 ns"
[nic]
kind = "pcie"
bandwidth = "31.5 GB/s"
latency = "500 ns"
[inter_host]
kind = "ethernet"
bandwidth = "100 Gb/s"
latency = "2 us"
nics_per_host = 2
rails = 1
"""
EXPLICIT = """
hosts = ["a", "b"]
devices = [
  { name = "a0", host = "a", type = "gpu" },
  { name = "a1", host = "a", type = "gpu" },
  { name = "b0", host = "b", type = "other" },
]
switches = [{ name = "sw" }]
[[links]]
source = "a0"
target = "a1"
kind = "nvlink"
bandwidth = "10 GB/s"
latency = "1 us"
[[links]]
source = "a0"
target = "sw"
kind = "infiniband"
bandwidth = "1 GB/s"
latency = "1 us"
[[links]]
source = "sw"
target = "b0"
kind = "infiniband"
bandwidth = "1 GB/s"
latency = "1 us"
"""


def load(tmp_path: Path, text: str, hosts: int | None = None) -> DeviceGraph:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_device_graph(str(path), hosts)


def test_levels_file_becomes_vertices_and_links(tmp_path: Path) -> None:
    graph = load(tmp_path, LEVELS)
    assert graph.name == "mine"
    assert graph.device_types == ("a100-80gb",) * 8
    assert graph.host_of_device.tolist() == [0] * 4 + [1] * 4
    assert graph.vertex_names[8:] == (
        *("host0.nvlink-switch", "host1.nvlink-switch"),
        *("host0.nic0", "host0.nic1", "host1.nic0", "host1.nic1"),
        "rail0",
    )
    assert graph.link_kinds == ("nvlink", "pcie", "ethernet")
    assert np.bincount(graph.links.kind).tolist() == [16, 16, 8]
    assert graph.links.bandwidth_bytes_per_s[-1] == 12.5e9
    assert graph.links.latency_ns[-1] == 2000
    assert [graph.vertex_names[graph.links.source[x]] for x in graph.route(1, 6)] == [
        *("host0.gpu1", "host0.nic0", "rail0", "host1.nic1"),
    ]


@pytest.mark.parametrize("table", ["", "[fat_tree]\nnics_per_leaf = 8\n"])
def test_a_switch_may_be_said_not_to_sum(tmp_path: Path, table: str) -> None:
    text = f"{LEVELS}{table}"
    assert load(tmp_path, text).in_network_reduction
    said = text.replace("[intra_host]", "[intra_host]\nin_network_reduction = false")
    assert not load(tmp_path, said).in_network_reduction


def test_scenario_changes_the_number_of_hosts(tmp_path: Path) -> None:
    assert load(tmp_path, LEVELS, 16).num_devices == 64
    assert load(tmp_path, LEVELS, 1).num_vertices == 5


def test_one_device_a_host_needs_no_inner_level(tmp_path: Path) -> None:
    text = """
device_type = "x"
devices_per_host = 1
hosts = 3
[inter_host]
kind = "ethernet"
bandwidth = "10 Gb/s"
latency = "10 us"
"""
    graph = load(tmp_path, text)
    assert graph.num_vertices == 4
    assert len(graph.route(0, 2)) == 2


def test_explicit_file_becomes_vertices_and_links(tmp_path: Path) -> None:
    graph = load(tmp_path, EXPLICIT)
    assert graph.vertex_names == ("a0", "a1", "b0", "sw")
    assert graph.host_of_vertex.tolist() == [0, 0, 1, -1]
    assert graph.device_types == ("gpu", "gpu", "other")
    assert list(zip(graph.links.source, graph.links.target, strict=True)) == [
        *((0, 1), (1, 0), (0, 3), (3, 0), (3, 2), (2, 3)),
    ]
    assert graph.route(1, 2) == (1, 2, 4)


def test_fewer_hosts_of_an_explicit_file_are_its_first(tmp_path: Path) -> None:
    graph = load(tmp_path, EXPLICIT, 1)
    assert graph.vertex_names == ("a0", "a1", "sw")
    assert graph.num_hosts == 1


def test_fewest_hops_win_then_least_latency_then_lowest_id(tmp_path: Path) -> None:
    text = 'hosts = ["h"]\ndevices = [' + ",".join(
        f'{{ name = "{name}", host = "h", type = "x" }}' for name in "abcd"
    )
    ways = [("a", "b", 9), ("b", "d", 9), ("a", "c", 9), ("c", "d", 9)]

    def routed(b_to_d_us: int) -> list[str]:
        links = "".join(
            f'[[links]]\nsource="{s}"\ntarget="{t}"\nkind="k"\nbandwidth="1 GB/s"\n'
            f'latency="{b_to_d_us if (s, t) == ("b", "d") else us} us"\n'
            for s, t, us in ways
        )
        graph = load(tmp_path, f"{text}]\n{links}")
        return [graph.vertex_names[graph.links.target[x]] for x in graph.route(0, 3)]

    assert routed(9) == ["b", "d"]
    assert routed(10) == ["c", "d"]


@pytest.mark.parametrize("name", shipped_names("device_graphs"))
def test_every_shipped_value_carries_its_source(name: str) -> None:
    text = (data_directory("device_graphs") / f"{name}.toml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(("bandwidth", "latency", "devices_per_host", "nics_per_host")):
            assert "#" in line, line


@pytest.mark.parametrize(
    ("name", "hosts", "devices", "per_direction"),
    [
        ("dgx-a100", 8, 64, {"nvlink": 300e9, "infiniband": 25e9}),
        ("dgx-h100", 4, 32, {"nvlink": 450e9, "infiniband": 50e9}),
        ("dgx2h-v100", 2, 32, {"nvlink": 150e9, "pcie": 15.75e9, "infiniband": 12.5e9}),
        ("pcie-8x2080ti", 1, 8, {"pcie": 15.75e9, "socket": 20.8e9}),
        ("two-hosts-example", 2, 4, {"nvlink": 300e9, "pcie": 31.5e9, "infiniband": 25e9}),
    ],
)
def test_shipped_files_hold_the_data_sheets_numbers(
    name: str, hosts: int, devices: int, per_direction: dict[str, float]
) -> None:
    graph = load_device_graph(name, hosts)
    assert (graph.num_hosts, graph.num_devices) == (hosts, devices)
    links = graph.links
    found = {
        kind: set(links.bandwidth_bytes_per_s[links.kind == code].tolist())
        for code, kind in enumerate(graph.link_kinds)
    }
    assert found == {kind: {value} for kind, value in per_direction.items()}


MISTAKES = [
    (LEVELS, "devices_per_host = 4", "device_per_host = 4", "unknown key device_per_host = 4: did"),
    (
        LEVELS,
        'kind = "pcie"',
        'knid = "pcie"',
        "unknown key nic.knid = 'pcie': did you mean 'kind'",
    ),
    (LEVELS, "devices_per_host = 4", "", "the key devices_per_host is missing"),
    (LEVELS, '"300 GB/s"', '"300 miles"', "intra_host.bandwidth: '300 miles' is not a bandwidth"),
    (LEVELS, '"300 GB/s"', "300", "intra_host.bandwidth: 300 is not a bandwidth"),
    (LEVELS, '"300 GB/s"', '"0 GB/s"', "intra_host.bandwidth = '0 GB/s': a bandwidth must be abo"),
    (LEVELS, '"300 GB/s"', '"-3 GB/s"', "intra_host.bandwidth = '-3 GB/s': a bandwidth must be"),
    (LEVELS, '"300 GB/s"', "nan", "intra_host.bandwidth: nan is not a bandwidth"),
    (LEVELS, '"300 GB/s"', '"nan GB/s"', "intra_host.bandwidth: 'nan GB/s' is not a bandwidth"),
    (LEVELS, '"300 GB/s"', '"1e999 GB/s"', "'1e999 GB/s' is not a finite number"),
    (LEVELS, '"300 GB/s"', '"1.2.3 GB/s"', "intra_host.bandwidth: '1.2.3 GB/s' is not a bandwid"),
    (LEVELS, '"300 ns"', '"-3 ns"', "intra_host.latency = '-3 ns': a latency must lie between"),
    (LEVELS, '"300 ns"', '"300 GB/s"', "intra_host.latency: '300 GB/s' is not a time"),
    (LEVELS, "hosts = 2", "hosts = 17", "hosts = 17 is more than its max_hosts; choose from 1 to"),
    (LEVELS, "hosts = 2", "hosts = 0", "hosts = 0: it should be greater than or equal to 1"),
    (LEVELS, "hosts = 2", 'hosts = "2"', "hosts = '2': it should be a valid integer"),
    (
        LEVELS,
        "nics_per_host = 2",
        "nics_per_host = 3",
        "does not divide the 4 devices of a host; c",
    ),
    (LEVELS, "rails = 1", "rails = 3", "inter_host.rails = 3 does not divide the 2 NICs of a host"),
    (LEVELS, "[intra_host]", "[nonsense]", "unknown key nonsense: "),
    (LEVELS, "[", "[[[", "cannot be read: "),
    (EXPLICIT, 'target = "b0"', 'target = "b1"', "links[2].target = 'b1' is unknown: did you mea"),
    (EXPLICIT, 'source = "sw"', 'source = "ws"', "links[2].source = 'ws' is unknown: did you mea"),
    (EXPLICIT, 'host = "b"', 'host = "c"', "devices[2].host = 'c' is unknown: choose from a, b"),
    (EXPLICIT, '"sw" }', '"sw", host = "z" }', "switches[0].host = 'z' is unknown"),
    (EXPLICIT, '"sw" }', '"a0" }', "the device or switch name 'a0' is given twice"),
    (EXPLICIT, '["a", "b"]', '["a", "a"]', "the host name 'a' is given twice"),
    (EXPLICIT, '["a", "b"]', '["a", "b", "c"]', "the host 'c' has no devices"),
    (EXPLICIT, '["a", "b"]', "2", "hosts = 2: it should be a valid list"),
    (EXPLICIT, 'target = "a1"', 'target = "a0"', "links[0] leads from 'a0' to itself"),
    (EXPLICIT, 'target = "a1"', 'target = "sw"', "links[1] repeats links[0] from 'a0' to 'sw'"),
    (EXPLICIT, '"1 GB/s"', '"0 GB/s"', "links[1].bandwidth = '0 GB/s': a bandwidth must be above"),
    (EXPLICIT, 'target = "b0"', 'target = "a1"', "the device 'b0' cannot be reached from 'a0'"),
    (
        EXPLICIT,
        'target = "b0"',
        'target = "b0"\ndirected = true',
        "the device 'b0' cannot reach 'a0'; add a link out of it",
    ),
    (EXPLICIT, 'target = "b0"', 'target = "b0"\ndirected = "yes"', "links[2].directed = 'yes'"),
    (
        EXPLICIT,
        'target = "b0"',
        'target = "b0"\ndircted = 1',
        "unknown key links[2].dircted = 1: did",
    ),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), MISTAKES, ids=lambda each: each[:40])
def test_each_mistake_is_one_sentence(
    tmp_path: Path, text: str, old: str, new: str, message: str
) -> None:
    assert old in text
    with pytest.raises(DeviceGraphError) as caught:
        load(tmp_path, text.replace(old, new, 1))
    sentence = str(caught.value)
    assert message in sentence
    assert sentence.startswith(f"{tmp_path / 'mine.toml'}: ")
    assert "\n" not in sentence


def test_more_hosts_than_an_explicit_file_has(tmp_path: Path) -> None:
    with pytest.raises(DeviceGraphError, match=r"hosts = 3 is more than .* choose from 1 to 2"):
        load(tmp_path, EXPLICIT, 3)


def test_hosts_without_a_network(tmp_path: Path) -> None:
    text = LEVELS.split("[nic]", maxsplit=1)[0]
    assert load(tmp_path, text, 1).num_devices == 4
    with pytest.raises(DeviceGraphError, match="hosts = 2, but the table inter_host is missing"):
        load(tmp_path, text)


def test_levels_that_leave_devices_apart(tmp_path: Path) -> None:
    shared = LEVELS.replace("[nic]", "[none]")
    start, end = shared.index("[none]"), shared.index("[inter_host]")
    with pytest.raises(DeviceGraphError, match="the table nic is missing"):
        load(tmp_path, shared[:start] + shared[end:])
    start, end = LEVELS.index("[intra_host]"), LEVELS.index("[nic]")
    with pytest.raises(DeviceGraphError, match="the table intra_host is missing"):
        load(tmp_path, LEVELS[:start] + LEVELS[end:])


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceGraphError, match=r"no device graph 'dgx-a10'.*mean 'dgx-a100'"):
        load_device_graph("dgx-a10")
    with pytest.raises(DeviceGraphError, match=r"nowhere.toml: no such device graph file"):
        load_device_graph(str(tmp_path / "nowhere.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceGraphError, match=r"binary.toml: cannot be read"):
        load_device_graph(str(binary))


@pytest.mark.parametrize("hosts", [0, -3])
def test_hosts_must_be_positive(hosts: int) -> None:
    with pytest.raises(DeviceGraphError, match=f"hosts = {hosts} must be 1 or more"):
        load_device_graph("dgx-a100", hosts)


def test_an_absurd_number_of_hosts_is_refused() -> None:
    with pytest.raises(DeviceGraphError, match=r"hosts = 10000000 is more than .* devices"):
        load_device_graph("dgx-a100", 10**7)


def test_importing_device_graphs_stays_light() -> None:
    code = (
        "import sys, flexsim.device_graph;"
        "print([m for m in ('pydantic', 'networkx', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
