from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from fair_oracle import exact_ends, exact_rates
from graphs import csr
from hand_made_flows import GB, make_flows, make_lowered
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine.event import simulate
from flexsim.engine.fair import simulate_fair
from flexsim.engine.fair_rates import fair_rates
from flexsim.errors import DeadlockError


def ends(lowered):
    timeline = simulate_fair(lowered)
    return timeline.end_ns[lowered.flow].tolist()


def test_a_flow_alone_takes_its_time_on_the_wire():
    assert ends(make_flows([(0, 1000, [0, 1])], [10, 4])) == [250]


def test_two_flows_on_one_link_take_twice_as_long():
    assert ends(make_flows([(0, 1000, [0]), (0, 1000, [0])], [10])) == [200, 200]


def test_when_a_flow_ends_early_the_other_speeds_up():
    # 10 B/ns: both at 5 until the short one has moved 500 at 100; the long one moves its other
    # 500 at 10 in 50 more.
    assert ends(make_flows([(0, 500, [0]), (0, 1000, [0])], [10])) == [100, 150]


def test_a_flow_that_comes_late_slows_the_first_down():
    # alone until 60 (600 moved), then at 5: the other 400 take 80, to 140; by then the second
    # has moved 400 of 1000, the rest takes 60 at 10.
    assert ends(make_flows([(0, 1000, [0]), (60, 1000, [0])], [10])) == [140, 200]


def test_in_a_parking_lot_the_long_flow_gets_what_its_tightest_link_leaves_it():
    # The long flow and one short flow a link: 3 B/ns each on the link of 6, so 9 on that of 12.
    lot = make_flows([(0, 300, [0, 1]), (0, 900, [0]), (0, 300, [1])], [12, 6])
    assert ends(lot) == [100, 100, 100]
    rates = fair_rates(csr([[0, 1], [0], [1]]), np.full(3, 100.0), np.array([12.0, 6.0]))
    assert rates.tolist() == [3, 9, 3]


def test_a_flow_takes_no_more_than_it_can_and_leaves_the_rest_to_others():
    rates = fair_rates(csr([[0], [0], [0]]), np.array([1.0, 50, 50]), np.array([9.0]))
    assert rates.tolist() == [1, 4, 4]


def test_a_link_that_is_not_equally_good_for_two_flows_is_shared_by_the_time_it_takes():
    # Alone one would get 12 B/ns, the other 6: both get r with r/12 + r/6 = 1, so r = 4.
    lowered = make_flows([(0, 48, [0]), (0, 84, [0])], [12])
    own = np.array([12.0, 6.0]) * GB
    both = replace(
        lowered,
        wire_ns=np.array([4, 14]),
        flow_bandwidth_bytes_per_s=own,
        own_bandwidth_bytes_per_s=own,
    )
    # 48 B take 12 ns at 4; the second has moved 48 of its 84 by then, the rest takes 36 / 6.
    assert ends(both) == [12, 18]


def test_the_end_is_the_first_whole_nanosecond():
    assert ends(make_flows([(0, 10, [0]), (0, 10, [0]), (0, 10, [0])], [7])) == [6, 6, 6]


def test_flows_wait_for_tasks_and_tasks_for_flows():
    tasks = [(30, [0], []), (1, [1], [0]), (5, [0], [1]), (1, [2], []), (7, [0], [])]
    lowered = make_lowered(tasks, {1: (400, [0]), 3: (400, [0])}, [10])
    timeline = simulate_fair(lowered)
    assert timeline.start_ns.tolist() == [0, 30, 80, 0, 30]
    # flow 3 alone to 30 (300 moved), then 5 B/ns: 100 more in 20; flow 1 has 300 left: 30 more.
    assert timeline.end_ns.tolist() == [30, 80, 85, 50, 37]


def test_flows_that_hold_one_stream_follow_each_other():
    tasks = [(1, [0], []), (1, [0], []), (1, [1], [])]
    lowered = make_lowered(tasks, {0: (100, [0]), 1: (100, [0]), 2: (300, [0])}, [10])
    timeline = simulate_fair(lowered)
    assert timeline.start_ns.tolist() == [0, 20, 0]
    assert timeline.end_ns.tolist() == [20, 40, 50]


def test_without_shared_links_it_is_the_event_engine():
    tasks = [(3, [0], []), (1, [1], [0]), (4, [0], []), (1, [2], [0, 2]), (2, [0], [1, 3])]
    lowered = make_lowered(tasks, {1: (70, [0, 1]), 3: (50, [2])}, [10, 10, 5])
    fair, plain = simulate_fair(lowered), simulate(lowered.graph)
    assert fair.start_ns.tolist() == plain.start_ns.tolist()
    assert fair.end_ns.tolist() == plain.end_ns.tolist()


def test_rates_of_flows_that_start_at_one_instant_are_found_once(monkeypatch):
    import flexsim.engine.fair as module

    asked = []

    def change(shares, begun, finished, now_ns):
        asked.append((now_ns, begun.tolist(), finished.tolist()))
        return original(shares, begun, finished, now_ns)

    original = module.change
    monkeypatch.setattr(module, "change", change)
    ends(make_flows([(50, 500, [0]), (50, 500, [0]), (50, 100, [0])], [10]))
    assert asked == [(50, [0, 1, 2], []), (80, [], [2]), (160, [], [0, 1])]


def test_tasks_that_wait_for_each_other_are_named():
    lowered = make_lowered([(1, [0], [1]), (1, [1], [0])], {1: (10, [0])}, [1])
    with pytest.raises(DeadlockError, match="wait for each other"):
        simulate_fair(lowered)


def test_no_flows_and_no_tasks():
    timeline = simulate_fair(make_lowered([(4, [0], [])], {}, [1]))
    assert timeline.end_ns.tolist() == [4]
    assert len(timeline.pieces.flow) == 0


@st.composite
def cases(draw, most_flows=9):
    capacity = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    links = st.lists(st.sampled_from(range(len(capacity))), min_size=1, max_size=4, unique=True)
    flow = st.tuples(st.sampled_from([0, 0, 3, 7, 20, 40]), st.integers(1, 300), links)
    return draw(st.lists(flow, min_size=1, max_size=most_flows)), capacity


@settings(max_examples=150, deadline=None)
@given(cases())
def test_rates_are_those_of_an_independent_solver(case):
    flows, capacity = case
    routes = [route for _, _, route in flows]
    exact = exact_rates(routes, [Fraction(c) for c in capacity])
    most = np.full(len(flows), 100.0)
    found = fair_rates(csr(routes), most, np.array(capacity, np.float64))
    assert found == pytest.approx([float(rate) for rate in exact], rel=1e-12)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_ends_are_those_of_an_independent_solver_to_the_nanosecond(case):
    flows, capacity = case
    lowered = make_flows(flows, capacity)
    work = lowered.wire_ns.tolist()
    exact = exact_ends(
        [(start, w, route) for (start, _, route), w in zip(flows, work, strict=True)], capacity
    )
    assert ends(lowered) == exact


@settings(max_examples=100, deadline=None)
@given(cases())
def test_links_are_never_over_full_and_every_flow_is_held_back_by_one(case):
    flows, capacity = case
    lowered = make_flows(flows, capacity)
    pieces = simulate_fair(lowered).pieces
    rate = pieces.speed * lowered.flow_bandwidth_bytes_per_s[pieces.flow] / GB
    for now in np.unique(pieces.start_ns):
        at = np.flatnonzero((pieces.start_ns <= now) & (now < pieces.end_ns))
        rates = dict(zip(pieces.flow[at].tolist(), rate[at].tolist(), strict=True))
        users = [[f for f in rates if link in flows[f][2]] for link in range(len(capacity))]
        loads = [sum(rates[f] for f in each) for each in users]
        assert all(load <= c * (1 + 1e-12) for load, c in zip(loads, capacity, strict=True))
        for flow, own in rates.items():
            assert any(
                loads[link] >= capacity[link] * (1 - 1e-12)
                and own >= max(rates[f] for f in users[link]) * (1 - 1e-12)
                for link in flows[flow][2]
            )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_every_flow_moves_its_work_and_no_more(case):
    lowered = make_flows(*case)
    timeline = simulate_fair(lowered)
    pieces = timeline.pieces
    done = pieces.speed * (pieces.end_ns - pieces.start_ns)
    moved = np.bincount(pieces.flow, done, lowered.num_flows)
    # it ends at the first nanosecond that is late enough, so less than one is over
    last = np.append(pieces.flow[1:] != pieces.flow[:-1], True)
    assert (moved >= lowered.wire_ns * (1 - 1e-11)).all()
    assert (moved < lowered.wire_ns * (1 + 1e-11) + pieces.speed[last]).all()


def test_equal_flows_end_equally_after_a_long_history():
    # Pairs of equal flows on two equal sets of links, with odd capacities, shared at odd times.
    flows = [(start, 10**9 + start, [k, 2]) for start in range(0, 700, 7) for k in (0, 1)]
    lowered = make_flows(flows, [13, 13, 17])
    found = ends(lowered)
    assert found[::2] == found[1::2]


@st.composite
def graphs_of_lonely_flows(draw):
    """Draw tasks on few streams, of which some are flows that no other meets."""
    tasks, flows = [], {}
    for task in range(draw(st.integers(1, 14))):
        before = draw(st.lists(st.integers(0, task - 1), max_size=3, unique=True)) if task else []
        held = draw(st.lists(st.integers(0, 3), max_size=2, unique=True, min_size=1))
        tasks.append((draw(st.integers(1, 6)), held, sorted(before)))
        if draw(st.booleans()):
            flows[task] = (draw(st.integers(1, 60)), [2 * task, 2 * task + 1])
    capacity = draw(st.lists(st.integers(1, 9), min_size=2 * len(tasks), max_size=2 * len(tasks)))
    return make_lowered(tasks, flows, capacity)


@settings(max_examples=100, deadline=None)
@given(graphs_of_lonely_flows())
def test_flows_that_meet_no_other_run_as_in_the_event_engine(lowered):
    fair, plain = simulate_fair(lowered), simulate(lowered.graph)
    assert fair.start_ns.tolist() == plain.start_ns.tolist()
    assert fair.end_ns.tolist() == plain.end_ns.tolist()
