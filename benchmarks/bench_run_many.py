"""How many configurations a second ``run_many`` simulates.

All splits of GPT-3 on 64 devices, and a sweep of ten thousand configurations on up to 1,024. In
the sweep every configuration is made and dropped in turn, as in a long sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from gpt3_sweep import shuffled, sweep
from graphs import scenario_path

import flexsim
from flexsim.scenario.batch import Batch
from flexsim.scenario.variants import Variants

NUM_DEVICES = 64
POWERS = (1, 2, 4, 8, 16, 32)
"""Degrees: those that divide 64 devices, 96 layers and 96 heads."""
RECOMPUTE = ("none", "selective", "full")


def splits() -> Iterator[flexsim.Scenario]:
    """Yield every (tensor, pipeline, data, micro-batch, recompute) split."""
    given = flexsim.load_scenario(scenario_path("gpt3-175b-64xa100"))
    for tensor, pipeline in product(POWERS, POWERS):
        data, left_over = divmod(NUM_DEVICES, tensor * pipeline)
        if not data or left_over:
            continue
        degrees = {"tensor": tensor, "pipeline": pipeline, "data": data, "chunks": 1}
        strategy = given.strategy.model_copy(update=degrees)
        for micro_batch, recompute in product((1, *POWERS[1:], 64), RECOMPUTE):
            if given.training.global_batch % (data * micro_batch):
                continue
            update = {"micro_batch": micro_batch, "recompute": recompute}
            training = given.training.model_copy(update=update)
            yield given.model_copy(update={"strategy": strategy, "training": training})


def test_all_splits_of_gpt3(measure: Callable[..., Any]) -> None:
    """Time one call over all splits, the compiled code loaded and nothing else kept."""
    scenarios = list(splits())
    flexsim.run_many(scenarios[:1])
    facts = {"what": "run_many", "count": len(scenarios), "unit": "configurations"}
    facts["kept"] = "nothing"
    outcomes = measure(flexsim.run_many, scenarios, **facts)
    assert [outcome.error for outcome in outcomes] == [""] * len(scenarios)


def test_all_splits_of_gpt3_again(measure: Callable[..., Any]) -> None:
    """Time the same splits with twice the batch after those with a single one."""
    scenarios = list(splits())
    batch = Batch()
    for scenario in scenarios:
        batch.run(scenario)
    doubled = [with_twice_the_batch(scenario) for scenario in scenarios]
    facts = {"what": "run_many", "count": len(doubled), "unit": "configurations"}
    facts["kept"] = "the same splits with half the batch"
    found = measure(lambda: [batch.run(scenario) for scenario in doubled], rounds=1, **facts)
    assert [outcome.error for outcome in found] == [""] * len(found)


ORDERS = {"in order": lambda settings: settings, "shuffled": shuffled}


@pytest.mark.parametrize("order", ORDERS)
def test_sweep_of_gpt3(measure: Callable[..., Any], order: str) -> None:
    """Time a sweep of ten thousand configurations, the compiled code loaded and nothing kept."""
    variants = Variants.of(scenario_path("gpt3-175b-64xa100"))
    settings = ORDERS[order](sweep())
    flexsim.run_many([variants.scenario(settings[0])])
    facts = {"what": "run_many", "count": len(settings), "unit": "configurations"}
    facts["kept"] = f"nothing; the sweep {order}"
    errors = measure(lambda: _errors(variants, settings), rounds=1, **facts)
    assert errors == 0


def _errors(variants: Variants, settings: list[dict[str, Any]]) -> int:
    batch = Batch()
    return sum(bool(batch.run(variants.scenario(values)).error) for values in settings)


def with_twice_the_batch(scenario: flexsim.Scenario) -> flexsim.Scenario:
    """Return a scenario with twice the sequences an iteration."""
    update = {"global_batch": scenario.training.global_batch * 2}
    return scenario.model_copy(update={"training": scenario.training.model_copy(update=update)})
