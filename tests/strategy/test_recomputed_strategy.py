"""A strategy to which recomputation is added is the one that is made with it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from flexsim.models import build_model, model_config
from flexsim.strategy.baselines import Degrees, megatron, recomputed


@pytest.mark.parametrize("policy", ["none", "cheap", "selective", "full"])
def test_recomputation_may_be_added_later(policy):
    sizes = {"hidden": 64, "heads": 4, "sequence": 32, "vocabulary": 100}
    graph = build_model(model_config("gpt", None, layers=4, **sizes), 2, "fp16")
    degrees = Degrees(tensor=2, pipeline=2, data=2, recompute=policy)
    before = megatron(graph, replace(degrees, recompute="full"))
    found, expected = recomputed(before, graph, degrees), megatron(graph, degrees)
    for field in fields(expected):
        assert getattr(found, field.name) == getattr(expected, field.name), field.name
    assert bool(found.recompute) == (policy in ("selective", "full"))
    assert bool(found.remade) == (policy == "cheap")
