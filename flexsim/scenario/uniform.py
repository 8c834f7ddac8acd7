"""Plans of uniform pipelines, grown from small ones that many scenarios share.

A scenario is uniform where its layers are equal and divide into equal stages on devices of one
type. Its plan is then the one that is built in full, for a small part of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar, cast

from flexsim.collectives.table import ALGORITHMS
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import CommunicationModel
from flexsim.cost.optimizers import OPTIMIZERS
from flexsim.cost.profiles import load_device_profile
from flexsim.kept import Kept
from flexsim.models import ModelConfig, build_model
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes, in_file, in_schedule
from flexsim.scenario.limits import check_magnitude
from flexsim.scenario.prepare import Setting, degrees_of
from flexsim.scenario.schema import Scenario
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import check_degrees, megatron, ranks_of_devices, recomputed
from flexsim.strategy.strategy import check_strategy
from flexsim.task_graph.accumulation import added_bytes_per_parameter
from flexsim.task_graph.findings import Findings
from flexsim.task_graph.grown_plan import Parts, grown_plan, parts_of
from flexsim.task_graph.grown_update import GrownUpdate, build_update
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import (
    GROWN_SCHEDULES,
    PipelineShape,
    Schedule,
    build_schedule,
)
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.uniform import Seed, build_seed, priced
from flexsim.timeline.metrics import IterationFacts

Value = TypeVar("Value")

_MOST_PARTS = 400
"""Half a megabyte each for a model of a hundred layers."""
_GROWN = ("single", "data", "megatron")
"""Strategies that cut every layer alike."""


@dataclass(frozen=True, eq=False)
class Uniform:
    """A plan and the facts of its iteration."""

    plan: Plan
    facts: IterationFacts


@dataclass(frozen=True)
class Small:
    """The small pipeline that a long one is grown from."""

    degrees: Degrees
    layers: int
    precision: str


class Nursery:
    """Grows plans and remembers what repeats: models, seeds, updates, prices, schedules."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._recent = Kept(_MOST_PARTS)

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what was made for ``key``, now or before."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(Value, self._kept[key])

    def grow(self, scenario: Scenario, setting: Setting, sizes: Sizes) -> Uniform | None:
        """Return the plan of a uniform pipeline, or None where it is not uniform.

        Raise the :class:`FlexSimError` that building in full would raise.
        """
        if not may_grow(scenario, setting):
            return None
        key = setting_key(scenario)
        whole = self._whole(scenario, setting, key)
        if not self.once(("regular", key), lambda: is_regular(whole, setting.config.layers)):
            return None
        check_magnitude(scenario.source, whole, scenario.training.global_batch)
        with in_file(scenario.source, "strategy"), in_schedule(scenario, sizes):
            plan = self._plan(scenario, setting, sizes, whole)
        if plan is None:
            return None
        flops = self.once(("flops", key), lambda: whole.flops)
        return Uniform(plan, _facts(scenario, setting, sizes, (plan, whole, flops)))

    def _whole(self, scenario: Scenario, setting: Setting, key: Hashable) -> OperatorGraph:
        """Return the model with one sequence."""
        precision = scenario.training.precision
        with in_file(scenario.source, "model"):
            return self.once(("whole", key), lambda: build_model(setting.config, 1, precision))

    def _plan(
        self, scenario: Scenario, setting: Setting, sizes: Sizes, whole: OperatorGraph
    ) -> Plan | None:
        key = setting_key(scenario)
        degrees = degrees_of(scenario, sizes, setting.costs.software)
        check_degrees(scenario.strategy.name or "", degrees)
        small = small_of(scenario, setting, degrees)
        if small is None:
            return None
        plain = self.once(("seed", key, small), lambda: seed_of(setting, small))
        if not isinstance(plain, Seed):
            return None
        times = scenario.training.micro_batch
        parts = self._recent.once(
            ("parts", key, small, times, place_of(degrees)),
            lambda: self._parts(setting, degrees, (key, small, times, plain), whole),
        )
        if parts is None:
            return None
        schedule = self.once(("schedule", order_key(degrees)), lambda: schedule_of(degrees))
        return grown_plan(parts, schedule, degrees.overlap_gradients)

    def _parts(
        self,
        setting: Setting,
        degrees: Degrees,
        grows_from: tuple[Hashable, Small, int, Seed],
        whole: OperatorGraph,
    ) -> Parts | None:
        key, small, times, plain = grows_from
        seed = self.once(("seed", key, small, times), lambda: priced(plain, times))
        site = self.once(("site", key, place_of(degrees)), lambda: _site(setting, degrees))
        layers = setting.config.layers // (degrees.pipeline * degrees.chunks)
        grown = Grown(seed, site, layers)
        update = self.once(
            ("update", key, place_of(degrees), replace(small.degrees, recompute="none")),
            lambda: build_update(grown, whole, setting.devices, setting.costs),
        )
        if not isinstance(update, GrownUpdate):
            return None
        parts = parts_of(grown, update)
        return parts if parts.is_priced else None


def setting_key(scenario: Scenario) -> Hashable:
    """Return what a scenario's setting follows from."""
    training = scenario.training
    algorithm = scenario.simulation.collective_algorithm
    things = (training.precision, training.software, training.optimizer, algorithm)
    return ("setting", scenario.source, scenario.model, scenario.cluster, *things)


def may_grow(scenario: Scenario, setting: Setting, most_zero: int = 0) -> bool:
    """Whether a pipeline may be uniform, as far as scenario and devices tell."""
    return (
        scenario.strategy.name in _GROWN
        and scenario.strategy.fold
        and scenario.strategy.file is None
        and scenario.strategy.zero <= most_zero
        and scenario.strategy.cuts_equally
        and not _is_chosen(scenario)
        and scenario.strategy.context == scenario.strategy.expert == 1
        and scenario.strategy.chosen_schedule in GROWN_SCHEDULES
        and _prices_on_rings(setting.costs.communication)
        and len(set(setting.devices.device_types)) == 1
    )


def _is_chosen(scenario: Scenario) -> bool:
    """Whether layers of a stage may differ, or keep what only a full build follows."""
    training = scenario.training
    some = training.recompute_layers or training.recompute_every or training.offload
    return (
        bool(some)
        or training.recompute == "best"
        or training.precision == "fp8"
        or OPTIMIZERS[training.optimizer].is_factored
    )


def _prices_on_rings(prices: CommunicationModel) -> bool:
    return isinstance(prices, Communication) and all(map(prices.prices_on_rings, ALGORITHMS))


def is_regular(whole: OperatorGraph, layers: int) -> bool:
    """Whether a model's layers are equal and stand one after the other."""
    runs = [(key, list(run)) for key, run in groupby(whole.operators, lambda op: op.block)]
    inside = [run for key, run in runs if key]
    together = [bool(key) for key, _ in runs] in ([True] * layers, _framed(runs, layers))
    contents = {
        tuple((op.kind, op.dims, tuple(step.signature for step in op.steps)) for op in run)
        for run in inside
    }
    return together and len(inside) == layers and len(contents) == 1


def _framed(runs: list[tuple[str, list[Any]]], layers: int) -> list[bool]:
    """Return the pattern of layers with other operators before and after them, as there are."""
    before, after = [False] * (not runs[0][0]), [False] * (not runs[-1][0])
    return [*before, *[True] * layers, *after]


def small_of(scenario: Scenario, setting: Setting, degrees: Degrees) -> Small | None:
    """Return the pipeline to grow from; None where layers or stages are not alike."""
    num_stages = degrees.pipeline * degrees.chunks
    layers, left_over = divmod(setting.config.layers, num_stages)
    if left_over or (degrees.pipeline == 1 and degrees.chunks > 1):
        return None
    adds_up = added_bytes_per_parameter(
        setting.costs.software, scenario.training.precision, degrees.num_microbatches
    )
    small = replace(
        degrees,
        pipeline=1 if num_stages == 1 else 3,
        data=2,
        chunks=1,
        order=Degrees.order,
        schedule=Degrees.schedule,
        num_microbatches=2 if adds_up else 1,
    )
    blocks = (1 if layers == 1 else BLOCKS) * small.pipeline
    return Small(small, blocks, scenario.training.precision)


def seed_of(setting: Setting, small: Small) -> Seed | str:
    """Return the seed of a small pipeline, or why it has none."""
    config = replace(setting.config, layers=small.layers)
    graph = _small_model(config, small.degrees.data, small.precision)
    found = _findings(graph, replace(small.degrees, recompute=Degrees.recompute))
    strategy = recomputed(found.strategy, graph, small.degrees)
    costs, device_type = setting.costs, setting.devices.device_types[0]
    compute, software = costs.compute, costs.software
    return build_seed(graph, strategy, compute, software, device_type, findings=found)


@lru_cache(maxsize=8)
def _small_model(config: ModelConfig, sequences: int, precision: str) -> OperatorGraph:
    return build_model(config, sequences, precision)


@lru_cache(maxsize=16)
def _findings(graph: OperatorGraph, degrees: Degrees) -> Findings:
    """Return what seeds have in common that differ in recomputation only."""
    strategy = megatron(graph, degrees)
    check_strategy(strategy, graph, len(strategy.devices))
    return Findings(graph, strategy)


def place_of(degrees: Degrees) -> Hashable:
    """Return what the devices of ranks follow from."""
    return degrees.tensor, degrees.pipeline, degrees.data, degrees.chunks, degrees.order


def _site(setting: Setting, degrees: Degrees) -> Site:
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    communication = cast(Communication, setting.costs.communication)
    return Site(devices, degrees.chunks, degrees.data, communication)


def order_key(degrees: Degrees) -> Hashable:
    """Return what a schedule follows from."""
    shape = (degrees.pipeline, degrees.chunks, degrees.num_microbatches)
    return degrees.schedule, degrees.blocking_transfers, shape


def schedule_of(degrees: Degrees) -> Schedule:
    """Return the schedule of a pipeline."""
    shape = PipelineShape(degrees.pipeline, degrees.num_microbatches, degrees.chunks)
    schedule = build_schedule(degrees.schedule, shape)
    return replace(schedule, blocking_transfers=degrees.blocking_transfers)


def _facts(
    scenario: Scenario, setting: Setting, sizes: Sizes, built: tuple[Plan, OperatorGraph, int]
) -> IterationFacts:
    plan, whole, flops = built
    profile = load_device_profile(setting.devices.device_types[0])
    peak = profile.peak_flops_per_s(scenario.training.precision)
    sequences = scenario.training.global_batch // sizes.num_microbatches
    return IterationFacts(
        num_devices=sizes.num_devices,
        sequences=scenario.training.global_batch,
        tokens_per_sequence=whole.tokens_per_sequence,
        model_flops=float(flops * sequences) * sizes.num_microbatches,
        hardware_flops=plan.hardware_flops,
        peak_flops_per_s=peak * sizes.num_devices,
        memory_capacity_bytes=profile.memory_capacity_bytes,
    )
