"""From a scenario to its result: the one place that composes the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexsim.cost.chosen import plain
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
    why_unfolded,
)
from flexsim.scenario.links import links_of, lowered_links
from flexsim.scenario.measured_order import order_of
from flexsim.scenario.networks import FlowRun, replay_flows
from flexsim.scenario.prepare import Prepared, facts_of, prepare, setting_of, sizes_of
from flexsim.scenario.schema import PublishedTable, Scenario, SimulationTable
from flexsim.strategy import Strategy
from flexsim.task_graph.build import OFF, build_task_graph, plan_task_graph
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.inference import has_backward
from flexsim.task_graph.plan import Plan
from flexsim.timeline.links import LinkFacts
from flexsim.timeline.metrics import IterationFacts, metrics
from flexsim.timeline.spans import Timeline

if TYPE_CHECKING:
    from flexsim.timeline.critical_path import CriticalPath
    from flexsim.timeline.waterfall import Waterfall


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
    facts: IterationFacts
    """What the timeline does not know of its iteration."""
    contraction: str = ""
    """What the replay of whole actions saved, or why it was not exact."""
    title: str = "flexsim"
    keys: Mapping[str, object] = field(default_factory=dict)
    detail: str = "auto"
    published: PublishedTable | None = None
    scenario: Scenario | None = None
    links: LinkFacts | str = "not followed"
    """What the links did, or why that was not followed."""
    flow_run: FlowRun | None = None
    """The flows below the timeline, where the network is one of links."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how the iteration was planned."""
        return self.facts.notes

    @property
    def network(self) -> str:
        """What was replayed on a network of links; empty where messages took a priced time."""
        return self.flow_run.sentence if self.flow_run else ""

    @property
    def samples(self) -> str:
        """What the batch is made of: sequences, images, or samples of another kind."""
        from flexsim.models.selection import samples_of

        model = self.scenario.model if self.scenario else None
        return samples_of(model.name, model.preset) if model else "samples"

    def waterfall(self) -> Waterfall:
        """Return what leads from ideal compute time to the iteration time, in exact steps."""
        from flexsim.scenario.explain import waterfall_of

        return waterfall_of(self)

    def critical_path(self) -> CriticalPath:
        """Return the tasks that the iteration time is made of, one after the other."""
        from flexsim.scenario.explain import critical_path_of

        return critical_path_of(self)

    def save(self, directory: str | Path) -> list[Path]:
        """Write metrics.csv, timeline.csv, trace.json, bubbles.csv, .png and .svg, summary.json.

        Where memory is known, memory.csv and memory.png; where links were followed, links.csv
        and links.png. Return the paths of all. The directory is made if need be and never
        emptied; each file is written whole, summary.json last.
        """
        from flexsim.plotting.bubbles import save_bubbles
        from flexsim.plotting.bubbles_file import write_bubbles
        from flexsim.scenario.summary import write_run_summary
        from flexsim.timeline.export import write_metrics, write_timeline
        from flexsim.timeline.trace import write_trace

        folder = Path(directory)
        csv, table, trace = (folder / n for n in ("metrics.csv", "timeline.csv", "trace.json"))
        write_metrics(csv, dict(self.keys), dict(self.metrics))
        write_timeline(table, self.timeline, self.detail)
        write_trace(trace, self.timeline, self.detail)
        bars = write_bubbles(folder / "bubbles.csv", self.timeline)
        pictures = save_bubbles(self.timeline, dict(self.metrics), self.title, folder)
        further = [*self._save_memory(folder), *self._save_links(folder)]
        summary = write_run_summary(folder, self, [bars, *further])
        return [csv, table, trace, bars, *pictures, *further, summary]

    def _save_memory(self, folder: Path) -> list[Path]:
        """Write what stages hold against time, where that is known."""
        from flexsim.timeline.memory_series import memory_series

        series = memory_series(self.timeline)
        if series is None or not series.devices:
            return []
        from flexsim.plotting.memory import save_memory
        from flexsim.timeline.export import write_memory

        write_memory(folder / "memory.csv", series)
        picture = folder / "memory.png"
        return [
            folder / "memory.csv",
            save_memory(series, self.memory_capacity_bytes, self.title, picture),
        ]

    def _save_links(self, folder: Path) -> list[Path]:
        if isinstance(self.links, str):
            return []
        from flexsim.plotting.links import save_link_picture
        from flexsim.timeline.export import write_links

        paths = [folder / "links.csv", folder / "links.png"]
        write_links(paths[0], self.links)
        save_link_picture(self.links, self.title, paths[1])
        return paths


def run(
    scenario: Scenario, cost_model: CostModel | None = None, progress: Progress | None = None
) -> Result:
    """Simulate one training iteration of a scenario.

    ``cost_model`` prices kernels in place of the device profiles; ``progress`` is told how far
    the replay is. Raise a :class:`FlexSimError` in one sentence where the scenario cannot be
    simulated.
    """
    simulated = _run_priced if scenario.simulation.network == "analytic" else _run_flows
    result = simulated(scenario, cost_model, progress)
    return replace(
        result,
        title=scenario.title or scenario.name,
        keys={**scenario.keys(), "simulation.engine": result.engine},
        detail=scenario.output.detail,
        published=scenario.published,
        scenario=scenario,
    )


def _run_priced(
    scenario: Scenario, cost_model: CostModel | None, progress: Progress | None
) -> Result:
    """Simulate a scenario whose messages take their priced time."""
    plan, facts = planned(scenario, cost_model)
    check_plan_memory(scenario, plan)
    timeline, engine, contraction = replay(plan, scenario.simulation, progress)
    result = _measured(timeline, facts, engine)
    return replace(result, links=links_of(scenario, plan, timeline), contraction=contraction)


def _run_flows(
    scenario: Scenario, cost_model: CostModel | None, progress: Progress | None
) -> Result:
    """Simulate a scenario whose messages are flows over links."""
    found = prepare(scenario, cost_model)
    plan, facts = _planned(scenario, found)
    check_plan_memory(scenario, plan)
    communication = plain(found.costs.communication)
    flow_run = replay_flows(scenario, plan, communication, progress)
    return replace(
        _measured(flow_run.timeline, facts, flow_run.engine),
        links=lowered_links(flow_run.lowered, flow_run.flows, communication),
        flow_run=flow_run,
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
    return _planned(scenario, prepare(scenario, cost_model))


def _planned(scenario: Scenario, found: Prepared) -> tuple[Plan, IterationFacts]:
    graph, devices, strategy = found.graph, found.devices, found.strategy
    check_strategy_memory(scenario, graph, strategy)
    folds = not why_unfolded(scenario)
    with in_file(scenario.source, "strategy"), in_schedule(scenario, found.sizes):
        order = order_of(scenario, found)
        plan = plan_task_graph(graph, strategy, devices, found.costs, folds, order)
    if not folds:
        plan = replace(plan, folding=plan.folding.replace(OFF, why_unfolded(scenario)))
    facts = facts_of(graph, strategy, devices, plan.hardware_flops)
    if not has_backward(plan.schedule):
        facts = replace(facts, model_flops=plan.hardware_flops)
    return plan, replace(facts, notes=found.notes)


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
    numbers, graph = metrics(timeline, facts), timeline.task_graph
    return Result(numbers, timeline, graph, capacity_bytes, engine, facts)
