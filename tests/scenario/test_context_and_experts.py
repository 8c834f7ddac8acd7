"""Context and expert parallelism as scenarios: keys, checks, and what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from shipped_scenarios import outcome, skip_if_long
from small_gpt import small

import flexsim
from flexsim.errors import FlexSimError
from flexsim.scenario.prepare import prepare
from flexsim.strategy.files import read_strategy, write_strategy

MIXTURE = {"name": "mixtral", "experts": 4, "chosen_experts": 2, "ffn": 512}
WHOLE = {"tensor": 1, "pipeline": 1, "data": None}


def simulated(strategy: dict[str, object], **model: object) -> flexsim.Result:
    """Simulate the small scenario on 8 devices with other keys of its tables."""
    return flexsim.run(scenario(strategy, **model))


def scenario(strategy: dict[str, object], **model: object) -> flexsim.Scenario:
    content = small(model=model, strategy=WHOLE | strategy)
    content["strategy"] = {k: v for k, v in content["strategy"].items() if v is not None}
    return flexsim.Scenario.from_dict(content, "small.toml")


def test_replicas_are_what_context_leaves() -> None:
    found = simulated({"context": 4})
    assert found.metrics["num_devices"] == 8
    assert found.task_graph.folding == "8 devices folded to 1, one for each pipeline rank"


@pytest.mark.parametrize("method", ["all-gather", "ring", "ulysses"])
def test_methods_compute_alike(method: str) -> None:
    found = simulated({"context": 4, "context_method": method}, name="llama")
    plain = simulated({"context": 4}, name="llama")
    assert found.metrics["model_flops"] == plain.metrics["model_flops"]
    assert found.metrics["hardware_flops"] == plain.metrics["hardware_flops"]


def test_runs_of_positions_take_longer_than_dealt_out_ones() -> None:
    sizes = {"name": "llama", "sequence": 4096}
    even = simulated({"context": 4}, **sizes)
    runs = simulated({"context": 4, "context_order": "contiguous"}, **sizes)
    assert runs.metrics["iteration_time_s"] > even.metrics["iteration_time_s"]
    assert "takes longer on some devices" in runs.task_graph.folding


def test_order_means_nothing_without_context() -> None:
    dealt, runs = (
        simulated({"context_order": order}, name="llama") for order in ("zigzag", "contiguous")
    )
    assert dealt.metrics == runs.metrics


def test_experts_run_beside_pipelines_and_tensor_parallelism() -> None:
    cut: dict[str, object] = {
        "pipeline": 2,
        "tensor": 2,
        "expert": 2,
        "sequence_parallel": True,
        "zero": 1,
    }
    assert simulated(cut, **MIXTURE).metrics["num_devices"] == 8


def test_imbalance_is_monotone_and_repeatable() -> None:
    def time_s(spread: float, seed: int = 5) -> float:
        model = MIXTURE | {"load_imbalance": spread, "seed": seed, "ffn": 8192}
        return float(simulated({"expert": 4}, **model).metrics["iteration_time_s"])

    times = [time_s(spread) for spread in (0.0, 0.3, 1.0)]
    assert times[0] < times[1] < times[2]
    assert time_s(0.3) == times[1]
    assert time_s(0.3, seed=6) != times[1]


@pytest.mark.parametrize(
    ("strategy", "model", "told"),
    [
        ({"context": 3}, {}, "strategy.tensor x strategy.pipeline x strategy.context = 1 x 1 x 3"),
        ({"context": 16, "data": 1}, {}, "x data 1 x context 16"),
        ({"context": 2, "context_method": "spiral"}, {}, "strategy.context_method"),
        ({"expert": 2}, {}, "small.toml: strategy.expert = 2 has no meaning for 'gpt'"),
        ({"expert": 3}, MIXTURE, "choose from 1, 2, 4, 8"),
        ({"expert": 8}, MIXTURE, "does not divide the 4 experts"),
        ({"context": 2, "context_method": "ring"}, {}, "choose 'all-gather'"),
        ({"context": 0}, {}, "strategy.context"),
        ({}, {"experts": 4}, "model.experts has no meaning for the family 'gpt'"),
        ({}, MIXTURE | {"capacity_factor": 0}, "model.capacity_factor"),
        ({}, MIXTURE | {"load_imbalance": -0.1}, "model.load_imbalance"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    strategy: dict[str, object], model: dict[str, object], told: str
) -> None:
    with pytest.raises(FlexSimError) as problem:
        simulated(strategy, **model)
    assert told in str(problem.value)
    assert str(problem.value).startswith("small.toml: ")
    assert "\n" not in str(problem.value)


def test_strategy_files_keep_axes_and_rings(tmp_path: Path) -> None:
    keys = {"context": 2, "context_method": "ring", "expert": 4}
    found = prepare(scenario(keys, **MIXTURE))
    path = tmp_path / "strategy.json"
    write_strategy(path, found.strategy, found.graph, found.devices)
    again = read_strategy(path, found.graph, found.devices)
    assert again.configs == found.strategy.configs
    assert again.ring_axes == found.strategy.ring_axes == ("context",)


def test_mixtral_is_within_12_percent() -> None:
    found = outcome("mixtral-8x7b-64xh100")
    assert found.scenario.published is not None
    published = found.scenario.published.tflops_per_device
    found_rate = found.metrics["hardware_flops"] / found.metrics["iteration_time_s"] / 64
    assert found_rate / 1e12 == pytest.approx(published, rel=0.12)


def test_deepseek_is_within_12_percent(request: pytest.FixtureRequest) -> None:
    skip_if_long("deepseek-v3-2048xh800", request.config)
    found = outcome("deepseek-v3-2048xh800")
    assert found.scenario.published is not None
    published = found.scenario.published.iteration_time_s
    assert found.metrics["iteration_time_s"] == pytest.approx(published, rel=0.12)
