"""What a scenario may ask of its model and devices, and how large it may be.

The bounds lie far above what is trained and below what overflows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from flexsim.cost.profiles import SoftwareProfile, load_device_profile
from flexsim.errors import ScenarioError
from flexsim.models import ModelConfig, family_keys
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes, check_divides, in_file
from flexsim.scenario.free_memory import free_bytes
from flexsim.scenario.schema import Scenario
from flexsim.strategy import Strategy
from flexsim.task_graph.build import OFF
from flexsim.task_graph.plan import Plan

MOST_LAYERS = 10_000
MOST_LAYER_PASSES = 10_000_000
"""Layers x microbatches; each is some tens of tasks."""
MOST_PARAMETERS = 10**15
MOST_FLOPS = 10**22
"""In one iteration: about a year of a hundred devices, which nanoseconds still count."""
BYTES_PER_TASK = 160
"""What a run takes at its peak beyond the libraries, for each task: graph, replay, metrics."""
MOST_TASKS = 2**31 - 1
"""Tasks that 32 bits can number."""
_GIB = 2**30


def check_precision(scenario: Scenario, graph_name: str, device_types: Iterable[str]) -> None:
    """Raise where a device has no profile, or its profile no rate in the precision."""
    for name in dict.fromkeys(device_types):
        with in_file(scenario.source, f"cluster.device_graph = {graph_name!r}"):
            profile = load_device_profile(name)
        with in_file(scenario.source, "training.precision"):
            profile.peak_flops_per_s(scenario.training.precision)


def check_offload(scenario: Scenario) -> None:
    """Raise where a network of links would have to carry what goes to the hosts."""
    network = scenario.simulation.network
    if scenario.training.offload and network != "analytic":
        raise ScenarioError(
            f"{scenario.source}: training.offload does not go with simulation.network ="
            f" {network!r}, which has no links to the hosts' memory; choose analytic"
        )


def check_zero(scenario: Scenario, sizes: Sizes, software: SoftwareProfile) -> None:
    """Raise where the software has no such stage of ZeRO with a pipeline."""
    zero, most = scenario.strategy.zero, software.pipeline_zero_stage
    if sizes.pipeline > 1 and zero > most:
        choices = ", ".join(map(str, range(most + 1)))
        raise ScenarioError(
            f"{scenario.source}: strategy.zero = {zero} with strategy.pipeline ="
            f" {sizes.pipeline} is not defined by training.software ="
            f" {scenario.training.software!r}; choose zero from {choices}, or pipeline = 1"
        )


def check_cuts(scenario: Scenario, config: ModelConfig, software: SoftwareProfile) -> None:
    """Raise where a strategy cuts a size into more parts than it has, or one that is not.

    Positions must be cut evenly unless the software pads them.
    """
    known = family_keys(config.family)
    cut = ("ffn", "vocabulary") if config.embedding_and_head else ("ffn",)
    for key in (key for key in cut if key in known):
        _check_at_most(scenario, key, getattr(config, key))
    if scenario.strategy.sequence_parallel:
        _check_positions(scenario, config, software)


def _check_positions(scenario: Scenario, config: ModelConfig, software: SoftwareProfile) -> None:
    if "sequence" not in family_keys(config.family):
        raise ScenarioError(
            f"{scenario.source}: strategy.sequence_parallel = true has no meaning for the family"
            f" {config.family!r}, which has no sequence; choose false"
        )
    tensor, size = scenario.strategy.tensor, config.sequence
    if software.pads_parts:
        _check_at_most(scenario, "sequence", size)
    else:
        check_divides(scenario.source, "strategy.tensor", tensor, "model.sequence", size)


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


class Sized(Protocol):
    """The magnitude of a model."""

    @property
    def num_parameters(self) -> int:
        """Elements of all weights."""

    @property
    def flops(self) -> int:
        """Floating-point operations of an iteration with one microbatch."""


def check_magnitude(source: str, operators: Sized, num_microbatches: int) -> None:
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


def check_strategy_memory(scenario: Scenario, operators: OperatorGraph, strategy: Strategy) -> None:
    """Raise :class:`ScenarioError` where a graph that is not to be folded cannot fit.

    Nothing is built yet: every operator counts as one task forward and one backward on each of
    its devices, in every microbatch, which is less than there will be.
    """
    why = why_unfolded(scenario)
    if not why:
        return
    on_devices = sum(strategy.configs[op.name].mesh.size for op in operators.operators)
    _check_tasks(scenario, 2 * on_devices * strategy.num_microbatches, why)


def why_unfolded(scenario: Scenario) -> str:
    """Return why all devices of a scenario are to be simulated; "" where they may be folded."""
    if scenario.simulation.network != "analytic":
        return "flows of different devices meet on links"
    return "" if scenario.strategy.fold else OFF


def check_plan_memory(scenario: Scenario, plan: Plan) -> None:
    """Raise :class:`ScenarioError` where the tasks of a plan would not fit in memory."""
    sizes = np.diff(plan.templates.offsets)
    _check_tasks(scenario, int(sizes[plan.actions.template].sum()), plan.folding)


def _check_tasks(scenario: Scenario, num_tasks: int, folding: str) -> None:
    why = _why_too_many(num_tasks, free_bytes())
    if not why:
        return
    fold = "" if scenario.strategy.fold else "strategy.fold = true, "
    if scenario.simulation.network != "analytic":
        fold = "simulation.network = 'analytic', "
    raise ScenarioError(
        f"{scenario.source}: {num_tasks:,} tasks or more ({folding}) {why}; choose {fold}fewer"
        " microbatches (a larger training.micro_batch or strategy.data, a smaller"
        " training.global_batch) or fewer model.layers"
    )


def _why_too_many(num_tasks: int, free: int | None) -> str:
    """Return what is wrong with a number of tasks; "" if nothing is."""
    if num_tasks > MOST_TASKS:
        return f"are more than the {MOST_TASKS:,} that can be numbered"
    need = num_tasks * BYTES_PER_TASK
    if free is None or need <= free:
        return ""
    return f"would take {need / _GIB:,.1f} GiB where {free / _GIB:,.1f} GiB are free"
