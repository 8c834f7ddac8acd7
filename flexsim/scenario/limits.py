"""How large a scenario may be: bounds far above what is trained, below what overflows."""

from __future__ import annotations

from flexsim.errors import ScenarioError
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes

MOST_LAYERS = 10_000
MOST_LAYER_PASSES = 10_000_000
"""Layers x microbatches; each is some tens of tasks."""
MOST_PARAMETERS = 10**15
MOST_FLOPS = 10**22
"""In one iteration: about a year of a hundred devices, which nanoseconds still count."""


def check_counts(source: str, layers: int, sizes: Sizes) -> None:
    """Raise :class:`ScenarioError` for more layers or microbatches than can be simulated."""
    if layers > MOST_LAYERS:
        raise ScenarioError(
            f"{source}: model.layers = {layers} is too many to simulate; choose from 1 to"
            f" {MOST_LAYERS}"
        )
    if layers * sizes.num_microbatches > MOST_LAYER_PASSES:
        raise ScenarioError(
            f"{source}: training.global_batch makes {sizes.num_microbatches} microbatches a"
            f" replica, too many to simulate with {layers} layers; choose at most"
            f" {MOST_LAYER_PASSES // layers} by a larger training.micro_batch or strategy.data"
        )


def check_magnitude(source: str, operators: OperatorGraph, num_microbatches: int) -> None:
    """Raise :class:`ScenarioError` for sizes whose bytes or nanoseconds cannot be counted."""
    parameters = operators.num_parameters
    if parameters > MOST_PARAMETERS:
        raise ScenarioError(
            f"{source}: model has {parameters:.3g} parameters, too many to simulate; choose sizes"
            f" that make at most {MOST_PARAMETERS:.0e}"
        )
    flops = operators.flops * num_microbatches
    if flops > MOST_FLOPS:
        raise ScenarioError(
            f"{source}: one iteration takes {flops:.3g} floating-point operations, too many to"
            f" simulate; lower training.global_batch or the sizes of model to make at most"
            f" {MOST_FLOPS:.0e}"
        )
