"""Simulate published runs and print simulated against measured memory of a device.

    python benchmarks/memory_accuracy.py bloom BLOOM.csv
    python benchmarks/memory_accuracy.py zero-bubble ZERO_BUBBLE.csv
    python benchmarks/memory_accuracy.py simumax SIMUMAX.csv

The files have a row a run with the columns model, layers, hidden, heads, kv_heads, ffn, seq, vocab,
experts, tp, pp, dp, cp, schedule, mbs, gbs, precision, recompute, gpus and mem_gib. What was
measured differs:

- bloom (BigScience's chronicles, A100 with Megatron-DeepSpeed): nvidia-smi of the first host, so
  the first stage with what the software itself occupies;
- zero-bubble (Qi et al. 2023, arXiv 2401.10241, Table 4): the fullest device, in GB, as PyTorch
  allocates, without what the software occupies;
- simumax (SimuMax 1.2, B200 with Megatron-LM): the fullest device, as PyTorch allocates.

Rows whose other_metric or notes say OOM ran out of memory: they should be told not to fit, and rows
that ran should be told to fit, whether their memory is known or not.

Memory does not depend on how often a full pipeline goes round, so fewer microbatches are simulated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from flexsim.scenario.batch import run_many
from flexsim.scenario.schema import Scenario

Row = Any
GIB = 2**30
ROUNDS = 2
DEEPSEEK = {
    "deepseekv2": {"expert_ffn": 1536, "shared_experts": 2, "dense_layers": 1},
    "deepseekv3": {"expert_ffn": 2048, "shared_experts": 1, "dense_layers": 1},
}
"""What the table does not say: SimuMax, configs/models/deepseekv2.json and deepseekv3.json; cut to
four layers, both keep one dense layer."""
ZERO_BUBBLE = {"1F1B": "1f1b", "1F1B-I": "interleaved-1f1b", "ZB-1p": "zb-h1", "ZB-2p": "zb-h2"}


def bloom(row: Row) -> dict[str, Any]:
    """Return the tables of one run of BigScience's sweep."""
    layers, stages = int(row.layers), int(row.pp)
    strategy = {"tensor": int(row.tp), "pipeline": stages, "data": int(row.dp), "zero": 1}
    if layers % stages:
        strategy["layers_per_stage"] = shared_out(layers, stages)
    batch = int(row.mbs) * int(row.dp) * min(int(row.gbs) // (row.mbs * row.dp), ROUNDS * stages)
    return {
        "model": model(row, "gpt") | {"heads": divisor(int(row.hidden), int(row.heads))},
        "cluster": {"device_graph": "dgx-a100", "hosts": int(row.gpus) // 8},
        "training": {
            "global_batch": int(batch),
            "micro_batch": int(row.mbs),
            "precision": "bf16" if "bf16" in row.precision else "fp16",
            "recompute": "full",
            "software": "megatron-deepspeed-2022",
        },
        "strategy": {"name": "megatron", **strategy},
    }


def zero_bubble(row: Row) -> dict[str, Any]:
    """Return the tables of one run of the Zero Bubble paper; its end stages have a layer less."""
    schedule, stages = ZERO_BUBBLE[row.schedule], int(row.pp)
    inner = (int(row.layers) + 2) // stages
    strategy: dict[str, Any] = {"pipeline": stages, "data": 1, "schedule": schedule}
    if schedule == "interleaved-1f1b":
        strategy["chunks"] = inner
        ones = [1] * (stages * inner)
        strategy["layers_per_stage"] = [0, *ones[1:-1], 0]
    else:
        strategy["layers_per_stage"] = [inner - 1, *[inner] * (stages - 2), inner - 1]
    return {
        "model": {**model(row, "gpt"), "vocabulary": 32000},
        "cluster": {"device_graph": "dgx-a100", "hosts": int(row.gpus) // 8},
        "training": {
            "global_batch": int(row.mbs) * min(int(row.gbs) // int(row.mbs), 3 * stages),
            "micro_batch": int(row.mbs),
            "recompute": "none",
        },
        "strategy": {"name": "megatron", "gradient_norm": "ZB" not in row.schedule, **strategy},
    }


def simumax(row: Row) -> dict[str, Any]:
    """Return the tables of one run of SimuMax's."""
    strategy: dict[str, Any] = {
        "tensor": int(row.tp),
        "pipeline": int(row.pp),
        "data": int(row.dp),
        "context": int(row.cp),
        "expert": int(row.ep),
    }
    if row.cp > 1:
        strategy["context_method"] = "ulysses"
    family = next((known for known in DEEPSEEK if known in row.model), "llama")
    return {
        "model": model(row, family),
        "cluster": {"device_graph": "dgx-b200", "hosts": 1},
        "training": {
            "global_batch": int(row.gbs),
            "micro_batch": int(row.mbs),
            "precision": "bf16",
            "recompute": "none",
        },
        "strategy": {
            "name": "megatron",
            "zero": 1,
            "sequence_parallel": row.tp > 1,
            **strategy,
        },
    }


def model(row: Row, family: str) -> dict[str, Any]:
    """Return the model's table."""
    table = {"layers": row.layers, "hidden": row.hidden, "heads": row.heads, "sequence": row.seq}
    more = {"vocabulary": row.vocab}
    if family != "gpt":
        more |= {"ffn": row.ffn}
    if family == "llama":
        more |= {"kv_heads": row.kv_heads}
    if family in DEEPSEEK:
        more |= {"experts": row.experts, "chosen_experts": row.topk} | DEEPSEEK[family]
    known = table | more
    name = "deepseek" if family in DEEPSEEK else family
    return {"name": name, **{key: int(n) for key, n in known.items() if pd.notna(n)}}


def divisor(hidden: int, heads: int) -> int:
    """Return the largest power of two up to ``heads`` where heads do not divide ``hidden``."""
    return heads if hidden % heads == 0 else 1 << (heads.bit_length() - 1)


def shared_out(layers: int, stages: int) -> list[int]:
    """Return layers by stage, the later ones with one more where they do not divide."""
    least, more = divmod(layers, stages)
    return [least + (stage >= stages - more) for stage in range(stages)]


KINDS: Mapping[str, tuple[Callable[[Row], dict[str, Any]], float, bool, bool]] = {
    "bloom": (bloom, GIB, True, True),
    "zero-bubble": (zero_bubble, 1e9, False, False),
    "simumax": (simumax, GIB, False, False),
}
"""How tables are made, the unit that was measured in, whether of the first stage only, and whether
with what the software occupies."""


def main(kind: str, path: str) -> None:
    """Print a line a run and the mean error."""
    make, unit, first_stage, with_overhead = KINDS[kind]
    runs = [row for _, row in pd.read_csv(path).iterrows()]
    outcomes = run_many(Scenario.from_dict(make(row), row.row_id) for row in runs)
    lines, verdicts = [], []
    for row, outcome in zip(runs, outcomes, strict=True):
        if outcome.error:
            print(outcome.error)
            continue
        verdicts.append((ran_out(row), not outcome.metrics["fits_memory"], row.row_id))
        if not row.mem_gib > 0:
            continue
        stages = outcome.metrics["peak_memory_bytes_per_stage"]
        stage = stages[0] if first_stage else max(stages, key=lambda each: each["total"])
        held = stage["total"] - (0 if with_overhead else stage["overhead"])
        parts = {name: round(stage[name] / unit, 1) for name in stage if name not in NOT_PARTS}
        shape = [row[name] for name in ("model", "tp", "pp", "dp", "mbs", "precision", "schedule")]
        simulated = held / unit
        error = simulated / row.mem_gib - 1
        lines.append([*shape, row.mem_gib, round(simulated, 2), error, parts])
    table = pd.DataFrame(lines, columns=[*COLUMNS])
    with pd.option_context("display.width", 250, "display.max_colwidth", 200):
        print(table.drop(columns="parts").to_string(index=False))
        print("\n".join(map(str, table.parts)))
    mean, absolute = table.error.mean(), table.error.abs().mean()
    print(f"{len(table)} runs: mean {mean:+.1%}, mean absolute {absolute:.1%}")
    print_verdicts(verdicts)


def ran_out(row: Row) -> bool:
    """Whether a run is reported to have run out of memory."""
    return any("OOM" in str(text).split() for text in (row.other_metric, row.notes))


def print_verdicts(verdicts: list[tuple[bool, bool, str]]) -> None:
    """Print how many runs are told not to fit, of those that did not and of those that did."""
    for has_failed, words in ((True, "ran out of memory"), (False, "ran")):
        here = [(flagged, name) for failed, flagged, name in verdicts if failed == has_failed]
        wrong = [name for flagged, name in here if flagged != has_failed]
        flagged = sum(flag for flag, _ in here)
        print(
            f"{len(here)} {words}: {flagged} told not to fit; wrong: {', '.join(wrong) or 'none'}"
        )


COLUMNS = (
    *("model", "tp", "pp", "dp", "mbs", "precision", "schedule"),
    *("measured", "simulated", "error", "parts"),
)
NOT_PARTS = ("stage", "device", "total")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
