import numpy as np
import pandas as pd
import pytest

import flexsim
from flexsim.scenario.communication_report import links_sentence
from flexsim.timeline.links import LinkFacts

CONTENT = {
    "model": {
        "name": "gpt",
        "layers": 4,
        "hidden": 1024,
        "heads": 8,
        "sequence": 256,
        "vocabulary": 5120,
    },
    "cluster": {"device_graph": "dgx-a100", "hosts": 2, "devices": 16},
    "training": {"global_batch": 8, "micro_batch": 1},
    "strategy": {"name": "megatron", "tensor": 2, "pipeline": 2, "data": 4, "fold": False},
}


def simulated(network="analytic", fold=False, **simulation):
    content = {
        **CONTENT,
        "strategy": {**CONTENT["strategy"], "fold": fold},
        "simulation": {"network": network, **simulation},
    }
    return flexsim.run(flexsim.Scenario.from_dict(content))


@pytest.fixture(scope="module")
def results():
    return {network: simulated(network) for network in ("analytic", "links", "fair")}


def test_every_network_moves_the_same_bytes_over_the_same_links(results):
    analytic, links, fair = (results[name].links for name in ("analytic", "links", "fair"))
    assert links.num_bytes.tolist() == fair.num_bytes.tolist()
    assert analytic.num_bytes.tolist() == links.num_bytes.tolist()
    assert links.is_used.any()


def test_segments_that_go_link_by_link_carry_the_same_bytes(results):
    cut = simulated("links", segment="64 KB", forwarding="store-and-forward").links
    assert cut.num_bytes.tolist() == results["links"].links.num_bytes.tolist()


@pytest.mark.parametrize("network", ["analytic", "links", "fair"])
def test_no_link_carries_more_than_its_bandwidth_or_is_busy_beyond_the_end(results, network):
    links = results[network].links
    every = np.arange(len(links.num_bytes), dtype=np.int32)
    assert links.makespan_ns == results[network].timeline.makespan_ns
    assert links.over_time(every, 50).max() <= 1 + 1e-9
    assert (links.busy_ns <= links.makespan_ns).all()
    assert (links.utilization <= links.busy_fraction + 1e-9).all()


def test_tensor_parallel_rings_of_two_send_all_they_reduce_once():
    content = {**CONTENT, "cluster": {"device_graph": "dgx-a100", "hosts": 1, "devices": 2}}
    strategy = {"name": "megatron", "tensor": 2, "fold": False, "gradient_norm": False}
    result = flexsim.run(flexsim.Scenario.from_dict({**content, "strategy": strategy}))
    frame = result.timeline.to_frame()
    reduced = frame[frame["kind"] == "tensor"]["num_bytes"].sum()
    # an all-reduce of two sends 2 (n - 1) / n = 1 times its message up each member's link
    up, down = result.links.device_graph.route(0, 1)
    assert result.links.num_bytes[[up, down]].tolist() == [reduced, reduced]


def test_folded_devices_are_not_followed_and_that_is_said():
    result = simulated(fold=True)
    assert result.links == "not followed; --set strategy.fold=false follows every one"


def test_links_are_written_where_they_were_followed(results, tmp_path):
    names = {path.name for path in results["links"].save(tmp_path / "links")}
    assert {"links.csv", "links.png"} <= names
    table = pd.read_csv(tmp_path / "links" / "links.csv")
    links = results["links"].links
    assert isinstance(links, LinkFacts)
    assert table["num_bytes"].tolist() == links.num_bytes[table["link"]].tolist()
    assert len(table) == links.is_used.sum()
    assert table["utilization"].is_monotonic_decreasing
    assert "links.csv" not in {path.name for path in simulated(fold=True).save(tmp_path / "no")}


def test_the_files_are_the_same_each_time(results, tmp_path):
    results["fair"].save(tmp_path / "one")
    simulated("fair").save(tmp_path / "two")
    one, two = ((tmp_path / name / "links.csv").read_bytes() for name in ("one", "two"))
    assert one == two


def test_too_many_crossings_are_left_out_with_a_sentence(monkeypatch):
    import flexsim.timeline.message_traffic as module

    monkeypatch.setattr(module, "MOST_CROSSED", 10)
    assert simulated().links == (
        "not followed: messages cross more than 10 links, one after the other"
    )


def test_the_report_names_the_busiest_link(results):
    links = results["links"].links
    busiest = int(links.busiest_first[0])
    sentence = links_sentence(links)
    assert sentence.startswith(f"busiest link: {links.name(busiest)} (infiniband), ")
    assert "of its 25 GB/s used, busy " in sentence
