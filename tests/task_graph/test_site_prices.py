"""What messages cost on a site is what they cost on each of its ranks, asked one by one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.cost.collectives import Communication
from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.strategy.baselines import Degrees, megatron, ranks_of_devices
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.symbolic import Message
from flexsim.task_graph.uniform import Seed, build_seed
from flexsim.task_graph.ways import UNEQUAL, one_price

MODEL = {"name": "gpt", "preset": None, "hidden": 256, "heads": 8, "sequence": 64}
LEVELS = ("dgx-a100", "hgx-a100-4xhdr", "dgx2-v100")
OTHERS = ("p100-4x4", "hgx-h100-roce")
HOSTS = 4


@lru_cache(maxsize=32)
def seed_of(tensor: int, sequence_parallel: bool, is_pipeline: bool) -> Seed:
    pipeline = BLOCKS if is_pipeline else 1
    small = Degrees(tensor=tensor, pipeline=pipeline, data=2, sequence_parallel=sequence_parallel)
    config = model_config(**MODEL, vocabulary=1_000, layers=BLOCKS * pipeline)
    graph, costs = build_model(config, 2, "fp16"), make_costs(load_device_graph("dgx-a100", 1))
    seed = build_seed(graph, megatron(graph, small), costs.compute, costs.software, "a100-80gb")
    assert isinstance(seed, Seed), seed
    return seed


@lru_cache(maxsize=8)
def communication_of(name: str) -> Communication:
    communication = make_costs(load_device_graph(name, HOSTS)).communication
    assert isinstance(communication, Communication)
    return communication


def plain_prices(site: Site, message: Message, seed: Seed) -> Int64:
    """Return prices by asking for the groups of every rank as they stand."""
    width = seed.devices_per_rank // seed.num_replicas
    inside = message.members % seed.devices_per_rank
    near = (inside < width).all(axis=1)
    replicas = site.devices.reshape(site.num_ranks, site.num_replicas, width)
    found = []
    for rank in range(site.num_ranks):
        groups = replicas[rank][:, inside[near]].reshape(-1, message.group_size)
        if message.kind == "transfer":
            ahead = 1 if message.receivers[0] > message.members[0, 0] else -1
            to = replicas[(rank + ahead) % site.num_ranks]
            targets = to[:, (message.receivers % seed.devices_per_rank)[near]].reshape(-1)
            prices = site.communication.transfer_ns(message.num_bytes, groups[:, 0], targets)
        else:
            prices = site.communication.collective_ns(message.kind, message.num_bytes, groups)
        found.append(one_price(prices))
    return np.array(found)


@st.composite
def sites(draw: st.DrawFn) -> tuple[Site, Seed]:
    communication = communication_of(draw(st.sampled_from(LEVELS + OTHERS)))
    tensor, most = draw(st.sampled_from([1, 2, 4])), communication.device_graph.num_devices
    pipeline = draw(st.integers(1, most // tensor))
    data = draw(st.integers(1, most // tensor // pipeline))
    order = draw(st.sampled_from([Degrees.order, "tensor,pipeline,data", "data,tensor,pipeline"]))
    degrees = Degrees(tensor=tensor, pipeline=pipeline, data=data, order=order)
    devices = ranks_of_devices(degrees).reshape(pipeline, -1)
    if draw(st.booleans()):
        everyone = draw(st.permutations(range(most)))
        devices = np.array(everyone, np.int32)[devices]
    seed = seed_of(tensor, tensor > 1 and draw(st.booleans()), pipeline > 1)
    return Site(devices, 1, data, communication), seed


@settings(max_examples=25, deadline=None)
@given(sites(), st.sampled_from([1, 3]))
def test_a_tariff_has_the_prices_of_all_ranks(case: tuple[Site, Seed], times: int) -> None:
    site, seed = case
    messages = [m._replace(num_bytes=m.num_bytes * times) for m in seed.messages]
    expected = [plain_prices(site, message, seed) for message in messages]
    distinct, of_rank = site.tariff(seed).prices_ns(times)
    assert len(np.unique(distinct, axis=0)) == len(distinct)
    assert set(of_rank.tolist()) == set(range(len(distinct)))
    for number, message in enumerate(messages):
        assert distinct[of_rank, number].tolist() == expected[number].tolist()
        assert site.prices_ns(message, seed).tolist() == expected[number].tolist()


def test_messages_that_cost_more_on_some_devices_of_a_rank_are_told_apart() -> None:
    communication, seed = communication_of("dgx-a100"), seed_of(2, False, False)
    inside_and_across = np.array([[0, 1, 2, 8]], np.int32)
    site = Site(inside_and_across, 1, 2, communication)
    distinct, of_rank = site.tariff(seed).prices_ns(1)
    assert of_rank.tolist() == [0]
    assert (distinct == UNEQUAL).all()


def test_a_pipeline_without_messages_has_one_row_of_none() -> None:
    site = Site(np.zeros((1, 1), np.int32), 1, 1, communication_of("dgx-a100"))
    seed = seed_of(1, False, False)
    assert not seed.messages
    distinct, of_rank = site.tariff(seed).prices_ns(1)
    assert distinct.shape == (1, 0)
    assert of_rank.tolist() == [0]


@pytest.mark.parametrize("kind", ["all-reduce", "all-gather"])
def test_groups_of_places_are_priced_on_every_rank(kind: str) -> None:
    communication = communication_of("hgx-a100-4xhdr")
    rng = np.random.default_rng(7)
    devices = rng.permutation(communication.device_graph.num_devices)[:12].reshape(3, 4)
    site = Site(devices.astype(np.int32), 1, 1, communication)
    groups = np.array([[0, 2], [1, 3]])
    sizes = [5_000, 10**9]
    alone = [
        [one_price(communication.collective_ns(kind, size, row[groups])) for row in devices]
        for size in sizes
    ]
    assert site.sums_ns(kind, sizes, groups).tolist() == alone
    joint = devices.T
    expected = one_price(communication.collective_ns(kind, 5_000, joint))
    assert site.joint_ns(kind, 5_000, joint) == expected
