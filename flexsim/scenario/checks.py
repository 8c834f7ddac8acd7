"""Whether the sizes of a scenario fit one another: the one place where this is checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Protocol

from flexsim.errors import FlexSimError, ScenarioError, ScheduleError, choices_text
from flexsim.models import family_keys
from flexsim.scenario.schema import Scenario, StrategyTable
from flexsim.strategy import EXPERTS
from flexsim.strategy.baselines import lighter_ends

_MOST_CHOICES = 12


class Shape(Protocol):
    """The sizes of a model that a strategy cuts."""

    @property
    def family(self) -> str:
        """Name of the function that builds it."""

    @property
    def layers(self) -> int:
        """Number of layers."""

    @property
    def heads(self) -> int:
        """Number of query heads."""

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""


@dataclass(frozen=True)
class Sizes:
    """The degrees of a scenario after the ones left open are derived."""

    tensor: int
    pipeline: int
    data: int
    chunks: int
    num_microbatches: int
    context: int = 1
    slices: tuple[int, ...] = ()
    """Lengths of the slices in which a sequence passes; none: it passes whole."""

    @property
    def num_devices(self) -> int:
        """Devices that the strategy uses."""
        return self.tensor * self.pipeline * self.data * self.context


@contextmanager
def in_file(source: str, key: str) -> Iterator[None]:
    """Put file and key in front of any error of ours that is raised inside.

    A message that already begins with a key of that table or of [simulation] gets the file alone.
    """
    try:
        yield
    except FlexSimError as problem:
        message = str(problem)
        if message.startswith(f"{source}: "):
            raise
        own = (f"{key}.", "simulation.")
        where = source if message.startswith(own) else f"{source}: {key}"
        raise type(problem)(f"{where}: {message}") from problem


@contextmanager
def in_schedule(scenario: Scenario, sizes: Sizes) -> Iterator[None]:
    """Put the keys that a schedule follows from in front of its complaints."""
    try:
        yield
    except ScheduleError as problem:
        raise ScheduleError(
            f"strategy.schedule = {scenario.strategy.chosen_schedule!r} and"
            f" training.global_batch = {scenario.training.global_batch}"
            f" ({sizes.num_microbatches} microbatches a replica): {problem}"
        ) from problem


def check_name(source: str, key: str, name: str, choices: Collection[str]) -> None:
    """Raise :class:`ScenarioError` with the nearest choice for an unknown name."""
    if name not in choices:
        raise ScenarioError(f"{source}: {key} = {name!r}: {choices_text(name, choices)}")


def check_sizes(scenario: Scenario, shape: Shape, num_devices: int) -> Sizes:
    """Return the degrees of a scenario on a cluster of ``num_devices``.

    Raise :class:`ScenarioError` in one sentence where the cluster is too small or a degree
    does not divide what it cuts.
    """
    if "heads" in family_keys(shape.family):
        _check_heads(scenario.source, scenario.strategy.tensor, shape)
    _check_layers(scenario.source, scenario.strategy, shape)
    sizes = _sizes(scenario, num_devices)
    _check_devices(scenario.source, sizes, num_devices)
    return sizes


def sizes_of_microbatches(scenario: Scenario, num_microbatches: int) -> Sizes:
    """Return the sizes of a scenario whose strategy file says how many microbatches there are.

    Its degrees stand for the whole batch: replicas are what microbatches hold.
    """
    training = scenario.training
    share = num_microbatches * training.micro_batch
    if training.global_batch % share:
        raise ScenarioError(
            f"{scenario.source}: training.global_batch = {training.global_batch} does not divide"
            f" into the {num_microbatches} microbatches of strategy.file, in multiples of"
            f" training.micro_batch = {training.micro_batch}; choose from"
            f" {_multiples(share, training.global_batch)}"
        )
    return Sizes(1, 1, training.global_batch // share, 1, num_microbatches)


def usable_devices(scenario: Scenario, num_devices: int) -> int:
    """Return how many of a device graph's devices the scenario may use."""
    wanted = scenario.cluster.devices or num_devices
    if wanted > num_devices:
        raise ScenarioError(
            f"{scenario.source}: cluster.devices = {wanted}, but the device graph"
            f" {scenario.cluster.device_graph!r} has {num_devices}; choose from 1 to {num_devices}"
        )
    return wanted


def _sizes(scenario: Scenario, num_devices: int) -> Sizes:
    strategy, training = scenario.strategy, scenario.training
    data = strategy.data or _derived_data(scenario, num_devices)
    share = data * training.micro_batch
    if training.global_batch % share:
        batch = training.global_batch
        raise ScenarioError(
            f"{scenario.source}: training.global_batch = {batch} does not divide into"
            f" microbatches of {training.micro_batch} on {data} replicas (strategy.data x"
            f" training.micro_batch = {share}); choose from {_multiples(share, batch)}"
        )
    microbatches = training.global_batch // share
    return Sizes(
        strategy.tensor, strategy.pipeline, data, strategy.chunks, microbatches, strategy.context
    )


def _derived_data(scenario: Scenario, num_devices: int) -> int:
    strategy = scenario.strategy
    if strategy.name == "single":
        return 1
    named = {"tensor": strategy.tensor, "pipeline": strategy.pipeline}
    named |= {"context": strategy.context} if strategy.context > 1 else {}
    share = prod(named.values())
    if share <= num_devices and num_devices % share:
        keys = " x ".join(f"strategy.{key}" for key in named)
        raise ScenarioError(
            f"{scenario.source}: {keys} = {' x '.join(map(str, named.values()))}"
            f" does not divide the cluster's {num_devices} devices, so"
            f" strategy.data cannot be derived; give it, or choose a product from"
            f" {_divisors(num_devices)}"
        )
    return max(1, num_devices // share)


def _check_devices(source: str, sizes: Sizes, num_devices: int) -> None:
    if sizes.num_devices > num_devices:
        context = f" x context {sizes.context}" if sizes.context > 1 else ""
        raise ScenarioError(
            f"{source}: strategy asks for {sizes.num_devices} devices (tensor {sizes.tensor} x"
            f" pipeline {sizes.pipeline} x data {sizes.data}{context}) but the cluster has"
            f" {num_devices};"
            f" lower strategy.tensor, strategy.pipeline or strategy.data, or raise cluster.hosts"
        )


def _check_heads(source: str, tensor: int, shape: Shape) -> None:
    check_divides(source, "strategy.tensor", tensor, "model.heads", shape.heads)
    fewer, more = sorted((tensor, shape.kv_heads))
    if more % fewer:
        raise ScenarioError(
            f"{source}: strategy.tensor = {tensor} neither divides model.kv_heads ="
            f" {shape.kv_heads} nor is a multiple of it; choose from {_divisors(shape.kv_heads)}"
        )


def _check_layers(source: str, strategy: StrategyTable, shape: Shape) -> None:
    pipeline, chunks = strategy.pipeline, strategy.chunks
    times = f" x strategy.chunks = {pipeline} x {chunks}" if chunks > 1 else ""
    key = f"strategy.pipeline{times}"
    if strategy.name in EXPERTS or lighter_ends(shape.layers, pipeline * chunks):
        return
    if not strategy.cuts_equally:
        return
    if "layers" not in family_keys(shape.family) and pipeline * chunks > 1:
        raise ScenarioError(
            f"{source}: {key} = {pipeline * chunks} has no meaning for the family"
            f" {shape.family!r}, which has no equal layers; choose 1"
        )
    if pipeline * chunks > shape.layers:
        product = f" = {pipeline * chunks}" if times else ""
        raise ScenarioError(
            f"{source}: {key}{product or f' = {pipeline}'} is more stages than model.layers ="
            f" {shape.layers}; choose from {_divisors(shape.layers)}"
        )
    check_divides(source, key, pipeline * chunks, "model.layers", shape.layers)


def check_divides(source: str, key: str, degree: int, size_key: str, size: int) -> None:
    """Raise :class:`ScenarioError` with the divisors where a degree does not divide a size."""
    if size % degree:
        raise ScenarioError(
            f"{source}: {key} = {degree} does not divide {size_key} = {size}; choose from"
            f" {_divisors(size)}"
        )


def _divisors(size: int) -> str:
    low = [each for each in range(1, int(size**0.5) + 1) if size % each == 0]
    return _listed(sorted({*low, *(size // each for each in low)}))


def _multiples(step: int, wanted: int) -> str:
    """Return the multiples of ``step`` on both sides of what was wanted, then a few more."""
    first = max(1, wanted // step)
    return _listed([step * each for each in range(first, first + 3)]) + " …"


def _listed(choices: list[int]) -> str:
    rest = " …" if len(choices) > _MOST_CHOICES else ""
    return ", ".join(str(each) for each in choices[:_MOST_CHOICES]) + rest
