"""Kits of several seeds have in common what does not depend on how long tasks last."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from flexsim.engine.contraction_kit import Draft
from flexsim.engine.contraction_parts import bounds_of
from flexsim.scenario.batch import Batch
from flexsim.scenario.variants import Variants

ROOT = Path(__file__).resolve().parents[2]
BASE = {
    "cluster.hosts": 4,
    "model.layers": 24,
    "strategy.data": 1,
    "strategy.chunks": 1,
    "strategy.schedule": "1f1b",
    "training.global_batch": 32,
}


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants.of(ROOT / "scenarios" / "gpt3-175b-64xa100.toml")


@pytest.fixture
def drafted(monkeypatch):
    """Return a list that gets the draft of every pattern made."""
    found: list[Draft] = []
    make = Draft.pattern
    monkeypatch.setattr(
        Draft, "pattern", lambda self, *rest: found.append(self) or make(self, *rest)
    )
    return found


def metrics(batch: Batch, variants: Variants, values: dict[str, object]) -> dict[str, object]:
    tensor, pipeline = values["strategy.tensor"], values["strategy.pipeline"]
    devices = {"strategy.data": 32 // (tensor * pipeline)}
    outcome = batch.run(variants.scenario(BASE | devices | values))
    assert not outcome.error
    return dict(outcome.metrics)


def settings(tensors: tuple[int, ...], recompute: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {"strategy.tensor": tensor, "strategy.pipeline": pipeline, "training.recompute": how}
        for pipeline, tensor, how in product((1, 4), tensors, recompute)
    ]


def test_degrees_of_tensor_parallelism_share_their_patterns(variants, drafted):
    batch = Batch()
    chosen = settings((2, 4, 8), ("none",))
    found = [metrics(batch, variants, values) for values in chosen]
    assert len({id(draft) for draft in drafted}) == 2
    assert len(drafted) < len(chosen)
    for values, one in zip(chosen, found, strict=True):
        assert one == metrics(Batch(), variants, values)


def test_recomputation_has_patterns_of_its_own(variants, drafted):
    batch = Batch()
    chosen = settings((1,), ("none", "selective", "full"))
    found = [metrics(batch, variants, values) for values in chosen]
    assert len({id(draft) for draft in drafted}) == len(chosen)
    assert len({each["iteration_time_s"] for each in found}) == len(chosen)


def test_forgetting_what_is_known_changes_nothing(variants, monkeypatch):
    chosen = settings((2, 4), ("none", "full"))
    expected = [metrics(Batch(), variants, values) for values in chosen]
    for name in ("_MOST_KNOWN", "_MOST_DRAFTS", "_MOST_SEEDS"):
        monkeypatch.setattr(f"flexsim.scenario.express_kits.{name}", 1)
    batch = Batch()
    assert [metrics(batch, variants, values) for values in chosen] == expected


def test_bounds_of_a_draft_are_those_of_templates_with_its_durations(variants, drafted):
    for values in settings((2,), ("none", "selective")):
        metrics(Batch(), variants, values)
    rng = np.random.default_rng(3)
    for draft, longest_ns in product(drafted, (3, 1_000)):
        templates = draft.question.templates
        choices_ns = rng.integers(1, longest_ns, int(templates.duration_ns.max()) + 1)
        duration_ns = choices_ns[templates.duration_ns]
        question = replace(draft.question, templates=replace(templates, duration_ns=duration_ns))
        assert np.array_equal(draft.parting.bounds(duration_ns), bounds_of(question))
