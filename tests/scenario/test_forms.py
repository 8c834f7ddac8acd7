"""Forms of scenarios: found by numbers of their tables, and whatever came before, the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpt import small

from flexsim.errors import FlexSimError
from flexsim.scenario import forms
from flexsim.scenario.batch import Batch
from flexsim.scenario.forms import Forms, Numbers
from flexsim.scenario.prepare import setting_of, sizes_of, sizes_of_batch
from flexsim.scenario.schema import Scenario


def scenario(**changes: dict[str, object]) -> Scenario:
    return Scenario.from_dict(small(**changes), "small.toml")


def test_equal_tables_have_one_number():
    numbers = Numbers()
    first, again, other = scenario(), scenario(), scenario(strategy={"tensor": 1, "data": 4})
    assert numbers.of(first.strategy) == numbers.of(again.strategy)
    assert numbers.of(first.strategy) != numbers.of(other.strategy)
    assert numbers.of(first.strategy) != numbers.of(first.training)


def test_what_is_given_differs_from_what_is_so_by_default():
    numbers = Numbers()
    silent, told = scenario(), scenario(strategy={"gradient_norm": True})
    assert silent.strategy.gradient_norm is told.strategy.gradient_norm
    assert numbers.of(silent.strategy) != numbers.of(told.strategy)


def test_keys_that_make_no_difference_are_left_out():
    numbers = Numbers(but=frozenset({"global_batch"}))
    few, many, other = (
        scenario(training=each).training
        for each in ({"global_batch": 8}, {"global_batch": 16}, {"recompute": "full"})
    )
    assert numbers.of(few) == numbers.of(many)
    assert numbers.of(few) != numbers.of(other)


def test_forgotten_numbers_are_not_given_again(monkeypatch):
    monkeypatch.setattr(forms, "_MOST_TABLES", 2)
    numbers = Numbers()
    tables = [scenario(training={"global_batch": 8 * each}).training for each in range(1, 6)]
    assert len({numbers.of(table) for table in tables}) == 5
    assert numbers.of(tables[-1]) == numbers.of(tables[-1])


def told(work):
    """Return what a function returns, or the sentence that it raises."""
    try:
        return work()
    except FlexSimError as problem:
        return str(problem)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]),
    st.sampled_from([8, 10_000_019 * 8]),
)
def test_sizes_of_another_batch_are_those_worked_out_in_full(batch, micro, degrees, times):
    strategy = {"tensor": degrees[0], "pipeline": degrees[1], "data": 2, "chunks": 1}
    first = scenario(strategy=strategy, training={"global_batch": 8, "micro_batch": 1})
    training = {"global_batch": min(batch * times, 2**31 - 1), "micro_batch": micro}
    other = scenario(strategy=strategy, training=training)
    setting = setting_of(first)
    sizes = sizes_of(first, setting)
    expected = told(lambda: sizes_of(other, setting))
    assert told(lambda: sizes_of_batch(other, setting, sizes)) == expected


def test_a_form_is_made_once():
    asked: list[Scenario] = []
    found = Forms(lambda each: asked.append(each) or setting_of(each))
    numbers = {
        found.of(scenario(training={"global_batch": batch, "micro_batch": micro}))[0].number
        for batch in (16, 32)
        for micro in (1, 2)
    }
    assert len(numbers) == len(asked) == 1


def changed() -> list[dict[str, dict[str, object]]]:
    """Return changes of which some cannot be simulated and some take the long way."""
    return [
        {"strategy": {"pipeline": pipeline, "data": 2, "chunks": 1, **strategy}, "training": train}
        for pipeline in (1, 2, 4)
        for strategy in ({}, {"schedule": "gpipe"}, {"zero": 1}, {"gradient_norm": False})
        for train in (
            {"global_batch": 16},
            {"global_batch": 18, "micro_batch": 2},
            {"global_batch": 16, "micro_batch": 4, "recompute": "full"},
        )
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_came_before_makes_no_difference(seed):
    rng = random.Random(seed)
    scenarios = [scenario(**each) for each in rng.sample(changed(), 14)]
    batch = Batch()
    kept = [batch.run(each) for each in scenarios]
    again = [batch.run(each) for each in reversed(scenarios)][::-1]
    for one, two in zip(kept, again, strict=True):
        assert (one.metrics, one.error) == (two.metrics, two.error)
    for outcome in kept[::3]:
        alone = Batch().run(outcome.scenario)
        assert (outcome.metrics, outcome.error) == (alone.metrics, alone.error)


def test_metrics_of_one_scenario_may_be_changed_without_harm():
    batch = Batch()
    first = batch.run(scenario()).metrics
    for stage in first["peak_memory_bytes_per_stage"]:
        stage.clear()
    again = batch.run(scenario()).metrics
    assert all(stage["total"] for stage in again["peak_memory_bytes_per_stage"])
