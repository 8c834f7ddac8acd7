"""The lines that describe a device graph."""

from pathlib import Path

from flexsim.device_graph import load_device_graph
from flexsim.device_graph.describe import (
    describe,
    diameter_hops,
    halves_bytes_per_s,
    host_egress_bytes_per_s,
    link_classes,
)


def test_dgx_a100_is_told_in_full() -> None:
    facts = dict(describe(load_device_graph("dgx-a100", 8)))
    assert facts["devices"] == "64 (64 × a100-80gb)"
    assert facts["hosts"] == "8"
    assert facts["nvlink links"] == "128 directed, 300 GB/s, 300 ns each"
    assert facts["infiniband links"].startswith("256 directed, 25.0 GB/s")
    assert facts["longest route"] == "4 links"
    assert facts["bandwidth out of a host"] == "200 GB/s each way"
    assert facts["bandwidth between halves"] == "800 GB/s each way"


def test_one_host_has_no_bandwidth_out_of_it() -> None:
    facts = dict(describe(load_device_graph("pcie-8x2080ti")))
    assert "bandwidth out of a host" not in facts
    assert facts["bandwidth between halves"] == "20.8 GB/s each way"
    assert facts["links out of a device"] == "1"


def test_large_clusters_leave_the_flow_out() -> None:
    labels = [label for label, _ in describe(load_device_graph("dgx-h100", 384))]
    assert "bandwidth between halves" not in labels
    assert "longest route" in labels


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
    assert facts["longest route"] == "0 links"
