"""Results that are made anew for whatever reads them, and what is kept in fp8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flexsim
from flexsim.cost import load_software_profile
from flexsim.errors import ProfileError
from flexsim.models import build_model, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.schema import Scenario
from flexsim.strategy.recompute import cheap_runs
from flexsim.task_graph.narrow import kept_in_fp8

SHAPE = {"layers": 2, "hidden": 1024, "heads": 8, "sequence": 2048, "vocabulary": 4096}
LLAMA = {"name": "llama", **SHAPE}
DEEPSEEK = {"name": "deepseek", **SHAPE, "experts": 8, "chosen_experts": 2, "dense_layers": 1}


def model(name: str, precision: str = "fp16", **more: int) -> OperatorGraph:
    return build_model(model_config(name, None, **(SHAPE | more)), 1, precision)


def run(model: dict[str, Any], training: dict[str, Any], **strategy: Any) -> flexsim.Result:
    content = {
        "model": model,
        "cluster": {"device_graph": "hgx-h800", "hosts": 1, "devices": 2},
        "training": {"global_batch": 16, "micro_batch": 1, "precision": "bf16", **training},
        "strategy": {"name": "megatron", "pipeline": 2, **strategy},
    }
    return flexsim.run(Scenario.from_dict(content))


def parts(result: flexsim.Result) -> dict[str, int]:
    return result.metrics["peak_memory_bytes_per_stage"][0]


def test_norms_and_activations_are_runs_of_their_own() -> None:
    runs = cheap_runs(model("llama"))
    assert runs[:3] == (
        ("layer0.attention_norm",),
        ("layer0.mlp_norm",),
        ("layer0.swiglu",),
    )
    assert len(runs) == 6, "the norm before the head is outside of layers"


def test_up_projections_of_latents_are_one_run() -> None:
    runs = cheap_runs(model("deepseek", experts=8, chosen_experts=2, dense_layers=1))
    first = next(run for run in runs if "layer0.query_up" in run)
    assert first == ("layer0.query_up", "layer0.key_up", "layer0.rotary")


@pytest.mark.parametrize("table", [LLAMA, DEEPSEEK], ids=["llama", "deepseek"])
@pytest.mark.parametrize("schedule", ["1f1b", "zb-h1"])
def test_less_is_kept_and_little_done_again(table: dict[str, Any], schedule: str) -> None:
    """Exactly the cheap operators run again."""
    plain = run(table, {}, schedule=schedule)
    cheap = run(table, {"recompute": "cheap"}, schedule=schedule)
    assert parts(cheap)["activations"] < 0.8 * parts(plain)["activations"]
    assert parts(plain)["recompute"] == 0
    slower = cheap.metrics["iteration_time_s"] / plain.metrics["iteration_time_s"]
    assert 1.0 < slower < 1.2
    again = cheap.timeline.task_graph
    redone = {again.operator_names[n] for n in np.unique(again.operator[again.kind == _again()])}
    assert redone == {name for names in cheap_runs(model_of(table)) for name in names}


def model_of(table: dict[str, Any]) -> OperatorGraph:
    sizes = {key: value for key, value in table.items() if key != "name"}
    return build_model(model_config(table["name"], None, **sizes), 1)


def _again() -> int:
    from flexsim.task_graph.kinds import TASK_CODE

    return TASK_CODE["recompute"]


def test_what_is_not_kept_is_the_results_of_norms_and_swiglu() -> None:
    """Llama's fullest moment is the backward of the first pass's SwiGLU, with two passes held.

    Of both it lacks two norms' [s, h] and statistics, and SwiGLU's [s, ffn] of the second.
    """
    plain, cheap = (run(LLAMA, training) for training in ({}, {"recompute": "cheap"}))
    assert plain.metrics["peak_memory_at"] == "0B0 layer0.swiglu"
    assert cheap.metrics["peak_memory_at"] == "0B0 layer0.swiglu"
    norms = SHAPE["sequence"] * 2 * (2 * SHAPE["hidden"] + 4)
    swiglu = SHAPE["sequence"] * 2 * model_config("llama", None, **SHAPE).ffn
    saved = parts(plain)["activations"] - parts(cheap)["activations"]
    assert saved == 2 * norms + swiglu


def test_fp8_keeps_what_only_products_and_activations_read() -> None:
    graph = model("llama", "fp8")
    kept = kept_in_fp8(graph, ("products", "activations"))
    assert "layer0.attention_norm.out" in kept, "only weight gradients read it"
    assert "layer0.gate_up.gate.out" in kept or "layer0.gate_up.up.out" in kept
    assert "layer0.attention.out" not in kept, "the backward of attention reads it"
    assert kept_in_fp8(graph, ("products",)) < kept
    assert not kept_in_fp8(model("llama", "bf16"), ("products",))
    assert not kept_in_fp8(graph, ())


@pytest.mark.parametrize("schedule", ["1f1b", "zb-h1"])
def test_fp8_halves_what_it_keeps_and_changes_no_time(schedule: str, tmp_path: Any) -> None:
    """The same software but for ``kept_in_fp8``: less memory, the same time."""
    text = (flexsim_data() / "hai-llm.toml").read_text()
    plain = tmp_path / "plain.toml"
    plain.write_text(text.replace('kept_in_fp8 = ["products", "activations"]', ""))
    training = {"precision": "fp8"}
    wide = run(LLAMA, training | {"software": str(plain)}, schedule=schedule)
    narrow = run(LLAMA, training | {"software": "hai-llm"}, schedule=schedule)
    assert narrow.metrics["iteration_time_s"] == wide.metrics["iteration_time_s"]
    share = parts(narrow)["activations"] / parts(wide)["activations"]
    assert 0.5 < share < 0.8
    assert parts(narrow)["temporary"] <= parts(wide)["temporary"]


def flexsim_data() -> Any:
    from flexsim.files import data_directory

    return data_directory("profiles/software")


def test_an_unknown_kind_is_told(tmp_path: Any) -> None:
    text = (flexsim_data() / "hai-llm.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('"activations"]', '"gradients"]'))
    with pytest.raises(ProfileError, match=r"kept_in_fp8: 'gradients'.*activations, products"):
        load_software_profile(str(mine))
