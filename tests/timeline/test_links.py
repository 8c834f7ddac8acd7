import numpy as np
import pytest
from graphs import csr
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.device_graph import load_device_graph
from flexsim.timeline.crossings import Traffic
from flexsim.timeline.links import host_of_links, link_facts

GRAPH = load_device_graph("dgx-h100", 2)
NUM_LINKS = len(GRAPH.links)
UP, DOWN = GRAPH.route(0, 1)
BYTES_PER_NS = 450


def traffic(rows, ways):
    """Return crossings of (start, end, amount, way); a way is a list of (link, load)."""
    routes = csr([[link for link, _ in way] for way in ways])
    start, end, amount, way = (np.array(column) for column in zip(*rows, strict=True))
    load = np.array([load for way in ways for _, load in way], np.float64)
    return Traffic(
        start.astype(np.int64),
        end.astype(np.int64),
        amount.astype(np.float64),
        way.astype(np.int64),
        routes.offsets,
        routes.values,
        load,
    )


def test_bytes_are_added_and_busy_time_is_counted_once():
    crossings = [(0, 10, 1000, 0), (5, 20, 500, 0), (30, 40, 70, 1)]
    facts = link_facts(GRAPH, 100, traffic(crossings, [[(UP, 1), (DOWN, 1)], [(UP, 2)]]))
    assert facts.num_bytes[[UP, DOWN]].tolist() == [1640, 1500]
    assert facts.busy_ns[[UP, DOWN]].tolist() == [30, 20]
    assert facts.busy_fraction[UP] == 0.3
    assert facts.is_used.sum() == 2


def test_utilization_is_bytes_over_what_the_bandwidth_lets_through():
    full = BYTES_PER_NS * 50
    facts = link_facts(GRAPH, 100, traffic([(0, 50, full, 0)], [[(UP, 1)]]))
    assert facts.utilization[UP] == pytest.approx(0.5)
    assert facts.utilization[DOWN] == 0


def test_the_busiest_link_is_that_with_the_highest_utilization():
    slow = GRAPH.route(0, 8)[-1]  # 50 GB/s
    ways = [[(UP, 1000)], [(slow, 200)], [(DOWN, 1000)]]
    facts = link_facts(GRAPH, 100, traffic([(0, 9, 1, 0), (0, 9, 1, 1), (0, 5, 1, 2)], ways))
    assert facts.busiest_first[:3].tolist() == [slow, UP, DOWN]


def test_utilization_over_time_follows_the_pace():
    crossings = [(0, 25, 25 * BYTES_PER_NS, 0), (50, 100, 10 * BYTES_PER_NS, 0)]
    facts = link_facts(GRAPH, 100, traffic(crossings, [[(UP, 1)]]))
    row = np.full(NUM_LINKS, -1, np.int32)
    row[UP] = 0
    assert facts.over_time(row, 4)[0] == pytest.approx([1, 0, 0.2, 0.2])
    assert facts.over_time(row, 2)[0] == pytest.approx([0.5, 0.2])


def test_links_in_one_row_are_shown_by_their_mean():
    facts = link_facts(GRAPH, 10, traffic([(0, 10, 10 * BYTES_PER_NS, 0)], [[(UP, 1)]]))
    row = np.full(NUM_LINKS, -1, np.int32)
    row[[UP, DOWN]] = 0
    assert facts.over_time(row, 1)[0] == pytest.approx([0.5])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(1, 60), st.integers(1, 9), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 13),
)
def test_time_in_bins_adds_up_to_the_whole(rows, num_bins):
    crossings = [(start, start + length, amount, way) for start, length, amount, way in rows]
    makespan = max(end for _, end, _, _ in crossings)
    ways = [[(UP, 3), (DOWN, 5)], [(DOWN, 1)], [(UP, 7)]]
    facts = link_facts(GRAPH, makespan, traffic(crossings, ways))
    each = facts.over_time(np.arange(NUM_LINKS, dtype=np.int32), num_bins)
    assert each.mean(axis=1) == pytest.approx(facts.utilization)
    for link in (UP, DOWN):
        used = [(a, b) for a, b, _, way in crossings if link in dict(ways[way])]
        busy = {t for a, b in used for t in range(a, b)}
        assert facts.busy_ns[link] == len(busy)


def test_the_table_has_the_links_that_carried_anything():
    out = GRAPH.route(0, 8)[1]
    facts = link_facts(GRAPH, 100, traffic([(0, 9, 40, 0)], [[(UP, 1), (out, 1)]]))
    table = facts.to_frame()
    assert set(table["link"]) == {UP, out}
    row = table.set_index("link").loc[UP]
    assert (row["kind"], row["host"]) == ("nvlink", "host0")
    assert (row["source"], row["num_bytes"], row["busy_ns"]) == ("host0.gpu0", 40, 9)
    between = table[table["kind"] == "infiniband"]
    assert between["host"].tolist() == [""]


def test_links_between_hosts_have_no_host():
    hosts = host_of_links(GRAPH)
    assert hosts[UP] == 0
    assert hosts[GRAPH.route(8, 9)[0]] == 1
    assert hosts[GRAPH.route(0, 8)[1]] == -1
