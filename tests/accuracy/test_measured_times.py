"""From what was measured to the time of one iteration."""

import pytest
from runs_table import write_runs

from flexsim.accuracy.flops import model_flops
from flexsim.accuracy.runs import read_runs
from flexsim.models import build_model, model_config
from flexsim.scenario.schema import Scenario

LAYERS, HIDDEN, SEQUENCE, WORDS, BATCH, DEVICES = 4, 1024, 512, 51200, 8, 8
TOKENS = BATCH * SEQUENCE
EQUATION_3 = 96 * TOKENS * LAYERS * HIDDEN**2 * (
    1 + SEQUENCE / (6 * HIDDEN) + WORDS / (16 * LAYERS * HIDDEN)
)  # fmt: skip
"""Narayanan et al. 2021: FLOPs of an iteration with full recomputation."""
MODEL_FLOPS = 72 * TOKENS * LAYERS * HIDDEN**2 * (
    1 + SEQUENCE / (6 * HIDDEN) + WORDS / (12 * LAYERS * HIDDEN)
)  # fmt: skip
A100_FLOPS_PER_S = 312e12


@pytest.fixture
def measured(tmp_path):
    """Return what was measured of a row without iter_time_s."""

    def reader(**cells):
        path = write_runs(tmp_path / "runs.csv", {"iter_time_s": ""} | cells)
        return read_runs(path)[0].measured

    return reader


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        ({"iter_time_s": "0.25", "tflops_per_gpu": "100"}, 0.25),
        ({"tokens_per_s_per_gpu": "1,024"}, TOKENS / (1024 * DEVICES)),
        ({"samples_per_s": "16"}, 0.5),
        ({"tflops_per_gpu": "100"}, EQUATION_3 / (100e12 * DEVICES)),
        ({"tflops_per_gpu": "100", "notes": "model FLOPs"}, MODEL_FLOPS / (100e12 * DEVICES)),
        (
            {"tflops_per_gpu": "100", "software": "Megatron-Core 0.12"},
            MODEL_FLOPS / (100e12 * DEVICES),
        ),
        ({"mfu_pct": "40"}, MODEL_FLOPS / (0.4 * A100_FLOPS_PER_S * DEVICES)),
        ({"hfu_pct": "40"}, EQUATION_3 / (0.4 * A100_FLOPS_PER_S * DEVICES)),
        ({"other_metric": "x=1; derived_iter_time_s=3.5 (eq.3)", "mfu_pct": "40"}, 3.5),
        ({"other_metric": "forward_ms=7.5; backward_ms=12.5"}, 0.02),
    ],
)
def test_the_first_quantity_that_is_given(measured, cells, seconds):
    assert measured(**cells).seconds == pytest.approx(seconds, rel=1e-9)


def test_nothing_measured(measured):
    assert measured() is None


def test_flops_with_selective_recomputation(measured):
    """Korthikanti et al. 2022, appendix A: 72 B L s h² (1 + s / 3h + v / 12 h L)."""
    all_flops = MODEL_FLOPS + 72 * TOKENS * LAYERS * HIDDEN**2 * SEQUENCE / (6 * HIDDEN)
    found = measured(hfu_pct="50", recompute="selective")
    assert found.seconds == pytest.approx(all_flops / (0.5 * A100_FLOPS_PER_S * DEVICES), rel=1e-9)


@pytest.mark.parametrize(
    ("cells", "num_bytes", "of", "with_overhead"),
    [
        ({"notes": ""}, 10 * 2**30, "fullest", False),
        ({"notes": "memory in GB"}, 10 * 10**9, "fullest", False),
        ({"notes": "mem = nvidia-smi of first node"}, 10 * 2**30, "first", True),
        ({"other_metric": "total over devices"}, 10 * 2**30, "all", False),
    ],
)
def test_measured_memory(tmp_path, cells, num_bytes, of, with_overhead):
    run = read_runs(write_runs(tmp_path / "runs.csv", {"mem_gib": "10"} | cells))[0]
    assert (run.memory.num_bytes, run.memory.of, run.memory.with_overhead) == (
        num_bytes, of, with_overhead,
    )  # fmt: skip
    assert not run.is_out_of_memory


@pytest.mark.parametrize(
    "cells",
    [
        {"notes": "OOM"},
        {"other_metric": " date=out of memory"},
        {"other_metric": "CUDA out-of-memory"},
        {"mem_gib": "OOM"},
        {"notes": "does not fit"},
    ],
)
def test_runs_out_of_memory(tmp_path, cells):
    run = read_runs(write_runs(tmp_path / "runs.csv", {"iter_time_s": ""} | cells))[0]
    assert run.is_out_of_memory
    assert run.memory is None
    assert run.problem == ""


@pytest.mark.parametrize("preset", ["gpt-1.7b", "llama3-8b", "deepseek-v3", "mixtral-8x7b"])
def test_flops_of_equal_layers_are_those_of_the_whole_model(preset):
    config = model_config(None, preset, layers=9, sequence=64)
    scenario = Scenario.from_dict(
        {
            "model": {"preset": preset, "layers": 9, "sequence": 64},
            "cluster": {"device_graph": "dgx-a100"},
            "training": {"global_batch": 3},
            "strategy": {"name": "data"},
        }
    )
    assert model_flops(scenario) == build_model(config, 3, "fp16").flops
