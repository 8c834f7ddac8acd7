"""From a scenario to what is simulated: checked, built, and with all defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.collectives import ALGORITHMS
from flexsim.cost.chosen import ChosenAlgorithm
from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.measured import with_measured
from flexsim.cost.optimizers import OPTIMIZERS, with_optimizer
from flexsim.cost.profiles import SoftwareProfile, load_device_profile, load_software_profile
from flexsim.cost.roofline import Roofline
from flexsim.cost.work import CostModel, checked
from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.errors import ScenarioError
from flexsim.models import FAMILIES, PRESETS, ModelConfig, build_model, model_config
from flexsim.network.options import AUTO
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.graph import stored_precision
from flexsim.operator_graph.lanes import in_lanes
from flexsim.operator_graph.loads import in_runs
from flexsim.operator_graph.slices import in_slices
from flexsim.scenario.checks import (
    Sizes,
    check_name,
    check_sizes,
    in_file,
    sizes_of_microbatches,
    usable_devices,
)
from flexsim.scenario.limits import (
    check_counts,
    check_cuts,
    check_magnitude,
    check_offload,
    check_precision,
    check_zero,
)
from flexsim.scenario.ordering import check_schedule, has_gradient_norm, placement_of
from flexsim.scenario.schema import Scenario
from flexsim.scenario.slices import slices_of
from flexsim.strategy import BASELINES, Degrees, Strategy
from flexsim.strategy.files import graph_of_file, load_strategy, microbatches_of
from flexsim.strategy.recompute import SomeLayers
from flexsim.timeline.metrics import IterationFacts

PRICED_NETWORK = "analytic"
"""The network in which communication is priced as a whole."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What is trained, where, and what things cost there: all but how the work is spread."""

    devices: DeviceGraph
    num_devices: int
    """That may be used."""
    config: ModelConfig
    costs: Costs


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a scenario asks to simulate, checked and built: the inputs of all stages."""

    graph: OperatorGraph
    devices: DeviceGraph
    costs: Costs
    strategy: Strategy
    sizes: Sizes
    notes: tuple[str, ...] = ()
    """What people should know of how it was prepared."""


def prepare(scenario: Scenario, cost_model: CostModel | None = None) -> Prepared:
    """Return what a scenario asks to simulate.

    Raise a :class:`FlexSimError` in one sentence where it does not fit together.
    """
    setting = setting_of(scenario, cost_model)
    sizes = sizes_of(scenario, setting)
    sequences = scenario.training.micro_batch * sizes.data
    with in_file(scenario.source, "model"):
        graph = build_model(setting.config, sequences, scenario.training.precision)
    check_magnitude(scenario.source, graph, sizes.num_microbatches)
    with in_file(scenario.source, "strategy"):
        notes: tuple[str, ...] = ()
        if scenario.strategy.file is not None:
            graph = graph_of_file(scenario.strategy_file, graph)
            strategy = load_strategy(scenario.strategy_file, graph, setting.devices)
        else:
            degrees = degrees_of(scenario, sizes, setting.costs.software)
            if scenario.strategy.context_order == "contiguous":
                graph = in_runs(graph)
            graph = in_lanes(graph, degrees.lanes)
            degrees, sliced = sliced_best(scenario, degrees, graph, setting)
            graph = in_slices(graph, degrees.slices)
            degrees, notes = chosen(scenario, degrees, graph, setting)
            notes += sliced
            strategy = BASELINES[scenario.strategy.name or ""](graph, degrees)
        strategy = replace(strategy, offload=tuple(scenario.training.offload or strategy.offload))
    return Prepared(graph, setting.devices, setting.costs, strategy, sizes, notes)


def sliced_best(
    scenario: Scenario, degrees: Degrees, graph: OperatorGraph, setting: Setting
) -> tuple[Degrees, tuple[str, ...]]:
    """Return the degrees with the best slices, if they are asked for, and a note on them."""
    from flexsim.scenario.best_slices import with_best_slices
    from flexsim.scenario.choices import Subject

    subject = Subject(graph, setting.devices, setting.costs)
    return with_best_slices(scenario, degrees, setting.config, subject)


def chosen(
    scenario: Scenario, degrees: Degrees, graph: OperatorGraph, setting: Setting
) -> tuple[Degrees, tuple[str, ...]]:
    """Return the degrees with what is chosen by cost, and what people should know of that."""
    from flexsim.scenario.best_recompute import with_best_recompute
    from flexsim.scenario.choices import Subject, balanced

    subject = Subject(graph, setting.devices, setting.costs)
    degrees = balanced(scenario, degrees, subject)
    if degrees.recompute != "best":
        return degrees, ()
    found = with_best_recompute(scenario, replace(degrees, recompute="none"), subject)
    return found.degrees, (found.note,)


def setting_of(scenario: Scenario, cost_model: CostModel | None = None) -> Setting:
    """Load the model's shape, the devices and the profiles that a scenario names."""
    source, cluster = scenario.source, scenario.cluster
    with in_file(source, "model"):
        _check_model_names(scenario)
        table = scenario.model
        config = model_config(table.name, table.preset, **table.sizes)
    with in_file(source, "cluster.device_graph"):
        devices = load_device_graph(scenario.beside(cluster.device_graph), cluster.hosts)
    check_precision(scenario, devices.name, devices.device_types)
    with in_file(source, "training.software"):
        costs = make_costs(devices, scenario.beside(scenario.training.software), cost_model)
    if cluster.measured_times is not None:
        _check_measured(scenario)
        with in_file(source, "cluster.measured_times"):
            costs = with_measured(costs, scenario.beside(cluster.measured_times), cost_model)
    training = scenario.training
    optimizer = OPTIMIZERS[training.optimizer]
    precision = stored_precision(training.precision)
    costs = replace(costs, software=with_optimizer(costs.software, optimizer, precision))
    costs = _with_algorithm(costs, scenario)
    return Setting(devices, usable_devices(scenario, devices.num_devices), config, costs)


def sizes_of(scenario: Scenario, setting: Setting) -> Sizes:
    """Return the degrees of a scenario, checked against its model and devices."""
    source = scenario.source
    if scenario.strategy.name is not None:
        check_name(source, "strategy.name", scenario.strategy.name, BASELINES)
    check_schedule(scenario)
    if scenario.strategy.file is None:
        sizes = check_sizes(scenario, setting.config, setting.num_devices)
    else:
        with in_file(source, "strategy.file"):
            num_microbatches = microbatches_of(scenario.strategy_file)
        sizes = sizes_of_microbatches(scenario, num_microbatches)
    check_offload(scenario)
    check_zero(scenario, sizes, setting.costs.software)
    check_cuts(scenario, setting.config, setting.costs.software)
    check_counts(source, setting.config.layers, sizes)
    return replace(sizes, slices=slices_of(scenario, setting.config, setting.costs.software))


def sizes_of_batch(scenario: Scenario, setting: Setting, sizes: Sizes) -> Sizes:
    """Return the sizes of a scenario from those of one that has another batch or micro-batch."""
    number, left_over = divmod(
        scenario.training.global_batch, sizes.data * scenario.training.micro_batch
    )
    if left_over or scenario.strategy.file is not None:
        return sizes_of(scenario, setting)
    if number == sizes.num_microbatches:
        return sizes
    found = Sizes(
        sizes.tensor,
        sizes.pipeline,
        sizes.data,
        sizes.chunks,
        number,
        sizes.context,
        sizes.slices,
    )
    check_counts(scenario.source, setting.config.layers, found)
    return found


def degrees_of(scenario: Scenario, sizes: Sizes, software: SoftwareProfile) -> Degrees:
    """Return the degrees with what the software does by itself filled in."""
    table = scenario.strategy
    placement, lanes = placement_of(scenario, sizes)
    return Degrees(
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        chunks=sizes.chunks,
        sequence_parallel=table.sequence_parallel,
        order=table.order,
        schedule=table.chosen_schedule,
        num_microbatches=sizes.num_microbatches,
        recompute=scenario.training.recompute,
        recompute_layers=SomeLayers(
            scenario.training.recompute_layers, scenario.training.recompute_every or 1
        ),
        offload=tuple(scenario.training.offload or ()),
        overlap_gradients=_given(table.overlap_gradients, software.overlap_gradients),
        scatter_gather=_given(table.scatter_gather, software.scatter_gather),
        blocking_transfers=_given(table.blocking_transfers, software.blocking_transfers),
        gradient_norm=has_gradient_norm(scenario),
        zero=table.zero,
        shard=table.shard,
        reshard=table.reshard,
        prefetch=table.prefetch,
        placement=placement,
        lanes=lanes,
        context=sizes.context,
        context_method=table.context_method,
        expert=table.expert,
        slices=sizes.slices,
        iterations=scenario.simulation.iterations,
    )


def make_costs(
    devices: DeviceGraph, software: str = "megatron-lm", cost_model: CostModel | None = None
) -> Costs:
    """Return the costs of a cluster under a software stack, by profile name or path."""
    profile = load_software_profile(software)
    compute = Roofline(profile) if cost_model is None else checked(cost_model)
    return Costs(compute, Communication.of(devices, profile), profile)


def facts_of(
    operators: OperatorGraph, strategy: Strategy, devices: DeviceGraph, hardware_flops: float
) -> IterationFacts:
    """Return what a timeline cannot know about its iteration."""
    types, counts = np.unique(
        [devices.device_types[d] for d in strategy.devices.tolist()], return_counts=True
    )
    profiles = [load_device_profile(str(name)) for name in types]
    peaks = [p.peak_flops_per_s(operators.precision) for p in profiles]
    return IterationFacts(
        num_devices=len(strategy.devices),
        sequences=operators.num_sequences * strategy.num_microbatches,
        tokens_per_sequence=operators.tokens_per_sequence,
        model_flops=float(operators.flops) * strategy.passes_a_stage,
        hardware_flops=hardware_flops,
        peak_flops_per_s=float(np.dot(peaks, counts)),
        memory_capacity_bytes=min(p.memory_capacity_bytes for p in profiles),
    )


def _check_measured(scenario: Scenario) -> None:
    if scenario.simulation.network != PRICED_NETWORK:
        raise ScenarioError(
            f"{scenario.source}: cluster.measured_times holds whole collectives, so that"
            f" simulation.network = {scenario.simulation.network!r} cannot follow them over links;"
            f" choose {PRICED_NETWORK!r}, or leave the table out"
        )


def _check_model_names(scenario: Scenario) -> None:
    if scenario.model.preset is not None:
        check_name(scenario.source, "model.preset", scenario.model.preset, PRESETS)
    if scenario.model.name is not None:
        check_name(scenario.source, "model.name", scenario.model.name, FAMILIES)


def _given(choice: bool | None, default: bool) -> bool:
    return default if choice is None else choice


def _with_algorithm(costs: Costs, scenario: Scenario) -> Costs:
    """Return the costs with collectives by the algorithm that the scenario names, if it does."""
    name = scenario.simulation.collective_algorithm
    known = dict.fromkeys(name for some in ALGORITHMS.values() for name in some)
    if name is None or name == AUTO or not isinstance(costs.communication, Communication):
        return costs
    check_name(scenario.source, "simulation.collective_algorithm", name, (AUTO, *known))
    return replace(costs, communication=ChosenAlgorithm(costs.communication, name))
