"""The columns of a table of measured runs, and which of them must be there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from flexsim.errors import FlexSimError


class RunsError(FlexSimError):
    """A table of measured runs cannot be read."""


COLUMNS = {
    "row_id": "name of the run; the number of the line unless given",
    "source": "who measured it; runs of one source are one family",
    "source_ref": "where that can be read",
    "provenance": "not read",
    "hardware": "the cluster in words; chooses among device graphs of one device type",
    "gpu": "type of the devices: A100, A100-SXM-80GB, V100-SXM3-32GB, H100, B200, TPU v4 …",
    "gpu_mem_gb": "memory of a device where its type has several, in GB",
    "nodes": "hosts",
    "gpus_per_node": "devices of a host",
    "gpus": "devices in all; nodes x gpus_per_node, or the product of the degrees, unless given",
    "interconnect": "the network in words; chooses among device graphs of one device type",
    "model": "name of the model; a known one chooses its family (GPT unless it is known)",
    "params_b": "not read",
    "layers": "layers of the model",
    "hidden": "hidden size",
    "heads": "attention heads",
    "kv_heads": "key and value heads; heads unless given",
    "ffn": "feed-forward size; 4 x hidden unless given",
    "seq": "tokens of a sequence",
    "vocab": "words; 51,200 unless given; rounded up to a multiple of 128 x tp",
    "experts": "experts of a mixture layer",
    "topk": "experts that a token goes to",
    "tp": "tensor parallelism; 1 unless given",
    "pp": "pipeline parallelism; 1 unless given",
    "vpp": "chunks (virtual stages) of a device; 1 unless given",
    "dp": "data parallelism; gpus / (tp x pp x cp) unless given",
    "cp": "context parallelism; 1 unless given",
    "ep": "expert parallelism; 1 unless given",
    "sp": "sequence parallelism: yes or no; no unless given",
    "sharding": "zero1, zero2, zero3, distributed optimizer, FSDP; none unless given",
    "schedule": "order of a pipeline: 1f1b, interleaved-1f1b, gpipe, ZB-1p …; 1f1b unless given",
    "mbs": "sequences of a microbatch; 1, or without a pipeline the whole batch, unless given",
    "gbs": "sequences of an iteration",
    "precision": "fp16, bf16, fp8 or fp32",
    "recompute": "none, selective or full",
    "software": "the training software, chooses the software profile",
    "iter_time_s": "measured: seconds of an iteration",
    "tokens_per_s_per_gpu": "measured: tokens a second and device",
    "samples_per_s": "measured: sequences a second",
    "tflops_per_gpu": "measured: TFLOP/s of a device",
    "mfu_pct": "measured: utilization in per cent, FLOPs of the model",
    "hfu_pct": "measured: utilization in per cent, recomputed FLOPs counted",
    "mem_gib": "measured: memory of a device",
    "other_metric": "further facts, as key=value; key=value",
    "simulatable": "remarks of the table's author",
    "notes": "remarks of the table's author; some tell what was measured",
}
"""Name to meaning, as docs/validation.md prints it."""

REQUIRED = ("gpu", "layers", "hidden", "heads", "seq", "tp", "pp", "gbs")
MEASURED = (
    *("iter_time_s", "tokens_per_s_per_gpu", "samples_per_s"),
    *("tflops_per_gpu", "mfu_pct", "hfu_pct", "mem_gib", "other_metric"),
)
_CLOSE = 0.8


def check_header(source: str, header: Sequence[str]) -> None:
    """Raise :class:`RunsError` where a column is missing, misspelt or there twice."""
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise RunsError(f"{source}: the column {twice[0]!r} is there twice")
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name and name not in COLUMNS]
    if missing:
        raise RunsError(f"{source}: there is no column {missing[0]!r}{_hint(missing[0], unknown)}")
    _check_spelling(source, header, unknown)
    if not set(MEASURED) & set(header):
        raise RunsError(
            f"{source}: there is no column of measured values: give one of {', '.join(MEASURED)}"
        )


def _check_spelling(source: str, header: Collection[str], unknown: Sequence[str]) -> None:
    absent = [name for name in COLUMNS if name not in header]
    for name in unknown:
        close = difflib.get_close_matches(name, absent, n=1, cutoff=_CLOSE)
        if close:
            raise RunsError(f"{source}: unknown column {name!r}: did you mean {close[0]!r}?")


def _hint(missing: str, unknown: Sequence[str]) -> str:
    """Return what a missing column may have been called, or else what a table needs."""
    close = difflib.get_close_matches(missing, unknown, n=1, cutoff=0.5)
    if close:
        return f"; is it the one called {close[0]!r}? call it {missing!r}"
    return f"; a table of runs needs {', '.join(REQUIRED)} and what was measured"
