"""Equal rounds replayed without a graph give the time of the lowered graph, with jumps or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages_by_hand import communication

from flexsim.collectives import program
from flexsim.engine import alone
from flexsim.engine.compiled import simulate
from flexsim.network.alone import alone_graph
from flexsim.network.lower import lower
from flexsim.network.options import NetworkOptions
from flexsim.network.rounds import replay, rounds_of

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter")
RINGS = ("ring", "bidirectional-ring")
LAYOUTS = [(2,), (5,), (8,), (2, 4), (3, 8), (4, 1), (5, 3)]


@pytest.mark.parametrize("collective", COLLECTIVES)
@pytest.mark.parametrize("algorithm", RINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rounds_are_the_program_step_by_step(collective, algorithm, layout):
    flows, rounds = program(collective, algorithm, layout), rounds_of(collective, algorithm, layout)
    width, steps = len(rounds.source), rounds.num_steps
    assert rounds.num_flows == len(flows)
    np.testing.assert_array_equal(flows.step, np.repeat(np.arange(steps), width))
    np.testing.assert_array_equal(flows.source, np.tile(rounds.source, steps))
    np.testing.assert_array_equal(flows.target, np.tile(rounds.target, steps))
    assert (flows.parts * rounds.num_parts == flows.num_parts).all()
    check_waits(flows, rounds, width)


def check_waits(flows, rounds, width):
    """The latest wait is that of the rounds; the others pass the same link before it."""
    last = flows.after.offsets[1:] - 1
    later = np.flatnonzero(flows.step > 0)
    number = np.arange(len(flows))[later] - width
    expected = rounds.before[number % width] + number // width * width
    np.testing.assert_array_equal(flows.after.values[last[later]], expected)
    assert (flows.after.counts[flows.step == 0] == 0).all()
    waiting, before = flows.after.rows, flows.after.values
    np.testing.assert_array_equal(flows.target[before], flows.source[waiting])
    np.testing.assert_array_equal(before % width, rounds.before[waiting % width])


def test_other_programs_are_no_rounds():
    assert rounds_of("all-reduce", "tree", (2, 8)) is None
    assert rounds_of("broadcast", "ring", (8,)) is None


def uneven(model, seed):
    """Return links of which some are slower or later than the others."""
    rng = np.random.default_rng(seed)
    links, count = model.links, len(model.links.latency_ns)
    return replace(
        model,
        links=replace(
            links,
            latency_ns=links.latency_ns + rng.integers(0, 3, count) * 700,
            collective_bandwidth_bytes_per_s=links.collective_bandwidth_bytes_per_s
            / rng.integers(1, 4, count),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(
    where=st.sampled_from([("dgx-a100", 1), ("dgx-a100", 3), ("pcie-8x2080ti", None)]),
    algorithm=st.sampled_from(RINGS),
    collective=st.sampled_from(COLLECTIVES),
    num_bytes=st.sampled_from([1, 1000, 10**6, 10**9]),
    seed=st.none() | st.integers(0, 1000),
)
def test_jumps_change_nothing(where, algorithm, collective, num_bytes, seed):
    model = communication(*where)
    model = model if seed is None else uneven(model, seed)
    group = np.arange(model.device_graph.num_devices)
    devices, layout = model.placed(group, algorithm)
    rounds = rounds_of(collective, algorithm, layout)
    found = replay(rounds, model, devices, num_bytes)
    step_by_step = replay(rounds, model, devices, num_bytes, jumps=False)
    assert found.time_ns == step_by_step.time_ns
    assert step_by_step.num_replayed == step_by_step.num_flows == rounds.num_flows
    options = NetworkOptions(algorithm=algorithm)
    below = lower(alone_graph(collective, num_bytes, group[None]), model, options, True)
    overhead_ns = int(below.graph.duration_ns[0])
    assert simulate(below.graph).makespan_ns == overhead_ns + found.time_ns + 1


def test_a_long_ring_is_replayed_in_part():
    model = communication("dgx-h100", 16)
    devices, layout = model.placed(np.arange(128), "ring")
    rounds = rounds_of("all-reduce", "ring", layout)
    found = replay(rounds, model, devices, 10**8)
    assert found.num_flows == 8 * 128 * 254
    assert found.num_replayed < found.num_flows / 2
    assert found.time_ns == replay(rounds, model, devices, 10**8, jumps=False).time_ns


@pytest.mark.parametrize("algorithm", ["auto", "ring", "hierarchical"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_collective_alone_takes_what_its_lowered_graph_takes(algorithm, groups, monkeypatch):
    monkeypatch.setattr(alone, "_LEAST_FLOWS", 0)
    model = communication("dgx-a100", 2)
    members = np.arange(16).reshape(groups, -1)
    options = NetworkOptions(algorithm=algorithm)
    found = alone.collective_alone(model, "all-reduce", 10**6, members, options)
    below = lower(alone_graph("all-reduce", 10**6, members), model, options, True)
    assert found.time_ns == simulate(below.graph).makespan_ns
    assert found.num_flows == below.num_flows


def test_times_too_long_for_a_key_fall_back_on_the_graph(monkeypatch):
    monkeypatch.setattr(alone, "_LEAST_FLOWS", 0)
    model = communication("dgx-a100", 1)
    devices, layout = model.placed(np.arange(8), "ring")
    rounds = rounds_of("all-reduce", "ring", layout)
    num_bytes = 9 * 10**18
    assert replay(rounds, model, devices, num_bytes) is None
    options = NetworkOptions(algorithm="ring")
    below = lower(alone_graph("all-reduce", num_bytes, devices[None]), model, options, True)
    found = alone.collective_alone(model, "all-reduce", num_bytes, devices[None], options)
    assert found.time_ns == simulate(below.graph).makespan_ns
