"""Tables of measured runs: what is read, and what becomes of each row."""

from dataclasses import replace

import pytest
from runs_table import PLAIN, write_runs

from flexsim.accuracy.columns import COLUMNS, MEASURED, REQUIRED, RunsError
from flexsim.accuracy.runs import Unsimulatable, read_runs, scenario_of


@pytest.fixture
def read(tmp_path):
    """Read rows that differ from a plain one in some cells."""

    def reader(*rows, **options):
        return read_runs(write_runs(tmp_path / "runs.csv", *rows, **options))

    return reader


@pytest.fixture
def one(read):
    """Read one row that differs from a plain one in some cells."""
    return lambda **cells: read(cells)[0]


def test_a_row_becomes_a_scenario(one):
    run = one()
    scenario = run.scenario()
    assert run.row_id == "one"
    assert run.family == "somebody"
    assert scenario.model.sizes == {
        "layers": 4, "hidden": 1024, "heads": 16, "sequence": 512, "vocabulary": 51200,
    }  # fmt: skip
    assert scenario.cluster.model_dump(exclude_none=True) == {"device_graph": "dgx-a100"}
    assert scenario.training.software == "megatron-deepspeed"
    assert scenario.training.recompute == "full"
    assert (scenario.strategy.tensor, scenario.strategy.pipeline, scenario.strategy.data) == (
        2,
        2,
        2,
    )
    assert scenario.strategy.schedule == "1f1b"
    assert run.measured_ns == 100_000_000
    assert run.measured.metric == "iter_time_s"


def test_keys_of_a_scenario_can_be_replaced(one):
    changed = scenario_of(one(), {"training.software": "megatron-lm", "strategy.zero": 1})
    assert (changed.training.software, changed.strategy.zero) == ("megatron-lm", 1)


def test_missing_columns_and_empty_cells_take_the_usual(read):
    columns = (*REQUIRED, "iter_time_s")
    run = read({"tp": "1", "pp": ""}, columns=columns)[0]
    scenario = run.scenario()
    assert run.row_id == "line 2"
    assert run.family == "runs"
    assert scenario.strategy.data == 1
    assert scenario.training.micro_batch == 8
    assert scenario.training.precision == "fp16"
    assert scenario.training.recompute == "none"
    assert scenario.training.software == "megatron-lm"


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_a_byte_order_mark_and_blank_lines(tmp_path, delimiter):
    names = [*REQUIRED, " Iter_Time_S "]
    cells = [PLAIN[name.strip().lower()] for name in names]
    lines = [delimiter.join(names), "", delimiter.join(cells), delimiter * 3]
    (tmp_path / "runs.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    runs = read_runs(tmp_path / "runs.csv")
    assert [run.measured_ns for run in runs] == [100_000_000]


@pytest.mark.parametrize(
    ("gpu", "graph"),
    [
        ("A100", "dgx-a100"),
        ("A100 80GB", "dgx-a100"),
        ("A100-SXM4-40GB", "dgx-a100-40gb"),
        ("H100", "dgx-h100"),
        ("H100-SXM5-80GB", "dgx-h100"),
        ("H200", "dgx-h200"),
        ("H800", "hgx-h800"),
        ("B200-SXM-180GB", "dgx-b200"),
        ("GB200", "gb200-nvl72"),
        ("V100-SXM3-32GB", "dgx2-v100"),
        ("V100-32GB", "dgx2-v100"),
        ("V100", "dgx1-v100"),
        ("TPU v4", "tpu-v4-pod"),
    ],
)
def test_spellings_of_devices(one, gpu, graph):
    assert one(gpu=gpu).scenario().cluster.device_graph == graph


@pytest.mark.parametrize(
    ("network", "graph"),
    [
        ("NVSwitch; 800 Gbps/node inter-node", "hgx-a100-4xhdr"),
        ("NVLink intra; 4x OPA 100Gb/s inter", "hgx-a100-4xopa"),
        ("NVSwitch + 8xHDR200 IB/node", "dgx-a100"),
    ],
)
def test_the_network_chooses_the_device_graph(one, network, graph):
    assert one(interconnect=network).scenario().cluster.device_graph == graph


@pytest.mark.parametrize(
    ("said", "schedule", "chunks"),
    [
        ("1F1B", "1f1b", 1),
        ("1f1b (DeepSpeed pipeline)", "1f1b", 1),
        ("interleaved-1f1b", "interleaved-1f1b", 2),
        ("1F1B-I", "interleaved-1f1b", 2),
        ("ZB-1p", "zb-h1", 1),
        ("zb-2p", "zb-h2", 1),
        ("ZB-V", "zb-v", 2),
        ("gpipe", "gpipe", 1),
        ("none", None, 1),
        ("", None, 1),
    ],
)
def test_spellings_of_schedules(one, said, schedule, chunks):
    table = one(schedule=said).scenario().strategy
    assert (table.schedule, table.chunks) == (schedule, chunks)


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("full (use_checkpoint=true in configs)", "full"),
        ("selective (attention core)", "selective"),
        ("SP+selective", "selective"),
        ("none (assumed)", "none"),
        ("no checkpointing", "none"),
        ("activation checkpointing", "full"),
        ("", "none"),
    ],
)
def test_spellings_of_recomputation(one, said, policy):
    assert one(recompute=said).scenario().training.recompute == policy


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        ("bf16 (fp32 grad accum)", "bf16"),
        ("16-bit mixed (assumed)", "fp16"),
        ("fp32", "fp32"),
        ("fp16 mixed", "fp16"),
    ],
)
def test_spellings_of_precision(one, said, precision):
    assert one(precision=said).scenario().training.precision == precision


@pytest.mark.parametrize(
    ("said", "profile"),
    [
        ("Megatron-DeepSpeed (bigscience)", "megatron-deepspeed-2022"),
        ("vTrain's Megatron", "megatron-deepspeed"),
        ("Megatron-LM v0", "megatron-lm-2019"),
        ("Megatron-LM 0.14 (TE 2.11)", "megatron-core"),
        ("DeepSpeed ZeRO-3", "deepspeed-zero3-2021"),
        ("Megatron-LM PTD-P", "megatron-lm"),
        ("Pathways, JAX", "xla-spmd"),
    ],
)
def test_spellings_of_software(one, said, profile):
    assert one(software=said).scenario().training.software == profile


@pytest.mark.parametrize(
    ("said", "stage"),
    [("zero1", 1), ("distributed optimizer (zero1)", 1), ("zero3", 3), ("FSDP", 3), ("none", 0),
     ("zero1 not stated", 0), ("zero1, no overlap", 1)],
)  # fmt: skip
def test_spellings_of_sharding(one, said, stage):
    assert one(sharding=said).scenario().strategy.zero == stage


def test_whether_gradients_overlap_is_told_by_the_software(one):
    overlaps = one(software="Megatron-LM; DDP=torch overlap").scenario().strategy
    not_so = one(software="Megatron-LM; DDP=local, no overlap").scenario().strategy
    assert (overlaps.overlap_gradients, not_so.overlap_gradients) == (True, False)


def test_stages_of_unequal_layers(one):
    megatron = {"software": "Megatron-LM"}
    assert one(layers="7", **megatron).scenario().strategy.layers_per_stage == [3, 4]
    assert one(layers="7").scenario().strategy.layers_per_stage == [4, 3], "DeepSpeed's way"
    filled = one(layers="9", pp="8", tp="1").scenario().strategy
    assert filled.layers_per_stage == [2, 1, 1, 1, 1, 1, 1, 1]
    balanced = one(layers="10", pp="4", tp="1").scenario().strategy
    assert balanced.layers_per_stage == [2, 3, 3, 2], "embedding and head are a layer each"
    notes = "First and last stage have one layer less than others"
    light = one(layers="10", pp="4", tp="1", notes=notes).scenario().strategy
    assert light.layers_per_stage == [2, 3, 3, 2]
    chunked = one(
        layers="6", pp="4", tp="1", schedule="1F1B-I", notes=notes, vpp="each layer a chunk"
    )
    assert chunked.scenario().strategy.layers_per_stage == [0, 1, 1, 1, 1, 1, 1, 0]


def test_a_few_devices_of_a_host(one):
    table = one(gpus="2", pp="1", gpus_per_node="2", nodes="1").scenario().cluster
    assert (table.hosts, table.devices) == (None, 2)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"gpu": "P40"}, "there is no device profile for it, only a100-40gb"),
        ({"gpu": ""}, "gpu is empty"),
        ({"model": "ResNet-101"}, "is none that layers, hidden and heads describe"),
        ({"layers": "many"}, "layers = 'many' is not a number above zero"),
        ({"hidden": "1024.5"}, "hidden = '1024.5' is not a whole number"),
        ({"gbs": ""}, "gbs is empty"),
        ({"gbs": "3M->6M tokens"}, "gbs = '3M->6M tokens' is not a number"),
        ({"gpus": "6"}, "does not fit gpus = 6"),
        ({"tp": "", "pp": "", "dp": ""}, "tp, pp and dp are empty"),
        ({"schedule": "whatever"}, "schedule = 'whatever' is none of"),
        ({"recompute": "sometimes"}, "recompute = 'sometimes' is none of"),
        ({"precision": "int4"}, "precision = 'int4' is none of"),
        ({"software": "Alpa"}, "there is no software profile for it"),
        ({"sharding": "cut up"}, "sharding = 'cut up' is not known"),
        ({"gpus_per_node": "4", "nodes": "2"}, "a host of the device graph dgx-a100 has 8"),
    ],
)
def test_why_a_row_cannot_be_simulated(one, cells, reason):
    run = one(**cells)
    scenario = run.scenario()
    assert isinstance(scenario, Unsimulatable)
    assert reason in scenario.reason
    assert run.problem == scenario.reason
    assert run.measured is None
    assert run.given_s == 0.1


def test_a_row_with_too_many_cells_is_a_run_with_a_problem(tmp_path):
    path = write_runs(tmp_path / "runs.csv", {})
    path.write_text(path.read_text() + "a," * 40 + "\n")
    assert read_runs(path)[1].problem == f"line 3 has more cells than the {len(PLAIN)} columns"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gbs": "global_batch"}, "there is no column 'gbs'; a table of runs needs gpu, layers"),
        ({"hidden": "hiden"}, "there is no column 'hidden'; is it the one called 'hiden'?"),
        ({"recompute": "recompte"}, "unknown column 'recompte': did you mean 'recompute'?"),
        ({"mbs": "gbs"}, "the column 'gbs' is there twice"),
        (
            {"iter_time_s": "wall", "other_metric": "remark"},
            "there is no column of measured values",
        ),
    ],
)
def test_missing_and_misspelt_columns(tmp_path, change, sentence):
    names = [change.get(name, name) for name in PLAIN]
    (tmp_path / "runs.csv").write_text(",".join(names) + "\n")
    with pytest.raises(RunsError, match=r"runs\.csv: ") as found:
        read_runs(tmp_path / "runs.csv")
    assert sentence in str(found.value)


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"\xff\xfe\x00", "not UTF-8")])
def test_files_that_are_no_tables(tmp_path, content, said):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(RunsError, match=said):
        read_runs(tmp_path / "runs.csv")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RunsError, match="cannot be read"):
        read_runs(tmp_path / "runs.csv")


def test_columns_are_told_of_once():
    assert {*REQUIRED, *MEASURED} <= set(COLUMNS)


def test_a_run_keeps_its_cells_apart(one):
    run = one()
    other = replace(run, cells=replace(run.cells, texts={**run.cells.texts, "gbs": "16"}))
    assert (run.scenario().training.global_batch, other.scenario().training.global_batch) == (8, 16)
