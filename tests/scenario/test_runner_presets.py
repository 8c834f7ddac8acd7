"""Every preset and family, cut in Megatron's ways, down to one layer a stage."""

import pytest
from small_gpt import most_activations

import flexsim
from flexsim.models import PRESETS, family_keys

LANGUAGE = {"heads", "sequence"}
"""Keys of the families that Megatron cuts in all its ways."""

MODELS = {
    name: {"preset": name}
    for name, shape in PRESETS.items()
    if set(family_keys(shape.family)) >= LANGUAGE
} | {
    "llama-2-groups": {
        "name": "llama",
        "hidden": 512,
        "heads": 8,
        "kv_heads": 2,
        "vocabulary": 1024,
    },
    "gpt-flash": {"preset": "gpt-1.7b", "attention": "flash"},
    "gpt-untied": {"preset": "gpt-1.7b", "tied_embedding": False},
    "bare-layers": {"preset": "gpt-1.7b", "embedding_and_head": False},
    "deepseek-v3": {"preset": "deepseek-v3", "dense_layers": 0},
}


def simulated(model, layers, **strategy):
    content = {
        "model": {"sequence": 128} | model | {"layers": layers},
        "cluster": {"device_graph": "dgx-a100"},
        "training": {"global_batch": 4, "recompute": "selective"},
        "strategy": {"name": "megatron", "data": 1} | strategy,
    }
    return flexsim.run(flexsim.Scenario.from_dict(content, "preset.toml"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_cut_over_tensor_and_pipeline_ranks(name):
    one = simulated(MODELS[name], layers=2)
    cut = simulated(MODELS[name], layers=2, tensor=2, pipeline=2)
    metrics = cut.metrics
    assert cut.task_graph.folding == "4 devices folded to 2, one for each pipeline rank"
    assert metrics["model_flops"] == one.metrics["model_flops"]
    assert metrics["exposed_communication_s"]["tensor"] > 0
    assert metrics["exposed_communication_s"]["pipeline"] > 0
    assert metrics["bubble_fraction"] > 0
    assert metrics["peak_memory_bytes"] < one.metrics["peak_memory_bytes"]
    assert 0 < metrics["mfu"] < metrics["hfu"] + 1e-12 < 1


@pytest.mark.parametrize("name", MODELS)
def test_sequence_parallelism_keeps_fewer_activations(name):
    plain, cut = (
        simulated(MODELS[name], layers=1, tensor=2, sequence_parallel=choice)
        for choice in (False, True)
    )
    assert most_activations(cut) < most_activations(plain)
    assert cut.metrics["model_flops"] == plain.metrics["model_flops"]


@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 8])
@pytest.mark.parametrize("family", ["llama", "palm"])
def test_more_tensor_ranks_than_key_heads_share_them(family, kv_heads, sequence_parallel):
    model = {
        "name": family,
        "hidden": 512,
        "heads": 8,
        "kv_heads": kv_heads,
        "vocabulary": 1024,
    }
    one = simulated(model, layers=1)
    cut = simulated(model, layers=1, tensor=8, sequence_parallel=sequence_parallel)
    assert cut.metrics["model_flops"] == one.metrics["model_flops"]
    assert cut.metrics["num_devices"] == 8


@pytest.mark.parametrize("layers", [2, 4])
def test_an_mlp_is_cut_too(layers):
    content = {
        "model": {"name": "mlp", "layers": layers, "hidden": 512},
        "cluster": {"device_graph": "dgx-a100"},
        "training": {"global_batch": 16},
        "strategy": {"name": "megatron", "tensor": 2, "pipeline": 2, "data": 2},
    }
    metrics = flexsim.run(flexsim.Scenario.from_dict(content)).metrics
    assert metrics["model_flops"] == 16 * (3 * layers - 1) * 2 * 512 * 2048
    assert metrics["num_devices"] == 8
