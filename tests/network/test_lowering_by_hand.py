"""Messages as flows: every time worked out by hand from the links' constants."""

from dataclasses import replace

import numpy as np
import pytest
from messages_by_hand import Message, communication, graph_of, lowered, spans

from flexsim.errors import FlexSimError
from flexsim.network.lower import lower
from flexsim.network.options import NetworkOptions

TWO_HOSTS = communication("two-hosts-example")
A100 = communication("dgx-a100", 1)
MB = 10**6


def road(model, source, target, sort="transfer"):
    """Return the bandwidths of a route's links and their latency with that of the message."""
    links = model.links
    route = np.array(model.device_graph.route(source, target))
    if sort == "transfer":
        rate, late = links.transfer_bandwidth_bytes_per_s, links.transfer_latency_ns
    else:
        rate, late = links.collective_bandwidth_bytes_per_s, links.step_latency_ns
    return rate[route], round(links.latency_ns[route].sum() + late[route].max())


def wire_ns(num_bytes, rate):
    return max(1, round(num_bytes / rate * 1e9))


def test_a_transfer_takes_its_bytes_over_the_least_bandwidth_and_then_the_latency():
    rates, late_ns = road(TWO_HOSTS, 0, 2)
    assert len(rates) == 4
    timeline = spans([Message((0, 2), 8 * MB)], TWO_HOSTS)
    assert timeline.makespan_ns == wire_ns(8 * MB, rates.min()) + late_ns
    priced = TWO_HOSTS.transfer_ns(8 * MB, np.array([0]), np.array([2]))
    assert abs(timeline.makespan_ns - priced[0]) <= 1


@pytest.mark.parametrize("options", [{}, {"segment_bytes": 1000}])
def test_a_transfer_takes_at_least_what_the_host_does(options):
    hurried = replace(TWO_HOSTS, host_time_ns=50_000.0)
    assert spans([Message((0, 2), 3000)], hurried, **options).makespan_ns == 50_000
    priced = hurried.transfer_ns(8 * MB, np.array([0]), np.array([2]))
    assert abs(spans([Message((0, 2), 8 * MB)], hurried).makespan_ns - priced[0]) <= 1


def test_transfers_that_share_links_take_turns_and_their_latencies_overlap():
    rates, late_ns = road(TWO_HOSTS, 0, 2)
    first, second = wire_ns(8 * MB, rates.min()), wire_ns(2 * MB, rates.min())
    timeline = spans([Message((0, 2), 8 * MB), Message((1, 3), 2 * MB)], TWO_HOSTS)
    assert timeline.start_ns.tolist() == [0, first]
    assert timeline.end_ns.tolist() == [first + late_ns, first + second + late_ns]


def test_links_carry_both_directions_at_once():
    there, back = Message((0, 2), 8 * MB), Message((2, 0), 8 * MB)
    alone = spans([there], TWO_HOSTS).makespan_ns
    assert spans([there, back], TWO_HOSTS).end_ns.tolist() == [alone, alone]


def test_a_channel_is_held_until_its_transfer_has_arrived():
    twice = [Message((0, 2), 8 * MB)] * 2
    alone = spans(twice[:1], TWO_HOSTS).makespan_ns
    assert spans(twice, TWO_HOSTS).end_ns.tolist() == [alone, 2 * alone]


def test_segments_let_a_small_transfer_in_between():
    rates, late_ns = road(TWO_HOSTS, 0, 2)
    piece = wire_ns(MB, rates.min())
    both = [Message((0, 2), 8 * MB), Message((1, 3), MB)]
    timeline = spans(both, TWO_HOSTS, segment_bytes=MB)
    assert timeline.start_ns.tolist() == [0, piece]
    assert timeline.end_ns[1] == 2 * piece + late_ns
    assert timeline.end_ns[0] == pytest.approx(9 * piece + late_ns, abs=8)


def test_store_and_forward_takes_the_links_one_after_the_other():
    rates, late_ns = road(TWO_HOSTS, 0, 2)
    timeline = spans([Message((0, 2), 8 * MB)], TWO_HOSTS, forwarding="store-and-forward")
    hops = sum(wire_ns(8 * MB, rate) for rate in rates)
    assert timeline.makespan_ns == pytest.approx(hops + late_ns, abs=1)


def test_segments_follow_each_other_through_the_links_of_a_route():
    rates, late_ns = road(TWO_HOSTS, 0, 2)
    below = lowered([Message((0, 2), 8 * MB)], TWO_HOSTS, segment_bytes=MB)
    assert below.num_flows == 8
    stored = {"segment_bytes": MB, "forwarding": "store-and-forward"}
    below = lowered([Message((0, 2), 8 * MB)], TWO_HOSTS, **stored)
    assert below.num_flows == 8 * len(rates)
    assert below.routes.counts.tolist() == [1] * 32
    timeline = spans([Message((0, 2), 8 * MB)], TWO_HOSTS, **stored)
    filling = sum(wire_ns(MB, rate) for rate in rates)
    slowest = 7 * wire_ns(MB, rates.min())
    assert timeline.makespan_ns == pytest.approx(filling + slowest + late_ns, abs=16)


def test_a_ring_is_its_overhead_its_steps_and_one_nanosecond_to_join_them():
    rates, late_ns = road(A100, 0, 1, "collective")
    group, num_bytes = np.arange(4), 4 * MB
    overhead_ns = A100.overhead_ns("all-reduce", "ring", num_bytes, group)
    step = wire_ns(MB, rates.min()) + late_ns
    timeline = spans([Message(group, num_bytes, "all-reduce")], A100, algorithm="ring")
    assert timeline.makespan_ns == overhead_ns + 6 * step + 1
    below = lowered([Message(group, num_bytes, "all-reduce")], A100, algorithm="ring")
    assert below.num_flows == 4 * 6
    assert set(below.flow_bytes.tolist()) == {MB}
    assert below.flow_bytes.sum() == 2 * 3 * num_bytes


def test_collectives_of_one_stream_take_turns_and_those_of_two_meet_on_links():
    group, num_bytes = tuple(range(4)), 4 * MB
    one = [Message(group, num_bytes, "all-reduce")]
    alone = spans(one, A100, algorithm="ring").makespan_ns
    assert spans(one * 2, A100, algorithm="ring").end_ns.tolist() == [alone, 2 * alone]
    other = Message(group, num_bytes, "all-reduce", stream="tensor")
    both = spans([*one, other], A100, algorithm="ring")
    rates, late_ns = road(A100, 0, 1, "collective")
    wire = wire_ns(MB, rates.min())
    assert late_ns < wire  # so each of a ring's steps but the last waits for the other ring's
    first = alone + 5 * (wire - late_ns)
    assert both.start_ns.tolist() == [0, 0]
    assert both.end_ns.tolist() == [first, first + wire]


def test_turns_follow_the_starts_that_are_given_not_the_ids():
    both = [Message((0, 2), 8 * MB), Message((0, 2), 2 * MB)]
    options = NetworkOptions()
    below = lower(graph_of(both), TWO_HOSTS, options, True, np.array([5, 0]))
    assert below.graph.in_degree[below.first].tolist() == [1, 0]


def test_what_sends_nothing_stays_as_it_is():
    graph = graph_of([Message((0, 0), MB), Message((0, 1), 0)])
    below = lower(graph, TWO_HOSTS, NetworkOptions(), True)
    assert below.num_flows == 0
    assert below.graph.duration_ns.tolist() == [1, 1]


def test_flows_that_share_links_hold_none():
    below = lowered([Message((0, 2), MB)], TWO_HOSTS, hold_links=False)
    assert below.graph.resources.counts.tolist() == [1, 0]
    assert below.routes.row(0).tolist() == list(TWO_HOSTS.device_graph.route(0, 2))
    rates, _ = road(TWO_HOSTS, 0, 2)
    assert below.flow_bandwidth_bytes_per_s.tolist() == [rates.min()]
    assert below.wire_ns.tolist() == [wire_ns(MB, rates.min())]


def test_an_algorithm_serves_the_collectives_that_have_it():
    messages = [
        Message((0, 1, 2, 3), MB, "all-reduce"),
        Message((4, 5, 6, 7), MB, "all-to-all"),
    ]
    below = lowered(messages, A100, algorithm="halving-doubling")
    steps = np.bincount(below.origin[below.flow])
    assert steps.tolist() == [4 * 4, 4 * 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forwarding": "teleport"}, "there is no forwarding 'teleport': .*cut-through"),
        ({"segment_bytes": 0}, "segment_bytes = 0: a segment has at least one byte"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(FlexSimError, match=message):
        NetworkOptions(**options)


def test_what_memory_cannot_hold_is_refused_before_it_is_written():
    small = Message((0, 1, 2, 3), MB, "all-reduce")
    with pytest.raises(FlexSimError, match=r"24 flows in 50 rows would take .* GiB are free"):
        lowered([small], A100, algorithm="ring", memory_bytes=7500)
    with pytest.raises(FlexSimError, match="all-reduce by 'ring' among 4 members is about 24"):
        lowered([small], A100, algorithm="ring", memory_bytes=1000)
