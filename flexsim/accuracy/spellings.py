"""What people call things in tables of runs, and what they are called here: one line each.

Patterns are regular expressions, looked for in lower case from the first line to the last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """A device type, its cluster, and the words of hardware and interconnect that tell it."""

    device: str
    """A pattern of the type's spellings, blanks and hyphens left out."""
    device_graph: str
    network: str = ""
    """A pattern in hardware or interconnect; "" for any."""


CLUSTERS = (
    Cluster("gb200", "gb200-nvl72"),
    Cluster("b200", "dgx-b200"),
    Cluster("h800", "hgx-h800"),
    Cluster("h200", "dgx-h200"),
    Cluster("h100", "hgx-h100-roce", r"roce"),
    Cluster("h100", "dgx-h100"),
    Cluster("a100.*40g", "dgx-a100-40gb"),
    Cluster("a100", "hgx-a100-4xopa", r"omni-?path|\bopa\b"),
    Cluster("a100", "hgx-a100-4xhdr", r"800 ?gb(ps|/s|it)"),
    Cluster("a100", "dgx-a100"),
    Cluster("v100", "dgx2h-v100", r"dgx-?2h"),
    Cluster("v100.*sxm3|v100.*32g", "dgx2-v100"),
    Cluster("v100", "dgx1-v100"),
    Cluster("p100", "p100-4x4"),
    Cluster("k80", "k80-16x4"),
    Cluster("2080ti", "pcie-8x2080ti"),
    Cluster("tpuv3(?!core)", "four-tpu-v3-pods", r"4 .*pods"),
    Cluster("tpuv3(?!core)", "tpu-v3-pod"),
    Cluster("tpuv4", "two-tpu-v4-pods", r"\b2x? .*pods"),
    Cluster("tpuv4", "tpu-v4-pod"),
    Cluster("tpuv5p", "tpu-v5p"),
)

SCHEDULES = (
    ("", ""),
    (r"zb-?(v|v-.*)$", "zb-v"),
    (r"v-?half", "v-half"),
    (r"v-?min", "v-min"),
    (r"zb-?(h1|1p)", "zb-h1"),
    (r"zb-?(h2|2p)", "zb-h2"),
    (r"interleaved.*(zero.?bubble|zb)", "interleaved-zero-bubble"),
    (r"interleav|1f1b-?i\b|virtual", "interleaved-1f1b"),
    (r"dual.?pipe-?v", "dualpipe-v"),
    (r"dual.?pipe", "dualpipe"),
    (r"2bw", "pipedream-2bw"),
    (r"pipedream-?flush|1f1b|dapple", "1f1b"),
    (r"pipedream", "pipedream"),
    (r"chimera", "chimera"),
    (r"terapipe", "terapipe"),
    (r"looped|breadth|bfs", "looped-bfs"),
    (r"gpipe|fill.?drain", "gpipe"),
    (r"none|no pipeline|n/a", ""),
)

RECOMPUTE = (
    (r"selective|attention core|attn", "selective"),
    (r"^(none|no|not|off|false|without|sp)\b|^$", "none"),
    (r"full|uniform|every layer|remat|checkpoint|yes|true", "full"),
)

PRECISIONS = (
    (r"fp8|e4m3|float8", "fp8"),
    (r"bf16|bfloat", "bf16"),
    (r"fp16|half|16-bit|float16|amp", "fp16"),
    (r"fp32|tf32|float32|single", "fp32"),
)

ZERO = (
    (r"zero-?_?3|fully sharded|fsdp|hsdp", 3),
    (r"zero-?_?2", 2),
    (r"not stated|^(none|no|off|false)\b|^$", 0),
    (r"zero-?_?1|distributed.?opt", 1),
)


@dataclass(frozen=True)
class Software:
    """A training software by a pattern, its profile, and how its users count FLOPs."""

    pattern: str
    profile: str
    counts_recomputed: bool
    """Whether its TFLOP/s hold the FLOPs of a whole forward that is done again."""


SOFTWARE = (
    Software(r"megatron-?lm fork|zero.?bubble", "megatron-lm-zero-bubble", True),
    Software(r"bigscience|deepspeed.*(2021|2022)|mt-?nlg|bloom", "megatron-deepspeed-2022", True),
    Software(r"deepspeed.*zero-?3|zero-?3.*deepspeed", "deepspeed-zero3-2021", True),
    Software(r"deepspeed|vtrain", "megatron-deepspeed", True),
    Software(r"torchtitan|core|mcore|megatron-?lm (v?0\.\d)", "megatron-core", False),
    Software(r"megatron.*(\bv0\b|2019)", "megatron-lm-2019", True),
    Software(r"megatron|ptd-?p", "megatron-lm", True),
    Software(r"xla|gspmd|pax|t5x|pathways|jax|lingvo", "xla-spmd", False),
    Software(r"flexflow|legion", "flexflow", False),
)
SOFTWARE_OF_DEVICES = (
    Software("v100", "megatron-lm-2019", True),
    Software("tpu", "xla-spmd", False),
    Software("", "megatron-lm", True),
)
"""Where a row does not tell its software."""

FAMILIES = (
    (r"deepseek-?_?v?2", "deepseek-v2"),
    (r"deepseek", "deepseek-v3"),
    (r"mixtral", "mixtral"),
    (r"llama|mistral|qwen|yi-", "llama"),
    (r"palm", "palm"),
    (r"gopher|chinchilla", "gopher"),
    (r"bert", "bert"),
    (r"amoebanet|resnet|u-?net|vgg|inception|vit|nmt|rnn|dlrm|t5", ""),
    (r".*", "gpt"),
)
"""Names of models to families; "" for those that a table of transformers cannot describe."""

SOURCES = (
    (r"1909\.08053", "Shoeybi et al. 2019, Figure 5 and abstract"),
    (r"2104\.04473", "Narayanan et al. 2021, Table 1"),
    (r"2205\.05198, table 4", "Korthikanti et al. 2022, Table 4 (one layer)"),
    (r"2205\.05198", "Korthikanti et al. 2022, Table 5"),
    (r"2201\.11990", "Smith et al. 2022, section 2.4 (MT-NLG)"),
    (r"2204\.02311, section 4\.1", "Chowdhery et al. 2022, Table 3 (PaLM)"),
    (r"2204\.02311", "Rae et al. 2021 (Gopher)"),
    (r"2407\.21783", "Grattafiori et al. 2024, Table 4 (Llama 3)"),
    (r"2412\.19437", "DeepSeek-AI 2024 (DeepSeek-V3)"),
    (r"megatron/core/transformer/moe", "Megatron-Core's figures for Mixtral 8x7B"),
)
"""Sources of published numbers to the names of their families."""

OUT_OF_MEMORY = r"\boom(ed|s)?\b|out[ -]?of[ -]?(gpu )?memory|do(es)?( not|n.t) fit"
HARDWARE_FLOPS = r"hardware flops|(counts?|incl\w*\.?|with) recomput|\beq\.? ?3"
MODEL_FLOPS = r"model (t?flops?|flop)"
IN_GB = r"memory in gb\b"
FIRST_HOST = r"first (node|host|stage)"
ALL_DEVICES = r"total over (the )?devices"
WITH_SOFTWARE = r"nvidia-smi|reserved by the driver"
"""Words of notes and other_metric that tell what was measured."""


def spelled(text: str, table: Sequence[tuple[str, str]]) -> str | None:
    """Return what ``text`` is called here, None where no line of the table knows it."""
    plain = text.strip().lower()
    return next((name for pattern, name in table if _matches(pattern, plain)), None)


def _matches(pattern: str, text: str) -> bool:
    return text == "" if pattern == "" else re.search(pattern, text) is not None
