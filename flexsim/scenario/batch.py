"""Many scenarios at once: what repeats among them is computed once.

A uniform pipeline is put together from a small one and replayed action by action; both give the
iteration time and the memory of the full task graph, to the nanosecond and the byte. Whatever
is not uniform takes the long way through the same stages as :func:`flexsim.run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flexsim.engine.compiled import simulate
from flexsim.engine.contraction import Memo, replay_contracted
from flexsim.errors import FlexSimError
from flexsim.scenario.express import Express
from flexsim.scenario.forms import Forms
from flexsim.scenario.prepare import Setting, setting_of
from flexsim.scenario.runner import Result, planned_in_full, run
from flexsim.scenario.schema import Scenario
from flexsim.scenario.uniform import Nursery, setting_key
from flexsim.task_graph.plan import Plan
from flexsim.timeline.memory import peak_of_actions
from flexsim.timeline.metrics import IterationFacts, memory_metrics, metrics, speed


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


class Batch:
    """Simulates scenarios one after the other and remembers what repeats."""

    def __init__(self) -> None:
        self._memo = Memo()
        self._nursery = Nursery()
        self._forms = Forms(self._setting)
        self._express = Express()

    def run(self, scenario: Scenario) -> Outcome:
        """Return the outcome of one more scenario."""
        try:
            return Outcome(scenario, self._metrics(scenario))
        except FlexSimError as problem:
            return Outcome(scenario, {}, str(problem))

    def _setting(self, scenario: Scenario) -> Setting:
        return self._nursery.once(setting_key(scenario), lambda: setting_of(scenario))

    def _metrics(self, scenario: Scenario) -> dict[str, Any]:
        if scenario.simulation.network != "analytic":
            return dict(run(scenario).metrics)
        form, sizes = self._forms.of(scenario)
        found = self._express.metrics(scenario, form, sizes)
        if found is not None:
            return found
        uniform = self._nursery.grow(scenario, form.setting, sizes)
        if uniform is None:
            return self._measured(*planned_in_full(scenario))
        return self._measured(uniform.plan, uniform.facts)

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
            **memory_metrics(
                replace(peak, rank=plan.rank_of_device),
                facts.memory_capacity_bytes,
                peak.moment(plan.actions.table, plan.operator_names),
            ),
            "num_devices": facts.num_devices,
            "num_tasks": num_tasks,
            "num_tasks_folded_away": plan.num_tasks_unfolded - num_tasks,
        }
