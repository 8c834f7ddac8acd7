"""Memory followed through simulated iterations against the formulas of papers, within 1 %."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import flexsim
from flexsim.models import build_model, model_config
from flexsim.scenario.schema import Scenario
from flexsim.timeline.memory import PARTS
from flexsim.timeline.memory_series import MemorySeries, memory_series

S, B, H, A, V = 256, 2, 512, 8, 1024
LAYERS = 8
ACTIVATIONS = PARTS.index("activations")
MODEL = {"layers": LAYERS, "hidden": H, "heads": A, "sequence": S, "vocabulary": V}


@cache
def simulated(**keys: Any) -> tuple[dict[str, Any], MemorySeries]:
    """Return metrics and memory against time of a small GPT on eight devices."""
    training = {"global_batch": 16 * keys.get("data", 1), "micro_batch": B}
    training |= {"recompute": keys.pop("recompute", "none")}
    scenario = Scenario.from_dict(
        {
            "model": {"name": "gpt", **MODEL},
            "cluster": {"device_graph": "dgx-a100", "hosts": 1},
            "training": training,
            "strategy": {"name": "megatron", "data": 1, **keys},
            "simulation": {"engine": "compiled"},
        }
    )
    result = flexsim.run(scenario)
    series = memory_series(result.timeline)
    assert series is not None
    return dict(result.metrics), series


def most_activations(rank: int = 0, **keys: Any) -> int:
    return int(simulated(**keys)[1].devices[rank].parts[:, ACTIVATIONS].max())


def a_layer(t: int, sequence: bool, recompute: str) -> float:
    """Return the bytes that a layer keeps of a microbatch (Equations 1, 2, 4, 6; section 5)."""
    core = 5 * A * S / H / t
    if recompute == "full":
        return S * B * H * 2 / (t if sequence else 1)
    rest = 34 / t if sequence else 10 + 24 / t
    return S * B * H * (rest + (core if recompute == "none" else 0))


WAYS = [(1, False), (2, False), (2, True), (4, True)]


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize(("tensor", "sequence"), WAYS)
def test_the_first_stage_holds_what_korthikanti_say(tensor, sequence, recompute):
    """Equation 5: p microbatches of L/p layers are in flight, so that L layers' worth is held.

    Beside the layers the first stage keeps the mask of the embedding's dropout (section 4.3).
    """
    keys = {"tensor": tensor, "pipeline": 2, "sequence_parallel": sequence, "recompute": recompute}
    dropout = S * B * H * 2 / (tensor if sequence else 1)
    expected = LAYERS * a_layer(tensor, sequence, recompute) + dropout
    assert most_activations(**keys) == pytest.approx(expected, rel=0.01)


def test_without_pipeline_every_layer_of_one_microbatch_is_held():
    logits = S * B * (4 * V + 4 * H)
    expected = LAYERS * a_layer(1, False, "none") + logits + S * B * H
    assert most_activations(pipeline=1) == pytest.approx(expected, rel=0.01)


def test_interleaving_holds_more_by_the_paper_factor():
    """Korthikanti et al., section 4.2.3: L (1 + (p - 1) / (p m)) layers' worth with m chunks."""
    plain, chunked = most_activations(pipeline=2), most_activations(pipeline=2, chunks=2)
    assert chunked / plain == pytest.approx(1 + 1 / 4, rel=0.01)


def test_later_stages_hold_fewer_microbatches():
    layers = LAYERS / 4 * a_layer(1, False, "none")
    for rank in (1, 2):
        held = most_activations(rank, pipeline=4)
        assert held == pytest.approx((4 - rank) * layers, rel=0.01)


@pytest.mark.parametrize(
    ("zero", "shares"), [(0, (1, 1, 1)), (1, (1, 1, 8)), (2, (1, 8, 8)), (3, (8, 8, 8))]
)
def test_model_states_are_those_of_zero(zero, shares):
    """Rajbhandari et al. 2020, section 3.1 and Figure 1: 2, 2 and K = 12 bytes a parameter."""
    graph = build_model(model_config("gpt", None, **MODEL), 1)
    stage = simulated(data=8, zero=zero)[0]["peak_memory_bytes_per_stage"][0]
    held = [stage[part] for part in ("weights", "gradients", "optimizer")]
    expected = [b * graph.num_parameters / n for b, n in zip((2, 2, 12), shares, strict=True)]
    assert held == pytest.approx(expected, rel=0.01)


def test_fsdp_holds_a_few_whole_units():
    """With a unit gathered ahead of the one that runs, two layers' weights are whole at a time."""
    whole = [simulated(data=8, zero=3, prefetch=n)[1] for n in (0, 1)]
    gathered = [s.devices[0].parts[:, PARTS.index("gathered")].max() for s in whole]
    layer = 2 * (12 * H * H + 13 * H)
    assert gathered[1] == pytest.approx(2 * layer, rel=0.01)
    assert gathered[0] < gathered[1]


def test_weights_that_are_not_dropped_stay_whole():
    kept = simulated(data=8, zero=3, reshard=False)[1].devices[0]
    graph = build_model(model_config("gpt", None, **MODEL), 1)
    most = kept.parts[:, PARTS.index("gathered")].max()
    shared = V * H  # word embedding and head gather the weight that they share one by one
    assert most == pytest.approx(2 * (graph.num_parameters + shared), rel=0.01)


@pytest.mark.parametrize(
    "keys",
    [
        {"pipeline": 4, "tensor": 2, "recompute": "selective"},
        {"pipeline": 2, "chunks": 2, "recompute": "full"},
        {"pipeline": 4, "schedule": "zb-h1"},
        {"data": 8, "zero": 3},
    ],
)
def test_the_highest_moment_is_the_peak(keys):
    metrics, series = simulated(**keys)
    stages = metrics["peak_memory_bytes_per_stage"]
    for one, stage in zip(series.devices, stages, strict=True):
        assert 0.99 * stage["total"] <= one.total.max() <= stage["total"]
    for one in series.devices:
        assert (one.parts >= 0).all()
        assert (np.diff(one.time_ns) >= 0).all()
        assert not one.parts[-1, ACTIVATIONS], "all that was saved has been freed"
