"""Mistakes in a scenario, told by the command line in one sentence: file, key, value, choices."""

import math
from pathlib import Path

import pytest
from command_line import flexsim, only_error
from small_gpt import small, toml_text

MISTAKES = {
    "unknown table": ({"modle": {"x": 1}}, ["modle", "did you mean 'model'?", "training"]),
    "unknown model key": ({"model": {"hiden": 4}}, ["model.hiden = 4", "'hidden'?", "layers"]),
    "unknown cluster key": ({"cluster": {"host": 1}}, ["cluster.host = 1", "'hosts'?"]),
    "unknown training key": (
        {"training": {"globalbatch": 8}},
        ["globalbatch = 8", "'global_batch'?"],
    ),
    "unknown strategy key": ({"strategy": {"tensr": 2}}, ["strategy.tensr = 2", "'tensor'?"]),
    "unknown simulation key": ({"simulation": {"engin": "x"}}, ["simulation.engin", "'engine'?"]),
    "unknown output key": ({"output": {"dir": "x"}}, ["output.dir = 'x'", "'directory'?"]),
    "unknown published key": ({"published": {"mfuu": 0.5}}, ["published.mfuu = 0.5", "'mfu'?"]),
    "unknown family": ({"model": {"name": "gtp"}}, ["model.name = 'gtp'", "'gpt'?", "llama"]),
    "unknown preset": ({"model": {"preset": "gpt-1.7"}}, ["model.preset", "'gpt-1.7b'?"]),
    "preset of another family": (
        {"model": {"preset": "llama3-8b"}},
        ["model.name = 'gpt'", "model.preset = 'llama3-8b'", "leave model.name out"],
    ),
    "unknown attention": ({"model": {"attention": "flsh"}}, ["model.attention", "'flash'?"]),
    "unknown device graph": (
        {"cluster": {"device_graph": "dgx-a10"}},
        ["cluster.device_graph", "'dgx-a10'", "'dgx-a100'?", "dgx-h100"],
    ),
    "missing device graph": (
        {"cluster": {"device_graph": "none.toml"}},
        ["cluster.device_graph", "none.toml", "no such"],
    ),
    "device graph with a long name": (
        {"cluster": {"device_graph": "x" * 900 + ".toml"}},
        ["cluster.device_graph", "no such"],
    ),
    "unknown software": (
        {"training": {"software": "megatronlm"}},
        ["training.software", "'megatronlm'", "'megatron-lm'?", "megatron-deepspeed"],
    ),
    "missing software": ({"training": {"software": "a.toml"}}, ["training.software", "a.toml"]),
    "unknown precision": ({"training": {"precision": "fp61"}}, ["training.precision", "'fp16'?"]),
    "unknown optimizer": ({"training": {"optimizer": "adm"}}, ["training.optimizer", "'adam'?"]),
    "unknown recompute": ({"training": {"recompute": "ful"}}, ["training.recompute", "'full'?"]),
    "unknown strategy": (
        {"strategy": {"name": "megatrn"}},
        ["strategy.name = 'megatrn'", "'megatron'?", "single"],
    ),
    "unknown schedule": (
        {"strategy": {"schedule": "gpip"}},
        ["strategy.schedule = 'gpip'", "'gpipe'?", "interleaved-1f1b"],
    ),
    "unknown engine": ({"simulation": {"engine": "evnt"}}, ["simulation.engine", "'event'?"]),
    "unknown network": (
        {"simulation": {"network": "analytical"}},
        ["simulation.network = 'analytical'", "'analytic'?"],
    ),
    "unknown detail": ({"output": {"detail": "all"}}, ["output.detail = 'all'", "operators"]),
    "unknown axis": (
        {"strategy": {"order": "tensor,data,pipe"}},
        ["strategy.order = 'tensor,data,pipe'", "tensor, data, pipeline"],
    ),
    "axis left out": ({"strategy": {"order": "tensor,data"}}, ["strategy.order", "once each"]),
    "axis given twice": ({"strategy": {"order": "data,data,tensor"}}, ["strategy.order"]),
    "text for a number": ({"strategy": {"tensor": "2"}}, ["strategy.tensor = '2'", "integer"]),
    "fraction for a count": ({"model": {"layers": 2.5}}, ["model.layers = 2.5", "integer"]),
    "number for a flag": ({"strategy": {"fold": 1}}, ["strategy.fold = 1", "boolean"]),
    "number for a name": ({"strategy": {"schedule": 3}}, ["strategy.schedule = 3", "string"]),
    "list for a count": ({"strategy": {"tensor": [1, 2]}}, ["strategy.tensor = [1, 2]"]),
    "zero": ({"strategy": {"pipeline": 0}}, ["strategy.pipeline = 0", "1"]),
    "negative": ({"training": {"global_batch": -8}}, ["training.global_batch = -8"]),
    "nan for a count": ({"training": {"global_batch": math.nan}}, ["global_batch = nan"]),
    "infinite count": ({"cluster": {"hosts": math.inf}}, ["cluster.hosts = inf"]),
    "nan for a share": ({"published": {"mfu": math.nan}}, ["published.mfu = nan", "finite"]),
    "infinite rate": ({"published": {"tokens_per_s": math.inf}}, ["tokens_per_s = inf", "finite"]),
    "share above one": ({"published": {"hfu": 51.4}}, ["published.hfu = 51.4", "1"]),
    "time without a unit": ({"published": {"iteration_time": 3}}, ["iteration_time", "'13.75 s'"]),
    "time in bytes": ({"published": {"iteration_time": "3 GB"}}, ["'3 GB'", "'13.75 s'"]),
    "time of zero": ({"published": {"iteration_time": "0 s"}}, ["'0 s'", "above zero"]),
    "infinite time": ({"published": {"iteration_time": "1e999 s"}}, ["'1e999 s'", "finite"]),
    "empty name": ({"strategy": {"name": ""}}, ["strategy.name = ''", "at least 1"]),
    "control character": ({"output": {"directory": "a\0b"}}, ["output.directory", "control"]),
    "line break": ({"output": {"directory": "a\nb"}}, ["output.directory", "line breaks"]),
    "heads by tensor": (
        {"strategy": {"tensor": 3}},
        ["strategy.tensor = 3", "model.heads = 8", "choose from 1, 2, 4, 8"],
    ),
    "key heads by tensor": (
        {"model": {"heads": 12, "hidden": 768, "kv_heads": 4}, "strategy": {"tensor": 6}},
        ["strategy.tensor = 6", "model.kv_heads = 4", "choose from 1, 2, 4"],
    ),
    "key heads by heads": (
        {"model": {"kv_heads": 5}},
        ["model.kv_heads = 5", "model.heads = 8"],
    ),
    "heads by hidden": ({"model": {"heads": 7}}, ["model.heads = 7", "model.hidden = 512"]),
    "layers by pipeline": (
        {"strategy": {"pipeline": 5}},
        ["strategy.pipeline = 5", "model.layers = 4", "choose from 1, 2, 4"],
    ),
    "layers by pipeline and chunks": (
        {"strategy": {"chunks": 4}},
        ["strategy.pipeline x strategy.chunks = 2 x 4 = 8", "model.layers = 4", "1, 2, 4"],
    ),
    "batch by data": (
        {"training": {"global_batch": 7}},
        ["training.global_batch = 7", "strategy.data x training.micro_batch = 2", "6, 8, 10"],
    ),
    "batch by micro-batch": (
        {"training": {"micro_batch": 3}},
        ["training.global_batch = 8", "strategy.data x training.micro_batch = 6", "6, 12, 18"],
    ),
    "sequence by tensor": (
        {"model": {"sequence": 255}, "strategy": {"sequence_parallel": True}},
        ["strategy.tensor = 2", "model.sequence = 255", "1, 3, 5"],
    ),
    "feed-forward smaller than tensor": (
        {"model": {"ffn": 1}},
        ["strategy.tensor = 2", "model.ffn = 1", "choose from 1 to 1"],
    ),
    "devices by tensor and pipeline": (
        {"cluster": {"devices": 6}, "strategy": {"data": None}},
        ["strategy.tensor x strategy.pipeline = 2 x 2", "6 devices", "1, 2, 3, 6"],
    ),
    "more devices than there are": (
        {"strategy": {"data": 4}},
        ["16 devices (tensor 2 x pipeline 2 x data 4)", "the cluster has 8", "cluster.hosts"],
    ),
    "more devices than the graph has": (
        {"cluster": {"devices": 9}},
        ["cluster.devices = 9", "'dgx-a100' has 8", "1 to 8"],
    ),
    "more hosts than are listed": (
        {"cluster": {"device_graph": "two-hosts-example", "hosts": 3}},
        ["cluster.device_graph", "hosts = 3", "1 to 2"],
    ),
    "chunks without a schedule for them": (
        {"strategy": {"chunks": 2, "schedule": "1f1b"}},
        ["strategy.schedule = '1f1b'", "chunks = 2", "interleaved-1f1b"],
    ),
    "microbatches by pipeline": (
        {
            "strategy": {"chunks": 2, "schedule": "dualpipe-v"},
            "training": {"global_batch": 6},
        },
        [
            "strategy.schedule = 'dualpipe-v'",
            "training.global_batch = 6",
            "microbatches = 3",
            "4 stages",
            "choose 4 or more",
        ],
    ),
    "tensor ranks on a single device": (
        {"strategy": {"name": "single"}},
        ["strategy.tensor = 2", "'single'", "'megatron'"],
    ),
    "pipeline ranks of replicas": (
        {"strategy": {"name": "data", "tensor": 1}},
        ["strategy.pipeline = 2", "'data'", "'megatron'"],
    ),
    "precision that a device lacks": (
        {"cluster": {"device_graph": "pcie-8x2080ti"}, "training": {"precision": "bf16"}},
        ["training.precision", "'rtx-2080ti'", "'bf16'", "choose from fp16, fp32"],
    ),
    "key that a family lacks": (
        {"model": {"name": "mlp"}},
        ["model.heads", "'mlp'", "choose from ffn, hidden, layers"],
    ),
    "model that cannot be counted": (
        {"model": {"hidden": 10**9}},
        ["model has 4.8e+19 parameters", "at most 1e+15"],
    ),
    "batch that cannot be counted": (
        {
            "model": {"preset": "gpt-1t", "name": None, "layers": 2, "hidden": 2**20},
            "training": {"micro_batch": 2**20, "global_batch": 2**21},
        },
        ["floating-point operations", "training.global_batch", "at most 1e+22"],
    ),
    "too many microbatches": (
        {"training": {"global_batch": 2**30}},
        ["training.global_batch makes 536870912 microbatches", "choose at most 2500000"],
    ),
    "too many layers": (
        {"model": {"layers": 2**20}},
        ["model.layers = 1048576", "choose from 1 to 10000"],
    ),
}


@pytest.fixture(autouse=True)
def _in_new_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_file_key_value_and_choices(case):
    changes, told = MISTAKES[case]
    Path("my.toml").write_text(toml_text(_without_none(small(**changes))), encoding="utf-8")
    error = only_error(flexsim("run", "my.toml"))
    assert error.startswith("error: my.toml: ")
    assert all(part in error for part in told), error
    assert [path.name for path in Path().iterdir()] == ["my.toml"]


def _without_none(content):
    return {
        table: {key: value for key, value in keys.items() if value is not None}
        for table, keys in content.items()
    }


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"layers": 2, "hidden": 64, "heads": 2, "sequence": 16}, "model.vocabulary"),
        ({"layers": 2, "hidden": 64, "heads": 2, "vocabulary": 99}, "model.sequence"),
        ({"layers": 2, "hidden": 64, "sequence": 16, "vocabulary": 99}, "model.heads"),
        ({"hidden": 64, "heads": 2, "sequence": 16, "vocabulary": 99}, "model.layers"),
    ],
)
def test_a_size_that_a_family_needs_is_asked_for(model, key):
    Path("my.toml").write_text(toml_text(small() | {"model": {"name": "gpt"} | model}))
    error = only_error(flexsim("run", "my.toml"))
    assert f"my.toml: {key} is missing: the family 'gpt' needs it" in error


def test_sequence_parallelism_needs_a_sequence():
    model = {"name": "mlp", "layers": 4, "hidden": 64}
    content = small(strategy={"sequence_parallel": True}) | {"model": model}
    Path("my.toml").write_text(toml_text(content))
    error = only_error(flexsim("run", "my.toml"))
    assert "strategy.sequence_parallel = true has no meaning for the family 'mlp'" in error
