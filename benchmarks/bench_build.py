"""How many tasks a second are built: from a plan by tiling, and from a scenario's keys on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from graphs import PLANS, num_tasks, planned

from flexsim.task_graph.columns import TaskGraph


@pytest.mark.parametrize("name", PLANS)
def test_plan_to_task_graph(
    name: str, measure: Callable[..., Any], most: Callable[..., None]
) -> None:
    """Time the tiling of templates."""
    most(num_tasks(name))
    plan = planned(name)
    plan.task_graph()
    facts = {"what": "build", "graph": name, "from": "plan", "size": 0}
    graph = measure(plan.task_graph, count=num_tasks(name), unit="tasks", **facts)
    assert graph.num_tasks == num_tasks(name)


@pytest.mark.parametrize("name", PLANS)
def test_scenario_to_task_graph(
    name: str, measure: Callable[..., Any], most: Callable[..., None]
) -> None:
    """Time everything before the replay: cluster, model, strategy, plan and tiling."""
    most(num_tasks(name))

    def build() -> TaskGraph:
        return PLANS[name]().task_graph()

    facts = {"what": "build", "graph": name, "from": "scenario", "size": 0}
    graph = measure(build, count=num_tasks(name), unit="tasks", **facts)
    assert graph.num_tasks == num_tasks(name)
