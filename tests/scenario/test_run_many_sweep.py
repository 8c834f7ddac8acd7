"""A sweep of GPT-3 175B: a sample has the numbers that each configuration has alone."""

from __future__ import annotations

import random
from itertools import product

import pytest

import flexsim
from flexsim.kept import Kept
from flexsim.scenario.batch import Batch
from flexsim.scenario.variants import Variants

SCENARIO = "scenarios/gpt3-175b-64xa100.toml"
ORDERS = (("gpipe", 1), ("1f1b", 1), ("interleaved-1f1b", 2), ("interleaved-1f1b", 3))
LAYERS = 96


def settings() -> list[dict[str, object]]:
    """Return configurations of up to 1,024 devices, small and large batches."""
    found: list[dict[str, object]] = []
    degrees = product((64, 256, 1024), (1, 2, 4, 8), (1, 2, 4, 8, 16, 32), ORDERS)
    for devices, tensor, pipeline, (schedule, chunks) in degrees:
        data, left_over = divmod(devices, tensor * pipeline)
        if left_over or LAYERS % (pipeline * chunks) or pipeline == 1 < chunks:
            continue
        for micro_batch, microbatches in product((1, 2), (pipeline, 6 * pipeline)):
            switches = product(("none", "selective", "full"), (False, True), (0, 1))
            found += [
                {
                    "cluster.hosts": devices // 8,
                    "training.global_batch": data * micro_batch * microbatches,
                    "training.micro_batch": micro_batch,
                    "training.recompute": recompute,
                    "strategy.tensor": tensor,
                    "strategy.pipeline": pipeline,
                    "strategy.data": data,
                    "strategy.chunks": chunks,
                    "strategy.schedule": schedule,
                    "strategy.sequence_parallel": sequence,
                    "strategy.zero": zero,
                }
                for recompute, sequence, zero in switches
            ]
    return found


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants.of(SCENARIO)


def is_quick(values: dict[str, object]) -> bool:
    """Whether a configuration is quickly simulated in full."""
    return int(values["strategy.pipeline"]) <= 8 and int(values["training.micro_batch"]) == 1


def test_a_sample_has_the_numbers_that_it_has_alone(variants):
    sample = random.Random(5).sample([each for each in settings() if is_quick(each)], 7)
    batch = Batch()
    for values in sample:
        outcome = batch.run(variants.scenario(values))
        assert not outcome.error
        assert outcome.metrics.items() <= flexsim.run(outcome.scenario).metrics.items()


def test_no_configuration_takes_the_long_way(variants, monkeypatch):
    monkeypatch.setattr("flexsim.scenario.batch.planned_in_full", None)
    monkeypatch.setattr("flexsim.scenario.batch.Nursery.grow", None)
    batch = Batch()
    for values in random.Random(6).sample(settings(), 15):
        assert batch.run(variants.scenario(values)).metrics["iteration_time_s"] > 0


@pytest.mark.parametrize(
    ("schedule", "chunks", "split", "batch"),
    [
        ("1f1b", 1, (1, 4), 512),
        ("1f1b", 1, (1, 2), 96),
        ("1f1b", 1, (2, 4), 512),
        ("interleaved-1f1b", 3, (1, 8), 512),
        ("interleaved-1f1b", 3, (2, 4), 512),
        ("gpipe", 1, (1, 4), 512),
        ("gpipe", 1, (1, 1), 512),
    ],
)
def test_a_steady_state_may_be_left_out(variants, monkeypatch, schedule, chunks, split, batch):
    tensor, pipeline = split
    values = {
        "training.global_batch": batch,
        "strategy.tensor": tensor,
        "strategy.pipeline": pipeline,
        "strategy.data": 8 // (tensor * pipeline),
        "strategy.chunks": chunks,
        "strategy.schedule": schedule,
    }
    replayed: list[int] = []
    follow = flexsim.engine.contraction_passes.follow_actions
    monkeypatch.setattr(
        "flexsim.engine.contraction_passes.follow_actions",
        lambda spans, lineup, *rest: (
            replayed.append(len(lineup[0])) or follow(spans, lineup, *rest)
        ),
    )
    short = Batch().run(variants.scenario(values)).metrics
    monkeypatch.setattr("flexsim.scenario.express_orders.PATIENCE", ())
    whole = Batch().run(variants.scenario(values)).metrics
    assert short == whole
    assert 2 * replayed[0] < replayed[1]


def test_what_is_kept_is_forgotten_and_made_again(variants, monkeypatch):
    chosen = random.Random(7).sample([each for each in settings() if is_quick(each)], 6)
    scenarios = [variants.scenario(values) for values in chosen]
    batch = Batch()
    expected = [batch.run(scenario).metrics for scenario in scenarios]
    for name, value in (("_MOST_VALUES", 1), ("_LEAST_ROOM", 2**62)):
        monkeypatch.setattr(f"flexsim.scenario.express.{name}", value)
        forgetful = Batch()
        assert [forgetful.run(scenario).metrics for scenario in scenarios] == expected


def test_kept_forgets_what_was_asked_for_longest_ago():
    kept = Kept(2)
    assert [kept.once(key, lambda key=key: key * 2) for key in "aab"] == ["aa", "aa", "bb"]
    assert kept.once("a", lambda: "again") == "aa"
    assert kept.once("c", lambda: "cc") == "cc"
    assert kept.once("b", lambda: "again") == "again"
    assert len(kept) == 2


def test_shares_of_an_optimizer_over_odd_replicas_take_the_long_way(variants):
    values = {"strategy.tensor": 8, "strategy.pipeline": 2, "strategy.data": 3, "strategy.zero": 1}
    values |= {"strategy.chunks": 1, "training.global_batch": 12}
    scenario = variants.scenario(values)
    (outcome,) = flexsim.run_many([scenario])
    assert outcome.metrics.items() <= flexsim.run(scenario).metrics.items()
