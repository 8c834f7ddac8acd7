"""Many scenarios of software whose hosts run ahead and whose gradients are added up."""

from __future__ import annotations

import random
from itertools import product

import pytest
from small_gpt import small

import flexsim
from flexsim.engine.compiled import simulate
from flexsim.scenario.batch import Batch
from flexsim.scenario.runner import planned_in_full
from flexsim.scenario.schema import Scenario
from flexsim.timeline.metrics import metrics

SOFTWARE = ("megatron-deepspeed", "megatron-deepspeed-2022")
ORDERS = (("gpipe", 1), ("1f1b", 1), ("interleaved-1f1b", 2))
HIDDEN = (256, 2048, 4096)


def scenarios() -> list[Scenario]:
    """Return small and large models in all splits, of one microbatch and of many."""
    degrees = product((1, 2, 4), (1, 2, 4), (1, 2), ORDERS)
    choices = product(SOFTWARE, HIDDEN, ("none", "full"), ("fp16", "bf16"), (1, 9), (0, 1))
    found = []
    for (tensor, pipeline, data, (schedule, chunks)), choice in product(degrees, choices):
        software, hidden, recompute, precision, microbatches, zero = choice
        if pipeline == 1 < chunks:
            continue
        batch = 2 * data * microbatches * (pipeline if chunks > 1 else 1)
        content = small(
            model={"layers": 2 * pipeline * chunks, "hidden": hidden},
            cluster={"hosts": -(-tensor * pipeline * data // 8)},
            training={
                "global_batch": batch, "micro_batch": 2, "software": software,
                "recompute": recompute, "precision": precision,
            },
            strategy={
                "tensor": tensor, "pipeline": pipeline, "data": data, "chunks": chunks,
                "schedule": schedule, "zero": zero,
            },
        )  # fmt: skip
        content["cluster"]["devices"] = tensor * pipeline * data
        found.append(Scenario.from_dict(content, "small.toml"))
    return found


def in_full(scenario: Scenario) -> dict[str, object]:
    """Return the metrics of a full build, task by task."""
    plan, facts = planned_in_full(scenario)
    return metrics(simulate(plan.task_graph()), facts)


@pytest.mark.parametrize("software", SOFTWARE)
def test_a_sample_has_the_numbers_of_full_builds_and_takes_the_quick_way(software, monkeypatch):
    known = [each for each in scenarios() if each.training.software == software]
    sample = random.Random(3).sample(known, 10)
    expected = [in_full(each) for each in sample]
    monkeypatch.setattr("flexsim.scenario.batch.planned_in_full", None)
    monkeypatch.setattr("flexsim.scenario.batch.Nursery.grow", None)
    batch = Batch()
    for scenario, metrics_in_full in zip(sample, expected, strict=True):
        assert batch.run(scenario).metrics.items() <= metrics_in_full.items()


def test_grown_plans_have_the_numbers_of_full_builds_too(monkeypatch):
    known = [each for each in scenarios() if not each.strategy.zero]
    sample = random.Random(4).sample(known, 5)
    expected = [in_full(each) for each in sample]
    monkeypatch.setattr("flexsim.scenario.batch.planned_in_full", None)
    monkeypatch.setattr("flexsim.scenario.batch.Express.metrics", lambda *_: None)
    batch = Batch()
    for scenario, metrics_in_full in zip(sample, expected, strict=True):
        assert batch.run(scenario).metrics.items() <= metrics_in_full.items()


def test_one_microbatch_and_several_of_one_form_do_not_mix():
    changes = {"software": "megatron-deepspeed", "micro_batch": 1}
    batches = [{"global_batch": batch} for batch in (2, 8, 2, 4)]
    given = [Scenario.from_dict(small(training=changes | each), "small.toml") for each in batches]
    outcomes = flexsim.run_many(given)
    for outcome in outcomes:
        assert outcome.metrics.items() <= outcome.result().metrics.items()
    assert outcomes[0].metrics == outcomes[2].metrics


def test_models_that_differ_in_layers_alone_do_not_mix():
    given = [Scenario.from_dict(small(model={"layers": n}), "small.toml") for n in (4, 12, 8, 4)]
    outcomes = flexsim.run_many(given)
    for outcome in outcomes:
        assert outcome.metrics.items() <= outcome.result().metrics.items()
