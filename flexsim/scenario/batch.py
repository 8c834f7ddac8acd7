"""Many scenarios at once: what repeats among them is computed once.

A uniform pipeline is grown from a small one and replayed action by action; both give the
iteration time and the memory of the full task graph, to the nanosecond and the byte. Whatever
is not uniform takes the long way through the same stages as :func:`flexsim.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_device_profile
from flexsim.engine.compiled import simulate
from flexsim.engine.contraction import Memo, replay_contracted
from flexsim.errors import FlexSimError
from flexsim.models import build_model
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import Sizes, in_file, in_schedule
from flexsim.scenario.prepare import Setting, degrees_of, facts_of, prepare, setting_of, sizes_of
from flexsim.scenario.runner import Result, run
from flexsim.scenario.schema import Scenario
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import megatron, ranks_of_devices
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.grown_plan import grown_plan
from flexsim.task_graph.grown_update import GrownUpdate, build_update
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule
from flexsim.task_graph.site import Site
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.uniform import Seed, build_seed
from flexsim.timeline.memory import peak_of_actions
from flexsim.timeline.metrics import IterationFacts, memory_metrics, metrics, speed

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one scenario: its metrics, or why it cannot be simulated.

    ``metrics`` are those of :attr:`Result.metrics` that need no spans; the others, and the
    timeline, come with :meth:`result`.
    """

    scenario: Scenario
    metrics: Mapping[str, Any]
    error: str = ""

    def result(self) -> Result:
        """Simulate the scenario in full."""
        return run(self.scenario)


def run_many(scenarios: Iterable[Scenario]) -> list[Outcome]:
    """Simulate many scenarios; operator costs, templates, routes and schedules are shared.

    One that cannot be simulated gets the sentence that :func:`flexsim.run` would raise.
    """
    batch = Batch()
    return [batch.run(scenario) for scenario in scenarios]


@dataclass(frozen=True)
class _Small:
    """The small pipeline that a long one is grown from."""

    degrees: Degrees
    layers: int
    sequences: int
    precision: str


class Batch:
    """Simulates scenarios one after the other and remembers what repeats."""

    def __init__(self) -> None:
        self._memo = Memo()
        self._kept: dict[Hashable, Any] = {}

    def run(self, scenario: Scenario) -> Outcome:
        """Return the outcome of one more scenario."""
        try:
            return Outcome(scenario, self._metrics(scenario))
        except FlexSimError as problem:
            return Outcome(scenario, {}, str(problem))

    def _metrics(self, scenario: Scenario) -> dict[str, Any]:
        key = _setting_key(scenario)
        setting = self._once(key, lambda: setting_of(scenario))
        sizes = sizes_of(scenario, setting)
        plan = self._grown(scenario, setting, sizes, key) if _may_grow(scenario, setting) else None
        if plan is None:
            return self._in_full(scenario)
        whole = self._whole(setting, scenario.training.precision, key)
        flops = self._once(("flops", key), lambda: whole.flops)
        facts = _facts(scenario, setting, sizes, (plan, whole, flops))
        return self._measured(plan, facts)

    def _once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what was made for ``key``, now or before."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(Value, self._kept[key])

    def _whole(self, setting: Setting, precision: str, key: Hashable) -> OperatorGraph:
        """Return the model with one sequence."""
        return self._once(("whole", key), lambda: build_model(setting.config, 1, precision))

    def _grown(
        self, scenario: Scenario, setting: Setting, sizes: Sizes, key: Hashable
    ) -> Plan | None:
        """Return the plan of a uniform pipeline, or None where it is not uniform."""
        degrees = degrees_of(scenario, sizes, setting.costs.software)
        small = _small(scenario, setting, degrees)
        if small is None:
            return None
        seed = self._once(("seed", key, small), lambda: _seed(setting, small))
        if isinstance(seed, str):
            return None
        site = self._once(("site", key, _place(degrees)), lambda: _site(setting, degrees))
        layers = setting.config.layers // (degrees.pipeline * degrees.chunks)
        grown = Grown(seed, site, layers)
        whole = self._whole(setting, scenario.training.precision, key)
        update = self._once(
            ("update", key, _update_key(degrees, small)),
            lambda: _update(setting, small, grown, whole),
        )
        if isinstance(update, str):
            return None
        with in_file(scenario.source, "strategy"), in_schedule(scenario, sizes):
            schedule = self._once(("schedule", _order(degrees)), lambda: _schedule(degrees))
        plan = grown_plan(grown, update, schedule, degrees.overlap_gradients)
        return plan if plan.templates.duration_ns.min(initial=1) > 0 else None

    def _measured(self, plan: Plan, facts: IterationFacts) -> dict[str, Any]:
        """Replay a plan by actions where that is exact, else task by task."""
        found = replay_contracted(plan, self._memo)
        if isinstance(found, str):
            return metrics(simulate(plan.task_graph()), facts)
        spans = (found.action_start_ns, found.action_end_ns)
        peak = peak_of_actions(plan.static_memory, plan.activation_memory, spans)
        num_tasks = plan.num_tasks
        return {
            **speed(found.makespan_ns, facts),
            **memory_metrics(peak, facts.memory_capacity_bytes),
            "num_devices": facts.num_devices,
            "num_tasks": num_tasks,
            "num_tasks_folded_away": plan.num_tasks_unfolded - num_tasks,
        }

    def _in_full(self, scenario: Scenario) -> dict[str, Any]:
        found = prepare(scenario)
        with in_file(scenario.source, "strategy"), in_schedule(scenario, found.sizes):
            plan = plan_task_graph(
                found.graph, found.strategy, found.devices, found.costs, scenario.strategy.fold
            )
        facts = facts_of(found.graph, found.strategy, found.devices, plan.hardware_flops)
        return self._measured(plan, facts)


def _setting_key(scenario: Scenario) -> Hashable:
    training = scenario.training
    things = (training.precision, training.software, training.optimizer)
    return ("setting", scenario.source, scenario.model, scenario.cluster, *things)


def _may_grow(scenario: Scenario, setting: Setting) -> bool:
    """Whether a pipeline may be uniform, as far as the scenario tells."""
    software, training = setting.costs.software, scenario.training
    adds_up = software.gradient_accumulation_bytes_per_parameter.get(training.precision, 0)
    return (
        scenario.strategy.fold
        and scenario.strategy.file is None
        and not adds_up
        and isinstance(setting.costs.communication, Communication)
        and len(set(setting.devices.device_types)) == 1
    )


def _small(scenario: Scenario, setting: Setting, degrees: Degrees) -> _Small | None:
    """Return the pipeline to grow from; None where layers or stages are not alike."""
    num_stages = degrees.pipeline * degrees.chunks
    layers, left_over = divmod(setting.config.layers, num_stages)
    if left_over or (degrees.pipeline == 1 and degrees.chunks > 1):
        return None
    small = replace(
        degrees,
        pipeline=1 if num_stages == 1 else 3,
        data=2,
        chunks=1,
        order=Degrees.order,
        schedule=Degrees.schedule,
        num_microbatches=1,
    )
    sequences = scenario.training.micro_batch * small.data
    blocks = min(layers, BLOCKS) * small.pipeline
    return _Small(small, blocks, sequences, scenario.training.precision)


def _seed(setting: Setting, small: _Small) -> Seed | str:
    config = replace(setting.config, layers=small.layers)
    graph = build_model(config, small.sequences, small.precision)
    costs = setting.costs
    strategy = megatron(graph, small.degrees)
    return build_seed(
        graph, strategy, costs.compute, costs.software, setting.devices.device_types[0]
    )


def _place(degrees: Degrees) -> Hashable:
    return degrees.tensor, degrees.pipeline, degrees.data, degrees.chunks, degrees.order


def _site(setting: Setting, degrees: Degrees) -> Site:
    devices = ranks_of_devices(degrees).reshape(degrees.pipeline, -1)
    communication = cast(Communication, setting.costs.communication)
    return Site(devices, degrees.chunks, degrees.data, communication)


def _update_key(degrees: Degrees, small: _Small) -> Hashable:
    return _place(degrees), replace(small.degrees, recompute="none")


def _update(
    setting: Setting, small: _Small, grown: Grown, whole: OperatorGraph
) -> GrownUpdate | str:
    return build_update(grown, whole, setting.devices, setting.costs, small.degrees)


def _order(degrees: Degrees) -> Hashable:
    shape = (degrees.pipeline, degrees.chunks, degrees.num_microbatches)
    return degrees.schedule, degrees.blocking_transfers, shape


def _schedule(degrees: Degrees) -> Schedule:
    shape = PipelineShape(degrees.pipeline, degrees.num_microbatches, degrees.chunks)
    schedule = build_schedule(degrees.schedule, shape)
    return replace(schedule, blocking_transfers=degrees.blocking_transfers)


def _facts(
    scenario: Scenario, setting: Setting, sizes: Sizes, built: tuple[Plan, OperatorGraph, int]
) -> IterationFacts:
    plan, whole, flops = built
    profile = load_device_profile(setting.devices.device_types[0])
    peak = profile.peak_flops_per_s(scenario.training.precision)
    sequences = scenario.training.global_batch
    return IterationFacts(
        num_devices=sizes.num_devices,
        sequences=sequences,
        tokens_per_sequence=whole.tokens_per_sequence,
        model_flops=float(flops * (sequences // sizes.num_microbatches)) * sizes.num_microbatches,
        hardware_flops=plan.hardware_flops,
        peak_flops_per_s=peak * sizes.num_devices,
        memory_capacity_bytes=profile.memory_capacity_bytes,
    )
