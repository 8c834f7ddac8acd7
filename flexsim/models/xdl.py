"""XDL: advertising's sparse model (Jiang et al. 2019, DLP-KDD), as in Unity's benchmarks.

Shapes of FlexFlow's example, ``examples/cpp/XDL/xdl.cc``: four tables of a million rows, 64
wide, joined, then layers of 256, 256 and 2 without biases.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.dense import join, tower
from flexsim.models.dlrm import look_ups
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import mean_loss

TOP = (256, 256, 2)


def xdl(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Sparse advertising model: embedding tables, joined, through three dense layers."""
    builder = GraphBuilder(config.name, precision)
    joined = join(builder, "interaction", look_ups(builder, config, sequences))
    y = tower(builder, "top", joined, TOP)
    mean_loss(builder, "loss", y, {"b": sequences, "f": TOP[-1]})
    return builder.build(sequences, 1)
