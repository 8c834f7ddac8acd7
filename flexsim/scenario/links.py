"""Facts about links of a simulated scenario, or why there are none."""

from __future__ import annotations

from dataclasses import replace

from flexsim.cost.chosen import plain
from flexsim.cost.collectives import Communication
from flexsim.network.lowered import Lowered
from flexsim.network.options import AUTO
from flexsim.scenario.prepare import setting_of
from flexsim.scenario.schema import Scenario
from flexsim.task_graph.plan import Plan
from flexsim.timeline.links import LinkFacts, link_facts
from flexsim.timeline.sharing import SharedTimeline
from flexsim.timeline.spans import Timeline


def lowered_links(lowered: Lowered, timeline: Timeline, communication: Communication) -> LinkFacts:
    """Return what the flows of a lowered graph did; ``timeline`` is that of ``lowered.graph``."""
    from flexsim.timeline.traffic import flow_traffic, paced_traffic

    paced = paced_traffic(lowered, timeline) if isinstance(timeline, SharedTimeline) else None
    graph = communication.device_graph
    return link_facts(graph, timeline.makespan_ns, flow_traffic(lowered, timeline), paced)


def links_of(scenario: Scenario, plan: Plan, timeline: Timeline) -> LinkFacts | str:
    """Return what messages that took their priced time did, or why that was not followed."""
    if plan.num_tasks_unfolded > plan.num_tasks or plan.templates.collective is None:
        return "not followed; --set strategy.fold=false follows every one"
    if scenario.cluster.measured_times is not None:
        return "not followed: measured times of messages say nothing of the links below them"
    from flexsim.timeline.message_traffic import message_traffic

    communication = plain(setting_of(scenario).costs.communication)
    told = replace(timeline, task_graph=replace(timeline.task_graph, collective=plan.collective))
    algorithm = scenario.simulation.collective_algorithm or AUTO
    traffic = message_traffic(told, communication, algorithm)
    if isinstance(traffic, str):
        return f"not followed: {traffic}"
    return link_facts(communication.device_graph, timeline.makespan_ns, traffic)
