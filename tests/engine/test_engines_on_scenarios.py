"""Both engines and contraction give equal spans on every shipped scenario.

Large ones have fewer microbatches.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
from shipped_scenarios import NAMES, NOT_CONTRACTED, ROOT, golden_path, skip_if_long

import flexsim
from flexsim.engine.contraction import replay_contracted
from flexsim.engine.table import load_engine
from flexsim.scenario.runner import planned
from flexsim.timeline.memory import action_spans_ns

MOST_TASKS = 150_000
"""A scenario of more tasks is shortened to about so many, with --all-scenarios."""
FEW_TASKS = 2_000
"""And without."""
UNEVEN = ("llama3-405b-16384xh100",)
"""Has a stage that is lighter than others, which a layer a stage does not give."""


def golden(name: str) -> dict[str, str]:
    with golden_path(name).open(newline="", encoding="utf-8") as stream:
        return next(csv.DictReader(stream))


def shortened(name: str, most: int) -> flexsim.Scenario:
    """Return a scenario of about ``most`` tasks with the pipeline it has, or all of it.

    It keeps a microbatch a pipeline rank, and a multiple of them, which interleaved schedules
    ask for. Where that is still too much, every stage gets a single layer.
    """
    path = ROOT / "scenarios" / f"{name}.toml"
    scenario, row = flexsim.load_scenario(path), golden(name)
    num_tasks, ranks = int(row["num_tasks"]), scenario.strategy.pipeline
    share = int(row["num_devices"]) // (scenario.strategy.tensor * ranks)
    share *= scenario.training.micro_batch
    num_microbatches = scenario.training.global_batch // share
    turn = 2 * ranks if scenario.strategy.schedule == "dualpipe" else ranks  # the fewest it takes
    fewer = max(1, num_microbatches * most // num_tasks // turn) * turn
    fewer = min(num_microbatches, fewer)
    changes = [f"training.global_batch={share * fewer}"]
    is_even = name not in UNEVEN and scenario.strategy.layers_per_stage is None
    if num_tasks * fewer > most * num_microbatches and is_even:
        changes.append(f"model.layers={ranks * scenario.strategy.chunks}")
    return flexsim.load_scenario(path, changes)


@pytest.mark.parametrize("name", NAMES)
def test_engines_give_equal_spans_on_every_scenario(name, request):
    skip_if_long(name, request.config)
    everything = request.config.getoption("--all-scenarios")
    scenario = shortened(name, MOST_TASKS if everything else FEW_TASKS)
    plan, _ = planned(scenario)
    compiled = load_engine("compiled")(plan.task_graph(), None)
    event = load_engine("event")(compiled.task_graph, None)
    assert np.array_equal(event.start_ns, compiled.start_ns)
    assert np.array_equal(event.end_ns, compiled.end_ns)
    assert compiled.makespan_ns > 0
    contracted = replay_contracted(plan)
    assert not isinstance(contracted, str) or contracted == NOT_CONTRACTED.get(name)
    if not isinstance(contracted, str):
        assert np.array_equal(contracted.timeline().start_ns, compiled.start_ns)
        assert np.array_equal(contracted.timeline().end_ns, compiled.end_ns)
        assert contracted.makespan_ns == compiled.makespan_ns
        spans = contracted.action_start_ns, contracted.action_end_ns
        for mine, theirs in zip(spans, action_spans_ns(compiled), strict=True):
            assert np.array_equal(mine, theirs)
