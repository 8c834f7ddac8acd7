"""Delta simulation equals the full simulation: spans, decisions, memory, and after a rejection."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from delta_walk import Walk, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.task_graph import block_pool, blocks

SMALL = {"layers": 1, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}
MODELS = {
    "gpt": SMALL,
    "palm": SMALL,
    "llama": SMALL,
    "bert": SMALL,
    "vit": {"layers": 1, "hidden": 16, "heads": 4},
    "lenet": {},
    "alexnet": {},
    "resnet": {"layers": 50},
    "inception": {},
    "unet": {},
    "rnnlm": {"layers": 1, "hidden": 16, "sequence": 3, "vocabulary": 32},
    "rnntc": {"layers": 1, "hidden": 16, "sequence": 3, "vocabulary": 32},
    "nmt": {"layers": 1, "hidden": 16, "sequence": 3, "vocabulary": 32},
    "mlp": {"layers": 3, "hidden": 16},
    "dlrm": {},
    "xdl": {},
    "candle-uno": {},
    "vgg": {"layers": 16},
    "resnext": {"layers": 50},
}
LARGE = ("resnet", "resnext", "inception")


@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from([name for name in MODELS if name not in LARGE]),
    seed=st.integers(0, 10**6),
    alone=st.booleans(),
)
def test_every_proposal_is_simulated_as_in_full(family, seed, alone):
    rng = random.Random(seed)
    walk = Walk(problem(family, rng.choice([4, 8]), rng, **MODELS[family]), rng, alone)
    walk.begin()
    for _ in range(6):
        walk.step()


@pytest.mark.parametrize("family", LARGE)
def test_large_networks(family):
    rng = random.Random(family)
    walk = Walk(problem(family, 16, rng, hosts=2, **MODELS[family]), rng)
    walk.begin()
    for _ in range(3):
        walk.step()
    assert walk.checked


def test_proposals_above_the_limit_are_cut_off():
    rng = random.Random(7)
    walk = Walk(problem("mlp", 8, rng, **MODELS["mlp"]), rng)
    walk.begin()
    for _ in range(60):
        walk.step()
    assert walk.cut > 5
    assert walk.checked > 40


@pytest.mark.parametrize("family", ["lenet", "vgg", "nmt", "mlp"])
def test_bounds_before_all_is_built_reject_only_what_is_above_the_limit(family, monkeypatch):
    counts = count_stages(monkeypatch)
    rng = random.Random(11)
    walk = Walk(problem(family, 8, rng, **MODELS[family]), rng)
    walk.begin()
    for _ in range(25):
        changes = walk.propose()
        found = walk.delta.propose(changes, None)
        walk.delta.reject()
        for share in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0):
            limit = round(share * found.makespan_ns)
            again = walk.delta.propose(changes, limit)
            assert again == found if share == 1.0 else again is None or again == found
            walk.delta.reject()
    assert counts["load"] > 2
    assert counts["forward"] > 2


def count_stages(monkeypatch):
    """Count the proposals that are rejected by their load, and by their forward."""
    counts = Counter()
    change, apply = blocks.Blocks.change, blocks.Blocks._apply

    def counted_apply(self, *arguments):
        counts["built"] += 1
        below = apply(self, *arguments)
        counts["forward"] += not below
        return below

    def counted_change(self, *arguments):
        before = counts["built"]
        below = change(self, *arguments)
        counts["load"] += not below and counts["built"] == before
        return below

    monkeypatch.setattr(blocks.Blocks, "change", counted_change)
    monkeypatch.setattr(blocks.Blocks, "_apply", counted_apply)
    return counts


def test_a_full_pool_is_emptied(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_VALUES", 100)
    rng = random.Random(3)
    walk = Walk(problem("lenet", 8, rng), rng)
    walk.begin()
    for _ in range(6):
        walk.step()
    assert walk.delta.blocks.pool.size < 10_000


def test_a_pool_that_grows_keeps_what_it_holds(monkeypatch):
    monkeypatch.setattr(block_pool, "_FIRST_VALUES", 64)
    rng = random.Random(4)
    walk = Walk(problem("vgg", 8, rng, layers=16), rng)
    walk.begin()
    for _ in range(6):
        walk.step()
    assert len(walk.delta.blocks.pool.contents.head) > 64 // 8
    assert len(walk.delta.blocks.pool.contents.device) > 64
