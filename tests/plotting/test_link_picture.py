import matplotlib.image
import numpy as np
import pytest

from flexsim.device_graph import load_device_graph
from flexsim.plotting.links import link_figure, link_table, save_link_picture, strips
from flexsim.timeline.crossings import Traffic
from flexsim.timeline.links import link_facts


def facts_of(num_hosts, num_bytes):
    """Return facts of links of which number n carries ``num_bytes[n]`` from 0 to 1000 ns."""
    graph = load_device_graph("dgx-h100", num_hosts)
    used = np.flatnonzero(num_bytes)
    count = len(used)
    crossings = Traffic(
        np.zeros(count, np.int64),
        np.full(count, 1000),
        np.array(num_bytes, np.float64)[used],
        np.arange(count),
        np.arange(count + 1),
        used.astype(np.int32),
        np.ones(count),
    )
    return link_facts(graph, 1000, crossings)


def test_few_links_have_a_strip_each_in_order_of_kind_and_host():
    graph = load_device_graph("dgx-h100", 2)
    nics = [graph.route(8, 0)[1], graph.route(0, 8)[1]]
    local = [graph.route(9, 8)[0], graph.route(1, 0)[0]]
    num_bytes = np.zeros(len(graph.links), int)
    num_bytes[[*nics, *local]] = 10
    chosen = strips(facts_of(2, num_bytes))
    assert chosen.group[:2] == ("nvlink, host0", "nvlink, host1")
    assert set(chosen.group[2:]) == {"infiniband"}
    assert chosen.names[:2] == (
        "host0.gpu1 → host0.nvlink-switch",
        "host1.gpu1 → host1.nvlink-switch",
    )
    assert (chosen.row >= 0).sum() == 4


def test_of_many_links_the_busiest_have_strips_and_the_others_of_a_kind_share_one():
    graph = load_device_graph("dgx-h100", 8)
    num_bytes = np.arange(1, len(graph.links) + 1)
    facts = facts_of(8, num_bytes)
    chosen = strips(facts, most=20)
    kind, is_shared = graph.links.kind, [name.startswith("mean of") for name in chosen.names]
    assert chosen.names.count("mean of 118 others") == 1  # of 128 NVLinks
    own = np.flatnonzero(~np.array(is_shared)[chosen.row])
    for code in np.unique(kind):
        busiest = [link for link in facts.busiest_first if kind[link] == code][:10]
        assert sorted(own[kind[own] == code]) == sorted(busiest)
    assert is_shared == ([False] * 10 + [True]) * 2
    assert (chosen.row >= 0).all()


def test_links_with_the_same_ends_are_told_apart():
    graph = load_device_graph("dgx-h100", 2)
    chosen = strips(facts_of(2, np.ones(len(graph.links), int)), most=200)
    assert len(set(chosen.names)) == len(chosen.names) == len(graph.links)
    assert any("(link " in name for name in chosen.names)


def test_the_table_is_utilization_over_time():
    graph = load_device_graph("dgx-h100", 1)
    num_bytes = np.zeros(len(graph.links), int)
    num_bytes[3] = 450 * 500
    table = link_table(facts_of(1, num_bytes), num_bins=4)
    assert table.shape == (1, 4)
    assert table.to_numpy()[0] == pytest.approx([0.5] * 4)
    assert table.columns.tolist() == pytest.approx([0, 2.5e-7, 5e-7, 7.5e-7])


def test_the_picture_grows_with_its_strips(tmp_path):
    few = link_figure(facts_of(1, np.ones(16, int)), "one host")
    many = link_figure(facts_of(2, np.ones(96, int)), "two hosts")
    assert few.get_size_inches()[1] < many.get_size_inches()[1]
    path = save_link_picture(facts_of(1, np.ones(16, int)), "costs $5 and $6", tmp_path / "l.png")
    assert matplotlib.image.imread(path).shape[2] in (3, 4)


def test_links_that_carried_nothing_make_a_picture_too(tmp_path):
    facts = facts_of(1, np.zeros(16, int))
    assert save_link_picture(facts, "nothing", tmp_path / "links.png").is_file()
