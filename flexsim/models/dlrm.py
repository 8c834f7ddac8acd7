"""DLRM: the deep learning recommendation model of Naumov et al. 2019 (arXiv 1906.00091).

Shapes of FlexFlow's example, ``examples/cpp/DLRM/run_summit.sh``: tables of a million rows, 64
wide; 64 dense features through 64-512-512-64; all features joined, through 1024-1024-1024-1.
"""

from __future__ import annotations

from flexsim.models.config import ModelConfig
from flexsim.models.dense import join, tower
from flexsim.operator_graph import GraphBuilder, OperatorGraph
from flexsim.operator_graph.kinds import embedding_bag, mean_loss

INDEX_BYTES = 8
DENSE_FEATURES = 64
BOTTOM = (512, 512)
TOP = (1024, 1024, 1024, 1)


def dlrm(config: ModelConfig, sequences: int, precision: str = "fp16") -> OperatorGraph:
    """Recommendation by embedding tables and dense features, joined by concatenation.

    A sample looks up one row of each table; the last activation stands for the sigmoid.
    """
    builder = GraphBuilder(config.name, precision)
    data = (sequences, DENSE_FEATURES)
    dense = builder.input("dense_features", data, builder.bytes_per_element)
    bottom = tower(builder, "bottom", dense, (*BOTTOM, config.hidden), is_data=True)
    joined = join(builder, "interaction", [bottom, *look_ups(builder, config, sequences)])
    y = tower(builder, "top", joined, TOP)
    mean_loss(builder, "loss", y, {"b": sequences, "f": 1})
    return builder.build(sequences, 1)


def look_ups(builder: GraphBuilder, config: ModelConfig, samples: int) -> list[str]:
    """Add one bag of one row for every table and sample."""
    sizes = {"b": samples, "s": 1, "h": config.hidden, "v": config.vocabulary}
    names = [f"table{index}" for index in range(config.tables)]
    indices = [builder.input(f"{name}_indices", (samples, 1), INDEX_BYTES) for name in names]
    return [
        embedding_bag(builder, name, index, name, sizes)
        for name, index in zip(names, indices, strict=True)
    ]
