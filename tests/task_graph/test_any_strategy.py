"""Any cut of any operator on any devices expands, replays, and leaves out no work."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import cluster, model, one_ns, software

from flexsim.cost.costs import Costs
from flexsim.engine.event import simulate
from flexsim.operator_graph import Operator, OperatorGraph
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.strategy.recompute import recompute_segments
from flexsim.task_graph.build import build_task_graph

NUM_DEVICES = 8


class Flat:
    """A communication model in which every message takes as long."""

    def collective_ns(self, collective, num_bytes, groups, /):
        return np.full(len(groups), 5)

    def transfer_ns(self, num_bytes, sources, targets, /):
        return np.full(len(sources), 3)


def any_config(operator: Operator, rng: random.Random) -> ParallelConfig:
    """Return random degrees along random dimensions over random devices."""
    limits = {dim.name: min(dim.size, dim.max_degree or dim.size) for dim in operator.dims}
    degrees: dict[str, int] = {}
    most = rng.choice([1, 2, 4, 8])
    for name in rng.sample(sorted(limits), len(limits)):
        degree = rng.choice([1, 2, 4])
        if degree <= limits[name] and degree * np.prod([*degrees.values(), 1]) <= most:
            degrees[name] = degree
    count = int(np.prod([*degrees.values(), 1]))
    devices = rng.sample(range(NUM_DEVICES), count)
    return ParallelConfig.from_degrees(degrees or {operator.dims[0].name: 1}, devices)


def any_strategy(graph: OperatorGraph, rng: random.Random) -> Strategy:
    return Strategy(
        "any",
        {operator.name: any_config(operator, rng) for operator in graph.operators},
        num_microbatches=rng.choice([1, 2]),
        recompute=recompute_segments(graph, rng.choice(["none", "selective", "full"])),
        overlap_gradients=rng.random() < 0.5,
    )


@settings(max_examples=60, deadline=None)
@given(
    family=st.sampled_from(["gpt", "llama", "palm", "bert"]),
    seed=st.integers(0, 10**6),
    fold=st.booleans(),
)
def test_any_strategy_replays_and_leaves_out_no_work(family, seed, fold):
    graph = model(family, sequences=4, tied_embedding=False)
    strategy = any_strategy(graph, random.Random(seed))
    costs = Costs(one_ns, Flat(), software())
    tasks = build_task_graph(graph, strategy, cluster(), costs, fold)
    timeline = simulate(tasks)
    assert timeline.makespan_ns > 0
    assert tasks.hardware_flops >= graph.flops * strategy.num_microbatches
    used = set(tasks.device[tasks.is_compute].tolist())
    assert used <= set(strategy.devices.tolist())
