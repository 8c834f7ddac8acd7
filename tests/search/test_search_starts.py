"""Where chains may start, OptCNN's strategy among them, and the devices that are drawn."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from small_search import content, scenario, walk_of

from flexsim.device_graph import load_device_graph
from flexsim.errors import FlexSimError, ScenarioError, StrategyError
from flexsim.scenario.schema import Scenario
from flexsim.search.api import search
from flexsim.search.arrangement import degrees_of
from flexsim.search.objective import simulated
from flexsim.search.optcnn import least_cost, optcnn
from flexsim.search.placements import FAMILIES, Pool
from flexsim.search.problem import NAMED_STARTS, make_problem, make_space, starts
from flexsim.search.walk import Walk
from flexsim.strategy.baselines import Degrees
from flexsim.strategy.experts import layer_placement

LAYERED = {"name": "rnnlm", "layers": 2, "hidden": 32, "vocabulary": 64, "sequence": 4}


def recurrent(**search_table):
    """Return a recurrent network on the eight devices of two hosts of FlexFlow's K80 cluster."""
    cluster = {"device_graph": "k80-16x4", "hosts": 2, "devices": 8}
    tables = content(training={"micro_batch": 2, "precision": "fp32"}, search=search_table)
    return Scenario.from_dict({**tables, "model": LAYERED, "cluster": cluster}, "recurrent.toml")


def started(one, name):
    problem = make_problem(one)
    space = make_space(one, problem)
    return starts(one, problem, space)[name](np.random.default_rng(0))[0]


def test_layer_placement_takes_its_fastest_degree():
    one = recurrent()
    problem = make_problem(one)
    found = simulated(problem, started(one, "layer-placement"), {}).makespan_ns
    times = []
    for width in (2, 4):
        strategy = layer_placement(problem.graph, Degrees(data=8 // width, pipeline=width))
        times.append(simulated(problem, strategy.configs, {}).makespan_ns)
    assert found == min(times)
    assert times[0] != times[1]


def test_an_experts_strategy_that_has_no_meaning_is_told():
    with pytest.raises(StrategyError, match="'one-weird-trick' has no meaning"):
        started(recurrent(), "one-weird-trick")


def test_an_unknown_start_is_told_with_the_choices():
    with pytest.raises(ScenarioError, match="optcnn, one-weird-trick, layer-placement"):
        search(scenario(), starts=["optccn"], budget=1)


@pytest.mark.parametrize("name", ["data", "expert", "random", "optcnn", "layer-placement"])
def test_every_named_start_begins_a_search(name):
    found = search(recurrent(), starts=[name], budget=3, chains=1)
    assert len(found.trace) <= 3
    assert name in NAMED_STARTS


def test_optcnn_starts_where_the_method_goes():
    one = recurrent()
    walk: Walk = walk_of(one)
    optcnn(walk)
    start = started(one, "optcnn")
    by_start = walk.objective.start(start, walk.problem.base.stage_of).makespan_ns
    assert walk.rows[-1].makespan_ns == by_start


def test_optcnn_takes_one_device_one_host_or_all():
    walk = walk_of(recurrent())
    configs = least_cost(walk.problem, walk.moves)
    assert configs.keys() == {op.name for op in walk.problem.graph.operators}
    for config in configs.values():
        assert prod(degrees_of(config).values()) in (1, 4, 8)
        assert config.mesh.flat.tolist() == [*range(config.mesh.size)]


def test_runs_of_devices_mostly_begin_with_a_host():
    pool = Pool.of(load_device_graph("k80-16x4", 16), range(64))
    rng = np.random.default_rng(0)
    drawn = [FAMILIES["arbitrary"].draw(pool, 4, rng) for _ in range(1000)]
    whole_hosts = [d for d in drawn if d[0] % 4 == 0 and d == tuple(range(d[0], d[0] + 4))]
    assert 300 < len(whole_hosts) < 900
    assert all(len(set(devices)) == 4 for devices in drawn)
    assert FAMILIES["arbitrary"].draw(pool, 65, rng) is None


def test_a_negative_temperature_is_refused():
    with pytest.raises(FlexSimError, match="temperature"):
        search(scenario(), temperature=-1.0, budget=1)
