"""What inference holds: what kernels hand to each other, and nothing that stays."""

from __future__ import annotations

from typing import Any

import numpy as np

import flexsim
from flexsim.scenario.schema import Scenario
from flexsim.timeline.memory import STATIC_PARTS
from flexsim.timeline.memory_series import memory_series

SIZES = {"hidden": 1024, "heads": 8, "sequence": 1024, "vocabulary": 512}
TENSOR = 2 * SIZES["sequence"] * SIZES["hidden"]
"""Bytes of one [s, h] of a microbatch."""


def run(layers: int, **strategy: Any) -> flexsim.Result:
    content = {
        "model": {"name": "llama", "layers": layers, "ffn": 4096, **SIZES},
        "cluster": {"device_graph": "dgx-h100", "hosts": 1, "devices": 2},
        "training": {"global_batch": 8, "precision": "bf16"},
        "strategy": {"name": "megatron", "pipeline": 2, "schedule": "forward", **strategy},
    }
    return flexsim.run(Scenario.from_dict(content))


def test_the_moment_is_told_and_only_what_is_in_use_is_held() -> None:
    """In SwiGLU the residual is there, a pair of [s, 4 h] and their product."""
    result = run(4)
    stage = result.metrics["peak_memory_bytes_per_stage"][0]
    assert result.metrics["peak_memory_at"].endswith("swiglu")
    assert stage["temporary"] == TENSOR * (1 + 3 * 4)
    assert stage["buffers"] <= 2 * TENSOR
    assert not any(stage[part] for part in ("gradients", "optimizer", "activations"))


def test_more_layers_hold_no_more() -> None:
    few, many = (run(layers).metrics["peak_memory_bytes_per_stage"][0] for layers in (2, 8))
    assert few["temporary"] == many["temporary"]
    assert few["weights"] < many["weights"]


def test_nothing_is_left() -> None:
    series = memory_series(run(2).timeline)
    assert series is not None
    for device in series.devices:
        moving = device.parts[:, len(STATIC_PARTS) :][:, :4]
        assert np.all(device.parts >= 0)
        assert not moving[-1].any()
