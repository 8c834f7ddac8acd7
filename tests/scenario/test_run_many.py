"""Many scenarios at once: the numbers of each alone, and one sentence for those that cannot be."""

from __future__ import annotations

from itertools import product

import pytest
from small_gpt import small

import flexsim
from flexsim.scenario import batch
from flexsim.scenario.schema import Scenario


def scenario(**changes: dict[str, object]) -> Scenario:
    return Scenario.from_dict(small(**changes), "small.toml")


def variants() -> list[Scenario]:
    """Every split of eight devices, micro-batch and recomputation; some do not divide."""
    found = []
    degrees = product((1, 2, 4, 8), (1, 2, 4), (1, 2), ("none", "selective", "full"))
    for tensor, pipeline, micro_batch, recompute in degrees:
        if 8 % (tensor * pipeline):
            continue
        strategy = {"tensor": tensor, "pipeline": pipeline, "data": 8 // (tensor * pipeline)}
        training = {"micro_batch": micro_batch, "recompute": recompute, "global_batch": 16}
        found.append(scenario(strategy=strategy | {"chunks": 1}, training=training))
    return found


def test_every_split_has_the_numbers_that_it_has_alone():
    given = variants()
    outcomes = flexsim.run_many(given)
    assert [outcome.scenario for outcome in outcomes] == given
    assert sum(not outcome.error for outcome in outcomes) >= 40
    for outcome in outcomes[::3]:
        if outcome.error:
            continue
        alone = flexsim.run(outcome.scenario).metrics
        assert outcome.metrics.items() <= alone.items()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"strategy": {"tensor": 3}}, "strategy.tensor = 3"),
        ({"training": {"global_batch": 7}}, "training.global_batch = 7"),
        ({"cluster": {"device_graph": "dgx-a1000"}}, "dgx-a1000"),
    ],
)
def test_one_that_cannot_be_simulated_tells_why_and_stops_no_other(changes, told):
    wrong, right = scenario(**changes), scenario()
    first, second = flexsim.run_many([wrong, right])
    assert told in first.error
    assert not first.metrics
    with pytest.raises(flexsim.FlexSimError) as alone:
        first.result()
    assert str(alone.value) == first.error
    assert second.metrics["iteration_time_s"] == second.result().metrics["iteration_time_s"]


def test_what_cannot_be_grown_or_contracted_is_replayed_in_full(monkeypatch):
    expected = flexsim.run_many([scenario()])[0].metrics
    monkeypatch.setattr(batch, "replay_contracted", lambda *_: "not today")
    by_tasks = flexsim.run_many([scenario()])[0].metrics
    assert expected.items() <= by_tasks.items()
    monkeypatch.setattr(batch.Nursery, "grow", lambda *_: None)
    in_full = flexsim.run_many([scenario()])[0].metrics
    assert in_full == by_tasks


def test_an_unfolded_scenario_and_another_strategy_take_the_long_way():
    unfolded = scenario(strategy={"fold": False})
    data = scenario(strategy={"name": "data", "tensor": 1, "pipeline": 1, "chunks": 1, "data": 8})
    for given in (unfolded, data):
        (outcome,) = flexsim.run_many([given])
        alone = flexsim.run(given).metrics
        for key in ("iteration_time_s", "peak_memory_bytes", "num_tasks", "mfu", "hfu"):
            assert outcome.metrics[key] == alone[key]
