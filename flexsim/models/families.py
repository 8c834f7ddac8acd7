"""The families of models: one function each, and what a family assumes unless told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flexsim.models.config import ModelConfig
from flexsim.models.gopher import gopher
from flexsim.models.gpt import bert, gpt
from flexsim.models.llama import llama
from flexsim.models.mlp import mlp
from flexsim.models.palm import palm
from flexsim.operator_graph import OperatorGraph

Family = Callable[[ModelConfig, int, str], OperatorGraph]

FAMILIES: Mapping[str, Family] = {
    "gpt": gpt,
    "bert": bert,
    "llama": llama,
    "palm": palm,
    "gopher": gopher,
    "mlp": mlp,
}

FAMILY_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "gpt": {},
    "bert": {},
    "llama": {"attention": "flash", "tied_embedding": False},
    "palm": {"kv_heads": 1},
    "gopher": {},
    "mlp": {},
}
