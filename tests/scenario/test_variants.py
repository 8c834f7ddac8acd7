"""Variants of a scenario: what a file with the same values gives, or the same complaint."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpt import small

from flexsim.errors import FlexSimError, ScenarioError
from flexsim.scenario.load import load_scenario
from flexsim.scenario.schema import Scenario
from flexsim.scenario.variants import Variants

VALUES: dict[str, list[Any]] = {
    "title": ["a", "", "two\nlines", 3],
    "model.layers": [4, 8, 0, "many", 8.0],
    "model.preset": ["gpt3-175b"],
    "cluster.hosts": [1, 2, True],
    "training.micro_batch": [1, 2, -1, 1.0, True],
    "training.recompute": ["none", "full", "some"],
    "training.recompute_layers": [1],
    "training.offload": [["optimizer"], ["weights"], []],
    "strategy.tensor": [1, 2, "2"],
    "strategy.file": ["other.json"],
    "strategy.sequence_parallel": [True, False, 1, 0],
    "strategy.layers_per_stage": [[4, 4], [2, -2], (1, 2)],
    "strategy.tensors": [1],
    "simulation.network": ["links", "fair"],
    "simulation.segment": ["4 MB", 4, "4 apples"],
    "published": [{"mfu": 0.5}, {"mfu": 2}, {}],
    "published.iteration_time": ["3 s", "-3 s"],
    "search.seed": [1],
    "plots.width": [1],
    "strategy": [{"name": "data"}, 5],
}

changes = st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 9), max_size=4).map(
    lambda drawn: {key: VALUES[key][number % len(VALUES[key])] for key, number in drawn.items()}
)


def told(make: Any) -> Scenario | str:
    try:
        return make()  # type: ignore[no-any-return]
    except FlexSimError as problem:
        return f"{type(problem).__name__}: {problem}"


def plain(values: dict[str, Any], source: str) -> Scenario:
    """Validate everything anew."""
    content = copy.deepcopy(small())
    for key, value in values.items():
        *tables, last = key.split(".")
        table = content
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = copy.deepcopy(value)
    return Scenario.from_dict(content, source)


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants.of("folder/small.toml", small())


@settings(max_examples=200, deadline=None)
@given(values=changes)
def test_a_variant_is_what_is_validated_anew(variants, values):
    if isinstance(values.get("strategy"), int) and any(k.startswith("strategy.") for k in values):
        return
    found = told(lambda: variants.scenario(values))
    expected = told(lambda: plain(values, "folder/small.toml"))
    assert found == expected
    if isinstance(found, Scenario):
        assert found.source == "folder/small.toml"
        assert found.keys() == expected.keys()
        assert found.strategy.model_fields_set == expected.strategy.model_fields_set
        assert type(found.strategy.sequence_parallel) is bool


def test_a_variant_is_what_a_changed_file_gives(tmp_path):
    path = tmp_path / "gpt.toml"
    path.write_text(
        '[model]\npreset = "gpt2-small"\n[cluster]\ndevice_graph = "dgx-a100"\n'
        '[training]\nglobal_batch = 8\n[strategy]\nname = "megatron"\n'
    )
    variants = Variants.of(path)
    assert variants.scenario({}) == load_scenario(path)
    for key, value in (("strategy.tensor", 2), ("training.global_batch", 16)):
        assert variants.scenario({key: value}) == load_scenario(path, [f"{key}={value}"])
    for key, value in (("strategy.tensor", 0), ("strategy.tensors", 2)):
        with pytest.raises(ScenarioError) as alone:
            load_scenario(path, [f"{key}={value}"])
        with pytest.raises(ScenarioError) as varied:
            variants.scenario({key: value})
        assert str(varied.value) == str(alone.value)


def test_equal_tables_are_one_object(variants):
    one, other = (variants.scenario({"strategy.tensor": 2, "title": t}) for t in ("a", "b"))
    assert one.strategy is other.strategy
    assert one.training is other.training
    assert (one.title, other.title) == ("a", "b")


def test_the_base_alone_need_not_be_valid_and_stays_as_it_is():
    base = small()
    del base["strategy"]["name"]
    before = copy.deepcopy(base)
    variants = Variants.of(None, base)
    assert variants.scenario({"strategy.name": "megatron"}).source == "scenario"
    with pytest.raises(ScenarioError, match=r"strategy\.name = 'megatron'"):
        variants.scenario({"strategy.tensor": 1})
    assert base == before


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("strategy..tensor", "write it as"),
        ("", "write it as"),
        ("strategy.tensor.ways", "tensor is not a table"),
    ],
)
def test_a_key_that_sets_nothing(variants, key, reason):
    with pytest.raises(ScenarioError, match=reason):
        variants.scenario({key: 1})


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr("flexsim.scenario.variants._MOST_TABLES", 3)
    variants = Variants.of("small.toml", small())
    for batch in range(8, 80, 8):
        found = variants.scenario({"training.global_batch": batch})
        assert found.training.global_batch == batch
        assert len(variants._tables) <= 3
