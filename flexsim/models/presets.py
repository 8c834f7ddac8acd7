"""Published models by name: their shapes, parameter counts and where both stand.

Counts are as printed: "1.7 billion" is 1.65 rounded. The vocabularies of the Megatron family
are padded to a multiple of 1,024 or 128, as Megatron-LM does for tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexsim.models.config import ModelConfig
from flexsim.models.families import FAMILY_DEFAULTS
from flexsim.models.networks import NETWORKS

PADDED_GPT2_VOCABULARY = 51200

Fields = dict[str, Any]


def _gpt(shape: tuple[int, int, int], billions: float, source: str, **other: int) -> Fields:
    """Return the fields of a GPT with ``shape`` (layers, hidden, heads)."""
    layers, hidden, heads = shape
    sizes = {"sequence": 2048, "vocabulary": PADDED_GPT2_VOCABULARY} | other
    fields = {"family": "gpt", "layers": layers, "hidden": hidden, "heads": heads}
    return fields | sizes | _published(billions, source)


def _llama(shape: tuple[int, int, int], ffn: int, billions: float) -> Fields:
    layers, hidden, heads = shape
    return {
        "family": "llama",
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": 8,
        "ffn": ffn,
        "sequence": 8192,
        "vocabulary": 128256,
    } | _published(billions, "Grattafiori et al. 2024 (arXiv 2407.21783), Table 3; model cards")


def _published(billions: float, source: str) -> Fields:
    return {"published_parameters": billions * 1e9, "source": source}


_SHOEYBI = "Shoeybi et al. 2019 (arXiv 1909.08053), Table 1"
_SC21 = "Narayanan et al. 2021 (arXiv 2104.04473), Table 1"
_KORTHIKANTI = "Korthikanti et al. 2022 (arXiv 2205.05198), Table 3"
_BROWN = "Brown et al. 2020 (arXiv 2005.14165), Table 2.1"

_MEGATRON: dict[str, Fields] = {
    "megatron-1.2b": _gpt((40, 1536, 16), 1.2, _SHOEYBI, sequence=1024),
    "megatron-2.5b": _gpt((54, 1920, 20), 2.5, _SHOEYBI, sequence=1024),
    "megatron-4.2b": _gpt((64, 2304, 24), 4.2, _SHOEYBI, sequence=1024),
    "megatron-8.3b": _gpt((72, 3072, 32), 8.3, _SHOEYBI, sequence=1024),
    "gpt-1.7b": _gpt((24, 2304, 24), 1.7, _SC21),
    "gpt-3.6b": _gpt((30, 3072, 32), 3.6, _SC21),
    "gpt-7.5b": _gpt((36, 4096, 32), 7.5, _SC21),
    "gpt-18b": _gpt((40, 6144, 48), 18.4, _SC21),
    "gpt-39b": _gpt((48, 8192, 64), 39.1, _SC21),
    "gpt-76b": _gpt((60, 10240, 80), 76.1, _SC21),
    "gpt-145b": _gpt((80, 12288, 96), 145.6, _SC21),
    "gpt-310b": _gpt((96, 16384, 128), 310.1, _SC21),
    "gpt-530b": _gpt((105, 20480, 128), 529.6, _SC21),
    "gpt-1t": _gpt((128, 25600, 160), 1008.0, _SC21),
    "gpt-22b": _gpt((48, 6144, 64), 22, _KORTHIKANTI),
    "gpt3-2.7b": _gpt((32, 2560, 32), 2.7, _BROWN),
    "gpt3-175b": _gpt((96, 12288, 96), 175, _BROWN),
    "mt-nlg-530b": _gpt(
        (105, 20480, 128), 530, "Smith et al. 2022 (arXiv 2201.11990), section 3", vocabulary=50272
    ),
}

_OTHERS: dict[str, Fields] = {
    "bert-large": {
        "family": "bert",
        "layers": 24,
        "hidden": 1024,
        "heads": 16,
        "sequence": 512,
        "vocabulary": 30592,
    }
    | _published(0.336, "Devlin et al. 2018; count: Shoeybi et al. 2019, Table 4"),
    "gopher-280b": {
        "family": "gopher",
        "layers": 80,
        "hidden": 16384,
        "heads": 128,
        "sequence": 2048,
        "vocabulary": 32000,
    }
    | _published(280, "Rae et al. 2021 (arXiv 2112.11446), Table 1"),
    "palm-540b": {
        "family": "palm",
        "layers": 118,
        "hidden": 18432,
        "heads": 48,
        "head_size": 256,
        "sequence": 2048,
        "vocabulary": 256000,
    }
    | _published(540.35, "Chowdhery et al. 2022 (arXiv 2204.02311), Table 1"),
    "llama3-8b": _llama((32, 4096, 32), 14336, 8.03),
    "llama3-70b": _llama((80, 8192, 64), 28672, 70.55),
    "llama3-405b": _llama((126, 16384, 128), 53248, 405.85),
}

_RAJBHANDARI = "Rajbhandari et al. 2022 (DeepSpeed-MoE, arXiv 2201.05596), Table 1"


def _gpt_moe(shape: tuple[int, int, int], billions: float) -> Fields:
    """Return a GPT of that paper: 128 experts on every other layer, one a token."""
    return _gpt(shape, billions, _RAJBHANDARI, experts=128) | {"family": "gpt-moe"}


_MIXTURES: dict[str, Fields] = {
    "mixtral-8x7b": {
        "family": "mixtral",
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 8,
        "ffn": 14336,
        "sequence": 32768,
        "vocabulary": 32000,
    }
    | _published(
        46.7, "Jiang et al. 2024 (arXiv 2401.04088), Table 1; count: mistral.ai, December 2023"
    ),
    "deepseek-v3": {
        "family": "deepseek",
        "layers": 61,
        "hidden": 7168,
        "heads": 128,
        "ffn": 18432,
        "expert_ffn": 2048,
        "dense_layers": 3,
        "sequence": 4096,
        "vocabulary": 129280,
    }
    | _published(671, "DeepSeek-AI 2024 (arXiv 2412.19437), section 4.2"),
    "gpt-moe-13b": _gpt_moe((24, 1024, 16), 13),
    "gpt-moe-52b": _gpt_moe((24, 2048, 16), 52),
}

PRESET_FIELDS: Mapping[str, Fields] = {
    name: FAMILY_DEFAULTS[fields["family"]] | fields | {"name": name}
    for name, fields in {**_MEGATRON, **_OTHERS, **_MIXTURES, **NETWORKS}.items()
}
"""What each preset says, before defaults that depend on it (ffn = 4 x hidden) are filled in."""

PRESETS: Mapping[str, ModelConfig] = {
    name: ModelConfig(**fields) for name, fields in PRESET_FIELDS.items()
}
