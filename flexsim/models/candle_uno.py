"""CANDLE-Uno: drug response from cell lines and drugs (ECP-CANDLE's Pilot 1 Uno benchmark).

Shapes of FlexFlow's example, ``examples/cpp/candle_uno/candle_uno.cc``: each of five feature sets
through eight layers of 4192, joined with two doses, through four more; no biases.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.dense import join, tower
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import mean_loss

DOSES = ("dose1", "dose2")
FEATURES = {
    "cell_rnaseq": 942,
    "drug1_descriptors": 5270,
    "drug1_fingerprints": 2048,
    "drug2_descriptors": 5270,
    "drug2_fingerprints": 2048,
}
FEATURE_LAYERS = 8
JOINT_LAYERS = 4


def candle_uno(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Drug response: a tower of dense layers for every feature set, joined into another."""
    builder = GraphBuilder(config.name, precision)
    width = builder.bytes_per_element
    doses = [builder.input(name, (sequences, 1), width) for name in DOSES]
    encoded = []
    for name, size in FEATURES.items():
        x = builder.input(name, (sequences, size), width)
        widths = (config.hidden,) * FEATURE_LAYERS
        encoded.append(tower(builder, f"{name}_layer", x, widths, is_data=True))
    joined = join(builder, "features", [*doses, *encoded], data=doses)
    y = tower(builder, "joint", joined, (*(config.hidden,) * JOINT_LAYERS, 1))
    mean_loss(builder, "loss", y, {"b": sequences, "f": 1})
    return builder.build(sequences, 1)
