"""Strategies: how operators are cut, placed and ordered."""

from collections.abc import Callable, Mapping

from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy import baselines
from flexsim.strategy.baselines import Degrees, data, megatron, single
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.experts import EXPERTS, layer_placement, one_weird_trick
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy, check_strategy
from flexsim.strategy.transition import transition

BASELINES: Mapping[str, Callable[[OperatorGraph, Degrees], Strategy]] = {
    **baselines.BASELINES,
    **EXPERTS,
}
"""Every named strategy."""

__all__ = [
    "BASELINES",
    "EXPERTS",
    "Degrees",
    "Layout",
    "Mesh",
    "ParallelConfig",
    "Strategy",
    "check_strategy",
    "data",
    "layer_placement",
    "megatron",
    "one_weird_trick",
    "single",
    "transition",
]
