"""The families of models: one function each, and what a family assumes unless told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flexsim.models.alexnet import alexnet
from flexsim.models.candle_uno import candle_uno
from flexsim.models.config import ModelConfig
from flexsim.models.deepseek import deepseek
from flexsim.models.dlrm import dlrm
from flexsim.models.gopher import gopher
from flexsim.models.gpt import bert, gpt
from flexsim.models.inception import inception
from flexsim.models.lenet import lenet
from flexsim.models.llama import llama
from flexsim.models.mlp import mlp
from flexsim.models.moe import gpt_moe, mixtral
from flexsim.models.nmt import nmt
from flexsim.models.palm import palm
from flexsim.models.resnet import resnet, resnext
from flexsim.models.rnnlm import rnnlm
from flexsim.models.rnntc import rnntc
from flexsim.models.unet import unet
from flexsim.models.vgg import vgg
from flexsim.models.vit import vit
from flexsim.models.xdl import xdl
from flexsim.operator_graph import OperatorGraph

Family = Callable[[ModelConfig, int, str], OperatorGraph]

FAMILIES: Mapping[str, Family] = {
    "gpt": gpt,
    "bert": bert,
    "llama": llama,
    "palm": palm,
    "gopher": gopher,
    "mixtral": mixtral,
    "deepseek": deepseek,
    "gpt-moe": gpt_moe,
    "mlp": mlp,
    "rnntc": rnntc,
    "rnnlm": rnnlm,
    "nmt": nmt,
    "dlrm": dlrm,
    "xdl": xdl,
    "candle-uno": candle_uno,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg": vgg,
    "resnet": resnet,
    "resnext": resnext,
    "inception": inception,
    "unet": unet,
    "vit": vit,
}

LOOKS_BOTH_WAYS = frozenset({"bert", "vit"})
"""Families whose attention reads positions behind a position too."""

_IMAGENET = {"image": 224, "classes": 1000}

FAMILY_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "gpt": {},
    "bert": {},
    "llama": {"attention": "flash", "tied_embedding": False},
    "palm": {"kv_heads": 1},
    "gopher": {},
    "mixtral": {
        "attention": "flash",
        "tied_embedding": False,
        "experts": 8,
        "chosen_experts": 2,
    },
    "deepseek": {
        "attention": "flash",
        "tied_embedding": False,
        "experts": 256,
        "chosen_experts": 8,
        "shared_experts": 1,
        "query_rank": 1536,
        "key_rank": 512,
        "rotary_size": 64,
        "head_size": 128,
    },
    "gpt-moe": {"experts": 128},
    "mlp": {},
    "rnntc": {"sequence": 40, "classes": 2},
    "rnnlm": {"sequence": 40},
    "nmt": {"sequence": 40},
    "dlrm": {"hidden": 64, "tables": 8, "vocabulary": 1_000_000},
    "xdl": {"hidden": 64, "tables": 4, "vocabulary": 1_000_000},
    "candle-uno": {"hidden": 4192},
    "lenet": {"image": 32, "classes": 10},
    "alexnet": _IMAGENET,
    "vgg": _IMAGENET,
    "resnet": _IMAGENET,
    "resnext": _IMAGENET,
    "inception": _IMAGENET | {"image": 299},
    "unet": {"image": 572, "classes": 2, "hidden": 64},
    "vit": _IMAGENET | {"patch": 16},
}
"""What a family assumes unless told."""

_TRANSFORMER = (
    *("layers", "hidden", "heads", "sequence", "vocabulary", "kv_heads", "head_size", "ffn"),
    *("attention", "tied_embedding", "embedding_and_head"),
)
_EXPERTS = (
    *("experts", "chosen_experts", "expert_ffn"),
    *("capacity_factor", "load_imbalance", "seed"),
)
_LATENT = ("shared_experts", "dense_layers", "query_rank", "key_rank", "rotary_size", "value_size")
_RECURRENT = ("layers", "hidden", "sequence", "vocabulary")
_IMAGES = ("image", "classes")
_RECOMMENDER = ("hidden", "tables", "vocabulary")

FAMILY_KEYS: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("gpt", "bert", "llama", "palm", "gopher"), _TRANSFORMER
) | {
    "mixtral": (*_TRANSFORMER, *_EXPERTS),
    "gpt-moe": (*_TRANSFORMER, *_EXPERTS),
    "deepseek": tuple(
        key for key in (*_TRANSFORMER, *_EXPERTS, *_LATENT) if key not in ("kv_heads", "attention")
    ),
    "mlp": ("layers", "hidden", "ffn"),
    "rnntc": (*_RECURRENT, "classes"),
    "rnnlm": _RECURRENT,
    "nmt": _RECURRENT,
    "dlrm": _RECOMMENDER,
    "xdl": _RECOMMENDER,
    "candle-uno": ("hidden",),
    "lenet": _IMAGES,
    "alexnet": _IMAGES,
    "vgg": ("layers", *_IMAGES),
    "resnet": ("layers", *_IMAGES),
    "resnext": ("layers", *_IMAGES),
    "inception": _IMAGES,
    "unet": ("hidden", *_IMAGES),
    "vit": ("layers", "hidden", "heads", "head_size", "ffn", "attention", "patch", *_IMAGES),
}
"""The keys of a scenario's ``[model]`` that have a meaning for a family."""

NEEDED_KEYS: Mapping[str, tuple[str, ...]] = {
    family: tuple(
        key
        for key in ("layers", "hidden", "heads", "sequence", "vocabulary")
        if key in keys and key not in FAMILY_DEFAULTS[family]
    )
    for family, keys in FAMILY_KEYS.items()
}
"""The keys that a family cannot do without."""
