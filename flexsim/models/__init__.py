"""Models: functions that return an operator graph, and the published shapes by name."""

from __future__ import annotations

from flexsim.errors import ModelError, choices_text
from flexsim.models.config import ModelConfig
from flexsim.models.families import FAMILIES
from flexsim.models.presets import PRESETS
from flexsim.models.selection import family_keys, model_config
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.builder import check_positive

__all__ = [
    "FAMILIES",
    "PRESETS",
    "ModelConfig",
    "build_model",
    "family_keys",
    "model_config",
]


def build_model(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Return the operator graph of one microbatch of all replicas.

    ``sequences`` is the data-parallel degree x the micro-batch; ``precision`` is that of
    activations and weights: fp16, bf16 or fp32.
    """
    if config.family not in FAMILIES:
        known = choices_text(config.family, FAMILIES)
        raise ModelError(f"{config.name}: model family {config.family!r} is unknown: {known}")
    check_positive(config.name, [("sequences", sequences)])
    return FAMILIES[config.family](config, sequences, precision)
