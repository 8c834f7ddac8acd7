"""Mistakes in device-graph files, told by the command line in one sentence with exit code 2."""

import copy
import random
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from small_gpt import toml_text

from flexsim.device_graph.load import device_graph_from
from flexsim.errors import DeviceGraphError

LINK = {"kind": "ici", "bandwidth": "50 GB/s", "latency": "1 us"}
TORUS = {
    "device_type": "tpu-v4",
    "devices": 128,
    "hosts": 32,
    "torus": {"shape": [4, 4, 8], "twisted": True, "host_shape": [2, 2, 1], **LINK},
    "nic": {**LINK, "kind": "pcie"},
    "inter_pod": {**LINK, "kind": "dcn"},
}
EXPLICIT = {
    "hosts": ["alpha"],
    "devices": [{"name": f"gpu{i}", "host": "alpha", "type": "a100-80gb"} for i in range(3)],
    "links": [{"source": "gpu0", "target": "gpu1", **LINK}],
}
FAT_TREE = {
    "device_type": "h100-80gb",
    "devices_per_host": 8,
    "hosts": 4,
    "intra_host": {**LINK, "in_network_reduction": True},
    "inter_host": {**LINK, "nics_per_host": 8, "rails": 4},
    "fat_tree": {
        "nics_per_leaf": 4,
        "leaves_per_pod": 2,
        "oversubscription": [1, 7],
        "uplinks": 2,
        "spreading": "hash",
    },
}
DRAWN = {
    "device_type": "v100-16gb",
    "hosts": 2,
    "inter_host": LINK,
    "host": {
        "devices": 2,
        "nics": ["mlx5_0"],
        "links": [{**LINK, "between": [["gpu0", "gpu1"], ["gpu1", "mlx5_0"]]}],
    },
}
MIXED = {
    "host_types": [{"base": "dgx-a100", "hosts": 2}, {"base": "dgx1-v100", "hosts": 1}],
    "fat_tree": {"nics_per_leaf": 3},
}


def changed(content: dict, **tables: dict) -> dict:
    whole = copy.deepcopy(content)
    for key, value in tables.items():
        whole[key] = whole[key] | value if isinstance(value, dict) else value
    return whole


MISTAKES = {
    "disconnected": (
        EXPLICIT,
        ["the device 'gpu2' cannot be reached from 'gpu0'", "add a link into it"],
    ),
    "a link to nowhere": (
        changed(EXPLICIT, links=[{"source": "gpu0", "target": "gpu7", **LINK}]),
        ["links[0].target = 'gpu7' is unknown", "choose from gpu0, gpu1, gpu2"],
    ),
    "negative latency": (
        changed(TORUS, torus={"latency": "-1 us"}),
        ["torus.latency = '-1 us'", "between 0 s and 60 s"],
    ),
    "a torus of another size": (
        changed(TORUS, devices=64),
        ["devices = 64", "the torus of 4 x 4 x 8 has 128 devices", "choose devices = 128"],
    ),
    "a torus of other hosts": (
        changed(TORUS, hosts=16),
        ["hosts = 16", "has 32 hosts", "choose hosts = 32, or another shape"],
    ),
    "a shape without a twist": (
        changed(TORUS, torus={"shape": [4, 8, 16]}),
        ["4 x 8 x 16 has no twist", "twisted = false", "n x n x 2n and n x 2n x 2n"],
    ),
    "a host that does not fit": (
        changed(TORUS, torus={"host_shape": [3, 1, 1]}),
        ["host_shape = [3, 1, 1] does not divide the torus of 4 x 4 x 8", "choose divisors"],
    ),
    "an unknown way of spreading": (
        changed(FAT_TREE, fat_tree={"spreading": "random"}),
        ["fat_tree.spreading = 'random'", "choose from hash, target"],
    ),
    "too small a leaf": (
        changed(FAT_TREE, fat_tree={"nics_per_leaf": 1}),
        ["fat_tree.nics_per_leaf = 1", "choose 2 or more"],
    ),
    "a host in parts": (
        changed(DRAWN, host={"links": [{**LINK, "between": [["gpu0", "gpu1"]]}]}),
        ["cannot be reached", "'mlx5_0'", "host.links"],
    ),
    "an unknown base": (changed(MIXED, host_types=[{"base": "dgx"}]), ["no device graph 'dgx'"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_the_choices(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, told = MISTAKES[case]
    Path("mine.toml").write_text(toml_text(content), encoding="utf-8")
    error = only_error(flexsim("describe", "mine.toml"))
    assert error.startswith("error: mine.toml: ") or case == "an unknown base"
    assert all(part in error for part in told), error


@pytest.mark.parametrize(
    "content", [TORUS, changed(TORUS, pods=2, devices=256, hosts=64), FAT_TREE, DRAWN, MIXED]
)
def test_the_files_without_mistakes_are_described(
    content: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(toml_text(content), encoding="utf-8")
    status, printed, _ = flexsim("describe", "mine.toml", "--plot", "mine.svg")
    assert status == 0
    assert "bisection bandwidth" in printed
    assert Path("mine.svg").stat().st_size > 1000


ODD_VALUES = (
    *(0, -1, 1.5, True, "", "x", None, [], {}, [1], [[]], 2**70, "1 GB/s", "1 us", "-1 us"),
    *([4, 4, 8], [0], ["gpu0", "gpu0"], {"kind": 1}, float("nan")),
)


def places_in(content: object, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values inside nested tables and lists."""
    items: list = []
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content))
    return [p for key, value in items for p in ((*path, key), *places_in(value, (*path, key)))]


@pytest.mark.parametrize("content", [TORUS, FAT_TREE, DRAWN, MIXED, EXPLICIT])
def test_odd_values_never_raise_anything_else(content: dict) -> None:
    rng = random.Random(5)
    for path in places_in(content):
        for odd in rng.sample(ODD_VALUES, 8):
            whole = copy.deepcopy(content)
            inner = whole
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            try:
                device_graph_from(whole, Path("mine.toml"), rng.choice([None, 1, 2, 3]))
            except DeviceGraphError as told:
                assert "\n" not in str(told)
