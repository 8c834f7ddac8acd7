"""From a scenario to its result: the one place that composes the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flexsim.cost.costs import Costs
from flexsim.cost.work import CostModel
from flexsim.device_graph import DeviceGraph
from flexsim.engine.event import Progress
from flexsim.engine.table import choose_engine, load_engine
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.checks import (
    in_file,
    in_schedule,
)
from flexsim.scenario.limits import (
    check_plan_memory,
    check_strategy_memory,
)
from flexsim.scenario.prepare import facts_of, prepare, setting_of, sizes_of
from flexsim.scenario.schema import PublishedTable, Scenario, SimulationTable
from flexsim.strategy import Strategy
from flexsim.task_graph.build import build_task_graph, plan_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.plan import Plan
from flexsim.timeline.metrics import IterationFacts, metrics
from flexsim.timeline.spans import Timeline


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
    contraction: str = ""
    """What the replay of whole actions saved, or why it was not exact."""
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
    plan, facts = planned(scenario, cost_model)
    check_plan_memory(scenario, plan)
    timeline, engine, contraction = replay(plan, scenario.simulation, progress)
    result = _measured(timeline, facts, engine)
    return replace(
        result,
        contraction=contraction,
        title=scenario.title or scenario.name,
        keys={**scenario.keys(), "simulation.engine": engine},
        detail=scenario.output.detail,
        published=scenario.published,
        scenario=scenario,
    )


def planned(scenario: Scenario, cost_model: CostModel | None = None) -> tuple[Plan, IterationFacts]:
    """Return the plan of a scenario and the facts of its iteration."""
    from flexsim.scenario.uniform import Nursery

    setting = setting_of(scenario, cost_model)
    uniform = Nursery().grow(scenario, setting, sizes_of(scenario, setting))
    if uniform is not None:
        return uniform.plan, uniform.facts
    return planned_in_full(scenario, cost_model)


def planned_in_full(
    scenario: Scenario, cost_model: CostModel | None = None
) -> tuple[Plan, IterationFacts]:
    """Return what :func:`planned` does, built operator by operator for every device."""
    found = prepare(scenario, cost_model)
    graph, devices, strategy = found.graph, found.devices, found.strategy
    check_strategy_memory(scenario, graph, strategy)
    with in_file(scenario.source, "strategy"), in_schedule(scenario, found.sizes):
        plan = plan_task_graph(graph, strategy, devices, found.costs, scenario.strategy.fold)
    return plan, facts_of(graph, strategy, devices, plan.hardware_flops)


def replay(
    plan: Plan, table: SimulationTable, progress: Progress | None = None
) -> tuple[Timeline, str, str]:
    """Return the timeline of a plan, the engine that replayed it, and how it was contracted.

    Only the compiled engine contracts; the sentence is empty where nothing was to be contracted.
    """
    engine = choose_engine(table.engine, plan.num_tasks)
    if engine != "compiled" or table.contract is False:
        return load_engine(engine)(plan.task_graph(), progress), engine, ""
    from flexsim.engine.contraction import replay_contracted

    found = replay_contracted(plan)
    if isinstance(found, str):
        return load_engine(engine)(plan.task_graph(), progress), engine, f"not done: {found}"
    sentence = f"{found.num_replayed:,} actions and tasks replayed for {plan.num_tasks:,} tasks"
    return found.timeline(), engine, sentence


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
    facts = facts_of(operators, strategy, devices, task_graph.hardware_flops)
    return replace(_measured(timeline, facts, chosen), title=operators.name)


def _measured(timeline: Timeline, facts: IterationFacts, engine: str) -> Result:
    capacity_bytes = facts.memory_capacity_bytes
    return Result(metrics(timeline, facts), timeline, timeline.task_graph, capacity_bytes, engine)
