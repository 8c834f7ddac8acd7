"""Scenarios on a network of links: flows in the place of priced communication."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flexsim.cost.collectives import Communication
from flexsim.engine.event import Progress
from flexsim.engine.table import choose_engine, load_engine
from flexsim.network.lowered import Lowered
from flexsim.network.options import AUTO, CUT_THROUGH, NetworkOptions
from flexsim.scenario.checks import in_file
from flexsim.scenario.free_memory import free_bytes
from flexsim.scenario.schema import Scenario, SimulationTable
from flexsim.task_graph.plan import Plan
from flexsim.timeline.raised import raised
from flexsim.timeline.spans import Timeline


@dataclass(frozen=True, eq=False)
class FlowRun:
    """A replay on a network of links: the spans of tasks, and those of the flows below them.

    ``flows`` is the timeline of ``lowered.graph``; ``engine`` replayed it.
    """

    timeline: Timeline
    lowered: Lowered
    flows: Timeline
    engine: str

    @property
    def sentence(self) -> str:
        """What was replayed, in a few words."""
        return (
            f"{self.lowered.num_flows:,} flows over links, {self.flows.task_graph.num_tasks:,} rows"
        )


def options_of(table: SimulationTable) -> NetworkOptions:
    """Return how a scenario's communication runs over links."""
    return NetworkOptions(
        algorithm=table.collective_algorithm or AUTO,
        segment_bytes=table.segment,
        forwarding=table.forwarding or CUT_THROUGH,
        memory_bytes=free_bytes(),
    )


def replay_flows(
    scenario: Scenario,
    plan: Plan,
    communication: Communication,
    progress: Progress | None = None,
) -> FlowRun:
    """Return the replay of an unfolded plan, built in full, on the scenario's network.

    Raise :class:`~flexsim.errors.ScenarioError` where its flows would not fit in memory.
    """
    from flexsim.engine.compiled import simulate
    from flexsim.network.lower import Lowering

    table = scenario.simulation
    is_held = table.network == "links"
    graph = replace(plan.task_graph(), collective=plan.collective)
    with in_file(scenario.source, f"simulation.network = {table.network!r}"):
        lowering = Lowering(graph, communication, options_of(table))
        lowering.check(is_held)
    lowered = lowering.lowered(is_held, simulate(graph).start_ns)
    flows, engine = _replayed(lowered, table, progress)
    return FlowRun(raised(lowered, flows), lowered, flows, engine)


def _replayed(
    lowered: Lowered, table: SimulationTable, progress: Progress | None
) -> tuple[Timeline, str]:
    if table.network == "fair":
        from flexsim.engine.fair import simulate_fair

        return simulate_fair(lowered, progress), "event"
    engine = choose_engine(table.engine, lowered.graph.num_tasks)
    return load_engine(engine)(lowered.graph, progress), engine
