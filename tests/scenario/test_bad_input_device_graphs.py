"""Mistakes in a device graph that a scenario names, told by the command line in one sentence."""

import math
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from small_gpt import toml_text, write_small

LINK = {"kind": "nvlink", "bandwidth": "300 GB/s", "latency": "300 ns"}
FAR_LINK = {"kind": "infiniband", "bandwidth": "200 Gb/s", "latency": "600 ns"}


def levels(**changes):
    content = {
        "device_type": "a100-80gb",
        "devices_per_host": 4,
        "hosts": 2,
        "intra_host": dict(LINK),
        "inter_host": FAR_LINK | {"nics_per_host": 4},
    }
    for key, value in changes.items():
        table, _, inner = key.rpartition("__")
        (content[table] if table else content)[inner] = value
    return {key: value for key, value in content.items() if value is not None}


def device(name, host="alpha", kind="a100-80gb"):
    return {"name": name, "host": host, "type": kind}


def link(source, target, **changes):
    return {"source": source, "target": target} | LINK | changes


def explicit(**changes):
    """Return four devices of one host on a ring, with keys replaced."""
    content = {
        "hosts": ["alpha"],
        "devices": [device(f"gpu{i}") for i in range(4)],
        "links": [link(f"gpu{i}", f"gpu{(i + 1) % 4}") for i in range(4)],
    }
    return content | changes


def ring(*replaced):
    return [*replaced, *explicit()["links"][len(replaced) :]]


LEVELS = {
    "zero bandwidth": (
        levels(intra_host__bandwidth="0 GB/s"),
        ["intra_host.bandwidth = '0 GB/s'", "above zero"],
    ),
    "negative bandwidth": (
        levels(inter_host__bandwidth="-200 Gb/s"),
        ["inter_host.bandwidth = '-200 Gb/s'", "above zero"],
    ),
    "bandwidth as a time": (levels(intra_host__bandwidth="3 s"), ["intra_host.bandwidth", "'3 s'"]),
    "bandwidth without a unit": (levels(intra_host__bandwidth=300), ["intra_host.bandwidth: 300"]),
    "bandwidth nan": (levels(intra_host__bandwidth="nan GB/s"), ["'nan GB/s'", "bandwidth"]),
    "latency nan": (levels(intra_host__latency=math.nan), ["intra_host.latency", "nan"]),
    "latency as a size": (levels(intra_host__latency="3 GB"), ["intra_host.latency", "'3 GB'"]),
    "negative latency": (levels(inter_host__latency="-1 us"), ["inter_host.latency", "'-1 us'"]),
    "unknown key": (levels(devices_a_host=4), ["devices_a_host = 4", "'devices_per_host'?"]),
    "unknown key of a level": (levels(intra_host__bandwith="1 GB/s"), ["'bandwidth'?"]),
    "missing key": (levels(device_type=None), ["the key device_type is missing"]),
    "devices that cannot meet": (levels(intra_host=None), ["intra_host is missing", "4 devices"]),
    "hosts that cannot meet": (levels(inter_host=None), ["hosts = 2", "inter_host is missing"]),
    "cards by devices": (
        levels(inter_host__nics_per_host=3),
        ["inter_host.nics_per_host = 3", "4 devices", "choose from 1, 2, 4"],
    ),
    "shared cards without a way": (levels(inter_host__nics_per_host=2), ["table nic is missing"]),
    "unknown device type": (levels(device_type="a100"), ["device profile 'a100'", "'a100-80gb'?"]),
    "more hosts than there are": (levels(max_hosts=1), ["hosts = 2", "max_hosts", "1 to 1"]),
    "no hosts": (levels(hosts=0), ["hosts = 0"]),
}

EXPLICIT = {
    "unreachable device": (
        explicit(links=[link("gpu0", "gpu1"), link("gpu1", "gpu2")]),
        ["the device 'gpu3' cannot be reached from 'gpu0'", "add a link into it"],
    ),
    "device without a way out": (
        explicit(links=[*ring()[:2], link("gpu2", "gpu3", directed=True)]),
        ["the device 'gpu3' cannot reach 'gpu0'", "add a link out of it"],
    ),
    "zero bandwidth": (
        explicit(links=ring(link("gpu0", "gpu1", bandwidth="0 GB/s"))),
        ["links[0].bandwidth = '0 GB/s'", "above zero"],
    ),
    "negative bandwidth": (
        explicit(links=ring(link("gpu0", "gpu1", bandwidth="-5 GB/s"))),
        ["links[0].bandwidth = '-5 GB/s'", "above zero"],
    ),
    "device name twice": (
        explicit(devices=[device(name) for name in ("gpu0", "gpu1", "gpu2", "gpu3", "gpu1")]),
        ["name 'gpu1' is given twice"],
    ),
    "host name twice": (explicit(hosts=["alpha", "alpha"]), ["host name 'alpha' is given twice"]),
    "link twice": (
        explicit(links=[*ring(), link("gpu1", "gpu0")]),
        ["links[4] repeats links[0]"],
    ),
    "link to itself": (explicit(links=ring(link("gpu0", "gpu0"))), ["links[0]", "to itself"]),
    "link to nowhere": (
        explicit(links=ring(link("gpu0", "gpu11"))),
        ["links[0].target = 'gpu11'", "did you mean 'gpu1'?"],
    ),
    "unknown host": (
        explicit(devices=[device("gpu0", host="alhpa")]),
        ["devices[0].host = 'alhpa'", "did you mean 'alpha'?"],
    ),
    "host without devices": (explicit(hosts=["alpha", "beta"]), ["host 'beta' has no devices"]),
    "unknown device type": (
        explicit(devices=[*explicit()["devices"][:3], device("gpu3", kind="v100-32")]),
        ["device profile 'v100-32'", "did you mean 'v100-32gb'?"],
    ),
    "no devices": (explicit(devices=[]), ["devices = []"]),
}


@pytest.mark.parametrize("case", [*LEVELS, *(f"explicit {case}" for case in EXPLICIT)])
def test_a_mistake_in_a_device_graph_is_told_with_file_and_key(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, told = LEVELS.get(case) or EXPLICIT[case.removeprefix("explicit ")]
    Path("mine.toml").write_text(toml_text(content), encoding="utf-8")
    cluster = {"device_graph": "mine.toml", "hosts": content["hosts"]}
    if not isinstance(content["hosts"], int) or content["hosts"] < 1:
        cluster["hosts"] = 1 if case == "no hosts" else len(content["hosts"])
    write_small(Path("my.toml"), cluster=cluster)
    error = only_error(flexsim("run", "my.toml"))
    assert error.startswith("error: my.toml: cluster.device_graph")
    assert "mine" in error
    assert all(part in error for part in told), error


@pytest.mark.parametrize("content", [levels(), explicit()])
def test_the_device_graphs_without_mistakes_are_simulated(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(toml_text(content), encoding="utf-8")
    hosts = content["hosts"] if isinstance(content["hosts"], int) else 1
    write_small(
        Path("my.toml"),
        cluster={"device_graph": "mine.toml", "hosts": hosts},
        strategy={"data": hosts},
    )
    assert flexsim("run", "my.toml", "--quiet") == (0, "", "")
