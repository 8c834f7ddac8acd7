"""What the picture of a strategy shows: repeated blocks and unrolled steps once."""

from __future__ import annotations

from small_search import content

from flexsim.plotting.search_strategy import representatives, save_strategy_picture, strategy_table
from flexsim.scenario.schema import Scenario
from flexsim.search.arrangement import arranged
from flexsim.search.problem import make_problem


def recurrent(steps=10, **model):
    """Return the graph and the data parallel strategy of a small recurrent network."""
    table = {"name": "rnnlm", "layers": 2, "hidden": 16, "vocabulary": 32, "sequence": steps}
    one = Scenario.from_dict({**content(), "model": {**table, **model}}, "steps.toml")
    problem = make_problem(one)
    return problem.graph, problem.base


def with_config(problem, name, config):
    graph, strategy = problem
    configs = {**strategy.configs, name: config}
    return graph, type(strategy)(**{**vars(strategy), "configs": configs})


def test_unrolled_steps_and_alike_layers_are_one_box_each():
    table = strategy_table(*recurrent()).set_index("operator")
    assert table.index.tolist()[:2] == ["word_embedding0", "layer0.step0"]
    assert table.loc["word_embedding0", "repeats"] == 10
    assert table.loc["softmax0", "repeats"] == 10
    assert table["repeats"].sum() == len(recurrent()[0].operators)
    assert len(table) < 10


def test_few_steps_are_shown_apart():
    table = strategy_table(*recurrent(steps=3))
    assert {"word_embedding0", "word_embedding1", "word_embedding2"} <= set(table["operator"])


def test_what_is_cut_otherwise_is_shown_for_itself():
    whole = arranged({}, [1])
    graph, strategy = with_config(recurrent(), "softmax4", whole)
    shown = representatives(graph, strategy)
    assert shown["softmax4"] == "softmax4"
    assert shown["softmax5"] == shown["softmax3"] == "softmax0"


def test_readers_stand_deeper_than_what_they_read():
    table = strategy_table(*recurrent()).set_index("operator")
    places = [table.loc[n, "depth"] for n in ("word_embedding0", "layer0.step0", "softmax0")]
    assert places == sorted(set(places))
    assert not table.duplicated(["depth", "lane"]).any()


def test_the_picture_is_written(tmp_path):
    path = save_strategy_picture(*recurrent(), tmp_path / "strategy.png")
    assert path.read_bytes().startswith(b"\x89PNG")
