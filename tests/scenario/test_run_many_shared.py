"""Scenarios that differ in the update or in windows left out have their passes in common."""

from __future__ import annotations

from pathlib import Path

import pytest

import flexsim.scenario.express
from flexsim.scenario.batch import Batch
from flexsim.scenario.variants import Variants

ROOT = Path(__file__).resolve().parents[2]
BASE = {
    "cluster.hosts": 1,
    "strategy.tensor": 1,
    "strategy.pipeline": 4,
    "strategy.data": 2,
    "strategy.chunks": 1,
    "strategy.schedule": "1f1b",
    "training.global_batch": 64,
    "training.micro_batch": 1,
}
INTERLEAVED = {"strategy.schedule": "interleaved-1f1b", "strategy.chunks": 2}


@pytest.fixture
def replayed(monkeypatch):
    """Return a list that gets the number of microbatches of every replay."""
    found: list[int] = []
    replay = flexsim.scenario.express.replay_passes
    monkeypatch.setattr(
        "flexsim.scenario.express.replay_passes",
        lambda ranks, order, *rest: (
            found.append(order.schedule.num_microbatches) or replay(ranks, order, *rest)
        ),
    )
    return found


def metrics(batch, values):
    variants = Variants.of(ROOT / "scenarios" / "gpt3-175b-64xa100.toml")
    outcome = batch.run(variants.scenario(BASE | values))
    assert not outcome.error
    return outcome.metrics


@pytest.mark.parametrize("schedule", [{}, INTERLEAVED])
@pytest.mark.parametrize(
    "other",
    [{"strategy.zero": 1}, {"training.global_batch": 96}, {"training.global_batch": 128}],
)
def test_passes_are_replayed_once(replayed, schedule, other):
    batch = Batch()
    first = metrics(batch, schedule)
    again = metrics(batch, schedule | other)
    assert len(replayed) == 1
    assert again == metrics(Batch(), schedule | other)
    assert again != first


def test_iterations_of_gpipe_share_what_repeats(replayed):
    batch = Batch()
    found = [
        metrics(batch, {"strategy.schedule": "gpipe", "training.global_batch": size})
        for size in (64, 96)
    ]
    assert len(replayed) == 1
    assert replayed[0] < 32
    for size, each in zip((64, 96), found, strict=True):
        values = {"strategy.schedule": "gpipe", "training.global_batch": size}
        assert each == metrics(Batch(), values)


def test_a_state_that_is_not_steady_is_replayed_in_full(replayed, monkeypatch):
    expected = metrics(Batch(), {})
    replay = flexsim.scenario.express.replay_passes
    monkeypatch.setattr(
        "flexsim.scenario.express.replay_passes",
        lambda ranks, order, *rest: (
            (replay(ranks, order, *rest) and "not steady")
            if order.jump
            else replay(ranks, order, *rest)
        ),
    )
    batch = Batch()
    assert metrics(batch, {}) == expected
    assert replayed[-1] == 32 > replayed[-2]
    longer = metrics(batch, {"training.global_batch": 128})
    assert replayed[-1] == 64
    monkeypatch.undo()
    assert longer == metrics(Batch(), {"training.global_batch": 128})
