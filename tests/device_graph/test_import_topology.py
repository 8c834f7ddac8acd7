"""Import of ``nvidia-smi topo -m``: what each machine becomes, and what is wrong with a text."""

import tomllib
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from topo_samples import dgx1, dgx_a100, hgx_a100_4, pcie_8x2080ti

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.device_graph.load import device_graph_from
from flexsim.device_graph.topo_import import TopoOptions, topology_file
from flexsim.device_graph.topo_text import parse_topo
from flexsim.errors import DeviceGraphError


def imported(text: str, device_type: str, hosts: int = 1, **bandwidths: str) -> DeviceGraph:
    options = TopoOptions(device_type, bandwidths)
    written = topology_file(parse_topo(text, "topo.txt"), options, "topo.txt")
    return device_graph_from(tomllib.loads(written), Path("mine.toml"), hosts)


def drawn(graph: DeviceGraph) -> set[tuple[frozenset[str], str, float]]:
    """Return every link by the names of its ends, its kind and its bandwidth."""
    links = graph.links
    names = [name.partition(".")[2] for name in graph.vertex_names]
    rows = zip(
        *(links.source.tolist(), links.target.tolist(), links.kind.tolist()),
        links.bandwidth_bytes_per_s.tolist(),
        strict=True,
    )
    return {(frozenset((names[s], names[t])), links.link_kinds[k], b) for s, t, k, b in rows}


def names_on(graph: DeviceGraph, source: int, target: int) -> list[str]:
    return [graph.vertex_names[graph.links.target[x]] for x in graph.route(source, target)]


def test_a_dgx1_becomes_the_shipped_hybrid_cube_mesh() -> None:
    graph, shipped = imported(dgx1(), "v100-16gb"), load_device_graph("dgx1-v100")
    lower = str.lower
    ours = {(frozenset(map(lower, ends)), b) for ends, kind, b in drawn(graph) if kind == "nvlink"}
    theirs = {(ends, b) for ends, kind, b in drawn(shipped) if kind == "nvlink"}
    assert ours == theirs
    assert graph.num_vertices == 8 + 4 + 4 + 2
    assert names_on(graph, 0, 4) == ["host0.GPU4"]
    pcie = [(ends, b) for ends, kind, b in drawn(graph) if kind == "pcie"]
    assert {b for _, b in pcie} == {15.75e9}
    assert frozenset({"mlx5_0", "pcie0"}) in {ends for ends, _ in pcie}
    assert [k for _, k, _ in drawn(graph)].count("socket") == 1


def test_a_dgx_a100_gets_an_nvswitch_and_its_network_cards() -> None:
    graph = imported(dgx_a100(), "a100-80gb", 2, nic="200 Gb/s")
    assert names_on(graph, 0, 7) == ["host0.nvswitch", "host0.GPU7"]
    assert graph.links.bandwidth_bytes_per_s[graph.route(0, 7)[0]] == 300e9
    between = names_on(graph, 0, 8)
    assert between[:2] == ["host0.bridge0", "host0.mlx5_2"]
    assert names_on(graph, 1, 9)[1] == "host0.mlx5_3"
    assert names_on(graph, 7, 8)[1] == "host0.mlx5_9"
    assert graph.links.bandwidth_bytes_per_s[graph.route(0, 8)[0]] == 31.5e9


def test_pcie_hosts_become_trees_under_sockets() -> None:
    graph, shipped = imported(pcie_8x2080ti(), "rtx-2080ti"), load_device_graph("pcie-8x2080ti")
    devices = [(source, target) for source in range(8) for target in range(8)]

    def lengths(each: DeviceGraph) -> list[int]:
        return [len(each.route(*pair)) for pair in devices]

    assert lengths(graph) == lengths(shipped)
    assert graph.links.bandwidth_bytes_per_s.min() == 15.75e9
    assert graph.links.bandwidth_bytes_per_s.max() == 20.8e9
    assert names_on(graph, 0, 2) == [f"host0.{x}" for x in ("pcie0", "socket0", "pcie1", "GPU2")]


def test_few_gpus_with_links_to_each_other_have_no_switch() -> None:
    graph = imported(hgx_a100_4(), "a100-80gb")
    assert graph.num_vertices == 4
    assert names_on(graph, 0, 3) == ["host0.GPU3"]
    assert set(graph.links.bandwidth_bytes_per_s.tolist()) == {100e9}


def test_given_bandwidths_replace_those_of_the_device_type() -> None:
    graph = imported(pcie_8x2080ti(), "rtx-2080ti", pcie="7.5 GB/s", socket="9 GB/s")
    assert set(graph.links.bandwidth_bytes_per_s.tolist()) == {7.5e9, 9e9}
    graph = imported(hgx_a100_4(), "my-own-device", nvlink="10GB/s")
    assert set(graph.links.bandwidth_bytes_per_s.tolist()) == {40e9}


@pytest.mark.parametrize("sample", [dgx1(), dgx_a100(), pcie_8x2080ti(), hgx_a100_4()])
def test_noise_around_the_table_changes_nothing(sample: str) -> None:
    first = parse_topo(sample, "topo.txt")
    noisy = "Sat Nov  1\n$ nvidia-smi topo -m\n" + sample.replace("\n", "\r\n").replace("\t", "  ")
    second = parse_topo(noisy, "topo.txt")
    assert (first.names, first.words) == (second.names, second.words)


def test_old_drivers_say_soc_where_new_ones_say_sys() -> None:
    old = pcie_8x2080ti().replace(" SYS", " SOC")
    assert parse_topo(old, "topo.txt") == parse_topo(pcie_8x2080ti(), "topo.txt")


MISTAKES = [
    ("", "it holds no table of `nvidia-smi topo -m`, whose first line begins with GPU0"),
    (hgx_a100_4().replace("\nGPU2", "\nHPU2"), "the table has a column GPU2, but no such row"),
    (hgx_a100_4().replace("GPU3\t NV4", "GPU3\t NV5"), "row GPU0 says NV4 of GPU3, but row GPU3"),
    (hgx_a100_4().replace(" NV4", " NVX", 1), "the entry 'NVX' in row GPU0, column GPU1 is unkno"),
    (hgx_a100_4().split("GPU3\t NV4")[0] + "GPU3\tNV4\n", "the row GPU3 has 1 entries, but there"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=lambda each: each[:30])
def test_each_mistake_in_a_text_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(DeviceGraphError) as caught:
        parse_topo(text, "topo.txt")
    assert str(caught.value).startswith("topo.txt: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_generations_are_asked_for() -> None:
    with pytest.raises(
        DeviceGraphError, match=r"give --bandwidth nvlink=\.\.\., or a device type of"
    ):
        imported(hgx_a100_4(), "rtx-2080ti")
    with pytest.raises(
        DeviceGraphError, match=r"give --bandwidth pcie=\.\.\., or a device type of"
    ):
        imported(pcie_8x2080ti(), "my-own-device")


def test_the_command_writes_a_file_that_can_be_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("topo.txt").write_text(dgx_a100(), encoding="utf-8")
    command = ("import-topology", "topo.txt", "--device-type", "a100-80gb")
    status, printed, _ = flexsim(*command)
    assert status == 0
    assert tomllib.loads(printed)["host"]["switches"][0] == "nvswitch"
    options = ("--output", "mine.toml", "--bandwidth", "nic=200Gb/s")
    status, said, _ = flexsim(*command, *options)
    assert status == 0
    assert "flexsim describe mine.toml" in said
    assert load_device_graph("mine.toml", 4).num_devices == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device-type", "a100"), "there is no device profile 'a100'"),
        (("--device-type", "a100-80gb", "--bandwidth", "nics=1GB/s"), "did you mean 'nic'?"),
        (("--device-type", "a100-80gb", "--bandwidth", "nic=fast"), "'fast' is not a bandwidth"),
        (("--device-type", "a100-80gb", "--bandwidth", "nic=0GB/s"), "must be above zero"),
        (("--device-type", "a100-80gb"), "topo.txt: No such file"),
    ],
)
def test_each_mistake_on_the_command_line_is_one_sentence(
    options: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "No such" not in message:
        Path("topo.txt").write_text(dgx_a100(), encoding="utf-8")
    assert message in only_error(flexsim("import-topology", "topo.txt", *options))
