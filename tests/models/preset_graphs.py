"""Graphs that several tests look at, built once."""

from __future__ import annotations

from functools import cache

from flexsim.models import PRESETS, build_model, model_config
from flexsim.operator_graph import OperatorGraph

GPT_PRESETS = sorted(name for name, config in PRESETS.items() if config.family == "gpt")
TRANSFORMERS = ("gpt", "bert", "llama", "palm", "gopher")
SMALL = {"layers": 3, "hidden": 16, "heads": 4, "sequence": 6, "vocabulary": 10}


@cache
def preset_graph(name: str) -> OperatorGraph:
    """Return the graph of a preset for one sequence."""
    return build_model(PRESETS[name], 1)


def small_graph(family: str, sequences: int = 2, **overrides: object) -> OperatorGraph:
    """Return a small graph of a family."""
    if family == "mlp":
        fields: dict[str, object] = {"layers": 3, "hidden": 8, "ffn": 12}
    else:
        fields = dict(SMALL)
    return build_model(model_config(family, None, **(fields | overrides)), sequences)
