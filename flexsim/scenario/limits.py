"""What a scenario may ask of its model and devices, and how large it may be.

The bounds lie far above what is trained and below what overflows.
"""

from __future__ import annotations

from collections.abc import Iterable

from flexsim.cost.profiles import load_device_profile
from flexsim.errors import ScenarioError
from flexsim.models import ModelConfig, family_keys
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes, check_divides, in_file
from flexsim.scenario.schema import Scenario

MOST_LAYERS = 10_000
MOST_LAYER_PASSES = 10_000_000
"""Layers x microbatches; each is some tens of tasks."""
MOST_PARAMETERS = 10**15
MOST_FLOPS = 10**22
"""In one iteration: about a year of a hundred devices, which nanoseconds still count."""


def check_precision(scenario: Scenario, graph_name: str, device_types: Iterable[str]) -> None:
    """Raise where a device has no profile, or its profile no rate in the precision."""
    for name in dict.fromkeys(device_types):
        with in_file(scenario.source, f"cluster.device_graph = {graph_name!r}"):
            profile = load_device_profile(name)
        with in_file(scenario.source, "training.precision"):
            profile.peak_flops_per_s(scenario.training.precision)


def check_cuts(scenario: Scenario, config: ModelConfig) -> None:
    """Raise where a strategy cuts a size into more parts than it has, or one that is not."""
    known = family_keys(config.family)
    cut = ("ffn", "vocabulary") if config.embedding_and_head else ("ffn",)
    for key in (key for key in cut if key in known):
        _check_at_most(scenario, key, getattr(config, key))
    if not scenario.strategy.sequence_parallel:
        return
    if "sequence" not in known:
        raise ScenarioError(
            f"{scenario.source}: strategy.sequence_parallel = true has no meaning for the family"
            f" {config.family!r}, which has no sequence; choose false"
        )
    tensor = scenario.strategy.tensor
    check_divides(scenario.source, "strategy.tensor", tensor, "model.sequence", config.sequence)


def _check_at_most(scenario: Scenario, key: str, size: int) -> None:
    tensor = scenario.strategy.tensor
    if tensor > size:
        raise ScenarioError(
            f"{scenario.source}: strategy.tensor = {tensor} is more than model.{key} = {size};"
            f" choose from 1 to {size}"
        )


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
