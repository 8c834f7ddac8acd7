"""Graphs that several tests look at, built once."""

from __future__ import annotations

from functools import cache

from flexsim.models import PRESETS, build_model, model_config
from flexsim.operator_graph import OperatorGraph

GPT_PRESETS = sorted(name for name, config in PRESETS.items() if config.family == "gpt")
TRANSFORMERS = ("gpt", "bert", "llama", "palm", "gopher")
NETWORKS: dict[str, dict[str, object]] = {
    "mlp": {"layers": 3, "hidden": 8, "ffn": 12},
    "rnntc": {"layers": 3, "hidden": 6, "sequence": 4, "vocabulary": 10},
    "rnnlm": {"layers": 3, "hidden": 6, "sequence": 4, "vocabulary": 10},
    "nmt": {"layers": 2, "hidden": 6, "sequence": 4, "vocabulary": 10},
    "dlrm": {"hidden": 4, "tables": 3, "vocabulary": 10},
    "xdl": {"hidden": 4, "tables": 2, "vocabulary": 10},
    "candle-uno": {"hidden": 5},
    "lenet": {},
    "alexnet": {"classes": 7},
    "vgg": {"layers": 11, "image": 32, "classes": 7},
    "resnet": {"layers": 50, "image": 32, "classes": 7},
    "resnext": {"layers": 50, "image": 32, "classes": 7},
    "inception": {"image": 107, "classes": 7},
    "unet": {"image": 188, "hidden": 4},
    "vit": {"layers": 3, "hidden": 16, "heads": 4, "image": 32, "classes": 7},
}
"""Small shapes of the families that are not language transformers."""
SMALL: dict[str, object] = {"layers": 3, "hidden": 16, "heads": 4, "sequence": 6, "vocabulary": 10}


@cache
def preset_graph(name: str) -> OperatorGraph:
    """Return the graph of a preset for one sequence."""
    return build_model(PRESETS[name], 1)


def small_graph(family: str, sequences: int = 2, **overrides: object) -> OperatorGraph:
    """Return a small graph of a family."""
    fields = NETWORKS.get(family, SMALL)
    return build_model(model_config(family, None, **(fields | overrides)), sequences)
