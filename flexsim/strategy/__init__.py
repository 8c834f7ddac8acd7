"""Strategies: how operators are cut, placed and ordered."""

from flexsim.strategy.baselines import BASELINES, Degrees, data, megatron, single
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy, check_strategy
from flexsim.strategy.transition import transition

__all__ = [
    "BASELINES",
    "Degrees",
    "Layout",
    "Mesh",
    "ParallelConfig",
    "Strategy",
    "check_strategy",
    "data",
    "megatron",
    "single",
    "transition",
]
