"""From a scenario to its result: the one place that composes the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.cost.collectives import Communication
from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile, load_device_profile, load_software_profile
from flexsim.cost.roofline import Roofline
from flexsim.cost.work import CostModel, checked
from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.engine.event import Progress
from flexsim.engine.table import choose_engine, load_engine
from flexsim.models import (
    FAMILIES,
    PRESETS,
    ModelConfig,
    build_model,
    model_config,
)
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import (
    Sizes,
    check_name,
    check_sizes,
    in_file,
    in_schedule,
    usable_devices,
)
from flexsim.scenario.limits import check_counts, check_cuts, check_magnitude, check_precision
from flexsim.scenario.schema import PublishedTable, Scenario, TrainingTable
from flexsim.strategy import BASELINES, Degrees, Strategy
from flexsim.task_graph.build import build_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.schedules import SCHEDULES
from flexsim.timeline.metrics import IterationFacts, metrics
from flexsim.timeline.spans import Timeline

_MOMENT_BYTES = 4
"""An optimizer keeps each moment of a gradient, and the master weights, in fp32."""


@dataclass(frozen=True, eq=False)
class Result:
    """One simulated iteration: the numbers, and the timeline that they were read from.

    ``engine`` replayed it. ``keys`` are the scenario's keys, written in front of the metrics in
    ``metrics.csv``.
    """

    metrics: Mapping[str, Any]
    timeline: Timeline
    task_graph: TaskGraph
    memory_capacity_bytes: int
    engine: str
    title: str = "flexsim"
    keys: Mapping[str, object] = field(default_factory=dict)
    detail: str = "auto"
    published: PublishedTable | None = None
    scenario: Scenario | None = None

    def save(self, directory: str | Path) -> list[Path]:
        """Write metrics.csv, timeline.csv, trace.json, bubbles.png and .svg; return their paths.

        The directory is made if need be and never emptied; each file is written whole.
        """
        from flexsim.plotting.bubbles import save_bubbles
        from flexsim.timeline.export import write_metrics, write_timeline
        from flexsim.timeline.trace import write_trace

        folder = Path(directory)
        csv, table, trace = (folder / n for n in ("metrics.csv", "timeline.csv", "trace.json"))
        write_metrics(csv, dict(self.keys), dict(self.metrics))
        write_timeline(table, self.timeline, self.detail)
        write_trace(trace, self.timeline, self.detail)
        pictures = save_bubbles(self.timeline, dict(self.metrics), self.title, folder)
        return [csv, table, trace, *pictures]


def run(
    scenario: Scenario, cost_model: CostModel | None = None, progress: Progress | None = None
) -> Result:
    """Simulate one training iteration of a scenario.

    ``cost_model`` prices kernels in place of the device profiles; ``progress`` is told how far
    the replay is. Raise a :class:`FlexSimError` in one sentence where the scenario cannot be
    simulated.
    """
    devices, config, sizes = _parts(scenario)
    graph = build_model(
        config, scenario.training.micro_batch * sizes.data, scenario.training.precision
    )
    check_magnitude(scenario.source, graph, sizes.num_microbatches)
    with in_file(scenario.source, "training.software"):
        costs = make_costs(devices, scenario.beside(scenario.training.software), cost_model)
    costs = replace(costs, software=_with_optimizer(costs.software, scenario.training))
    with in_file(scenario.source, "strategy"):
        strategy = _strategy(scenario, graph, sizes, costs.software)
    with in_file(scenario.source, "strategy"), in_schedule(scenario, sizes):
        task_graph = build_task_graph(graph, strategy, devices, costs, scenario.strategy.fold)
    engine = choose_engine(scenario.simulation.engine, task_graph.num_tasks)
    timeline = load_engine(engine)(task_graph, progress)
    result = _measured(graph, strategy, devices, timeline, engine)
    return replace(
        result,
        title=scenario.title or scenario.name,
        keys={**scenario.keys(), "simulation.engine": engine},
        detail=scenario.output.detail,
        published=scenario.published,
        scenario=scenario,
    )


def evaluate(
    operators: OperatorGraph,
    strategy: Strategy,
    devices: DeviceGraph,
    costs: Costs,
    fold: bool = True,
    engine: str | None = None,
) -> Result:
    """Simulate one iteration of an operator graph under a strategy and measure it.

    Without a name, ``engine`` is event for graphs of moderate size and compiled beyond.
    """
    task_graph = build_task_graph(operators, strategy, devices, costs, fold)
    chosen = choose_engine(engine, task_graph.num_tasks)
    timeline = load_engine(chosen)(task_graph, None)
    return _measured(operators, strategy, devices, timeline, chosen)


def _measured(
    operators: OperatorGraph,
    strategy: Strategy,
    devices: DeviceGraph,
    timeline: Timeline,
    engine: str,
) -> Result:
    task_graph = timeline.task_graph
    facts = _facts(operators, strategy, devices, task_graph)
    return Result(
        metrics(timeline, facts),
        timeline,
        task_graph,
        facts.memory_capacity_bytes,
        engine,
        operators.name,
    )


def make_costs(
    devices: DeviceGraph, software: str = "megatron-lm", cost_model: CostModel | None = None
) -> Costs:
    """Return the costs of a cluster under a software stack, by profile name or path."""
    profile = load_software_profile(software)
    compute = Roofline(profile) if cost_model is None else checked(cost_model)
    return Costs(compute, Communication.of(devices, profile), profile)


def _parts(scenario: Scenario) -> tuple[DeviceGraph, ModelConfig, Sizes]:
    source, cluster = scenario.source, scenario.cluster
    check_name(source, "strategy.name", scenario.strategy.name, BASELINES)
    check_name(source, "strategy.schedule", scenario.strategy.chosen_schedule, SCHEDULES)
    with in_file(source, "model"):
        _check_model_names(scenario)
        table = scenario.model
        config = model_config(table.name, table.preset, **table.sizes)
    with in_file(source, "cluster.device_graph"):
        devices = load_device_graph(scenario.beside(cluster.device_graph), cluster.hosts)
    check_precision(scenario, devices.name, devices.device_types)
    sizes = check_sizes(scenario, config, usable_devices(scenario, devices.num_devices))
    check_cuts(scenario, config)
    check_counts(source, config.layers, sizes)
    return devices, config, sizes


def _check_model_names(scenario: Scenario) -> None:
    if scenario.model.preset is not None:
        check_name(scenario.source, "model.preset", scenario.model.preset, PRESETS)
    if scenario.model.name is not None:
        check_name(scenario.source, "model.name", scenario.model.name, FAMILIES)


def _strategy(
    scenario: Scenario, graph: OperatorGraph, sizes: Sizes, software: SoftwareProfile
) -> Strategy:
    table = scenario.strategy
    degrees = Degrees(
        tensor=sizes.tensor,
        pipeline=sizes.pipeline,
        data=sizes.data,
        chunks=sizes.chunks,
        sequence_parallel=table.sequence_parallel,
        order=table.order,
        schedule=table.chosen_schedule,
        num_microbatches=sizes.num_microbatches,
        recompute=scenario.training.recompute,
        overlap_gradients=_given(table.overlap_gradients, software.overlap_gradients),
        scatter_gather=_given(table.scatter_gather, software.scatter_gather),
        blocking_transfers=_given(table.blocking_transfers, software.blocking_transfers),
        gradient_norm=table.gradient_norm,
    )
    return BASELINES[table.name](graph, degrees)


def _given(choice: bool | None, default: bool) -> bool:
    return default if choice is None else choice


def _with_optimizer(software: SoftwareProfile, training: TrainingTable) -> SoftwareProfile:
    """Return the software with its state for another optimizer or precision than Adam's in fp16.

    Profiles state Adam with fp32 master weights. Momentum SGD keeps one moment less, read and
    written at each step; fp32 weights are their own masters.
    """
    moments = 1 if training.optimizer == "sgd" else 0
    masters = 1 if training.precision == "fp32" else 0
    state = software.optimizer_bytes_per_parameter - _MOMENT_BYTES * (moments + masters)
    traffic = software.optimizer_traffic_bytes_per_parameter - 2 * _MOMENT_BYTES * moments
    return replace(
        software,
        optimizer_bytes_per_parameter=state,
        optimizer_traffic_bytes_per_parameter=traffic,
    )


def _facts(
    operators: OperatorGraph, strategy: Strategy, devices: DeviceGraph, task_graph: TaskGraph
) -> IterationFacts:
    types, counts = np.unique(
        [devices.device_types[d] for d in strategy.devices.tolist()], return_counts=True
    )
    profiles = [load_device_profile(str(name)) for name in types]
    peaks = [p.peak_flops_per_s(operators.precision) for p in profiles]
    return IterationFacts(
        num_devices=len(strategy.devices),
        sequences=operators.num_sequences * strategy.num_microbatches,
        tokens_per_sequence=operators.tokens_per_sequence,
        model_flops=float(operators.flops) * strategy.num_microbatches,
        hardware_flops=task_graph.hardware_flops,
        peak_flops_per_s=float(np.dot(peaks, counts)),
        memory_capacity_bytes=min(p.memory_capacity_bytes for p in profiles),
    )
