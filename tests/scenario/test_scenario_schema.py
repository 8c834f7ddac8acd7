import math
from pathlib import Path

import pytest
from scenario_content import GPT3, GPT3_TOML, LEFT_OUT, changed

from flexsim.errors import ScenarioError
from flexsim.scenario.load import load_scenario
from flexsim.scenario.schema import Scenario

WRONG = [
    ("model.preset", LEFT_OUT, ["model", "preset = 'gpt3-175b'"]),
    ("strategy.tensr", 4, ["strategy.tensr", "did you mean 'tensor'?"]),
    ("modle", {}, ["modle", "did you mean 'model'?"]),
    ("training", LEFT_OUT, ["the key training is missing"]),
    ("training.global_batch", LEFT_OUT, ["the key training.global_batch is missing"]),
    ("strategy.tensor", 0, ["strategy.tensor = 0", "greater than or equal to 1"]),
    ("strategy.tensor", -8, ["strategy.tensor = -8", "greater than or equal to 1"]),
    ("strategy.tensor", "8", ["strategy.tensor = '8'", "integer"]),
    ("strategy.tensor", True, ["strategy.tensor = True", "integer"]),
    ("cluster.hosts", 2.5, ["cluster.hosts = 2.5", "integer"]),
    ("strategy.fold", 1, ["strategy.fold = 1", "boolean"]),
    ("strategy.name", "", ["strategy.name = ''"]),
    ("training.precision", "fp61", ["training.precision = 'fp61'", "did you mean 'fp16'?"]),
    ("training.recompute", "some", ["training.recompute = 'some'", "none, selective"]),
    ("simulation.engine", "fast", ["simulation.engine = 'fast'", "choose from compiled, event"]),
    ("simulation.network", "packets", ["simulation.network = 'packets'", "choose from analytic"]),
    ("output.detail", "all", ["output.detail = 'all'", "choose from auto, operators"]),
    ("published.iteration_time", "13.75", ["published.iteration_time", "'13.75 s'"]),
    ("published.iteration_time", "13.75 GB", ["published.iteration_time", "'13.75 GB'"]),
    ("published.iteration_time", 13.75, ["published.iteration_time", "13.75"]),
    ("published.iteration_time", "-3 s", ["published.iteration_time = '-3 s'", "above zero"]),
    ("published.mfu", 51.4, ["published.mfu = 51.4", "less than or equal to 1"]),
    ("published.mfu", math.nan, ["published.mfu = nan", "finite"]),
    ("published.tokens_per_s", math.inf, ["published.tokens_per_s = inf", "finite"]),
    ("model", "gpt", ["model = 'gpt'", "a table"]),
]


@pytest.mark.parametrize(("key", "value", "told"), WRONG)
def test_a_wrong_key_or_value_is_told_in_one_sentence(key, value, told):
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_dict(changed(key, value), "my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    assert "\n" not in message
    assert all(part in message for part in told), message


def test_what_is_left_out_has_its_default():
    scenario = Scenario.from_dict(GPT3, "some/where/gpt3.toml")
    assert scenario.name == "gpt3"
    assert scenario.directory == Path("plots/gpt3")
    assert scenario.training.precision == "fp16"
    assert scenario.strategy.data is None
    assert scenario.strategy.order == "tensor,data,pipeline"
    assert scenario.published is None


@pytest.mark.parametrize(
    ("pipeline", "chunks", "given", "chosen"),
    [
        (8, 3, None, "interleaved-1f1b"),
        (8, 1, None, "1f1b"),
        (1, 1, None, "1f1b"),
        (8, 1, "gpipe", "gpipe"),
    ],
)
def test_the_schedule_follows_from_pipeline_and_chunks(pipeline, chunks, given, chosen):
    content = changed("strategy.pipeline", pipeline)
    content["strategy"] |= {"chunks": chunks} | ({"schedule": given} if given else {})
    assert Scenario.from_dict(content).strategy.chosen_schedule == chosen


def test_published_times_are_seconds():
    published = {"iteration_time": "13750 ms", "forward_time": "7.7 ms", "mfu": 0.514}
    read = Scenario.from_dict(changed("published", published)).published
    assert (read.iteration_time_s, read.forward_time_s, read.mfu) == (13.75, 0.0077, 0.514)


def test_sizes_of_the_model_are_what_was_given_beside_its_name():
    content = changed("model", {"preset": "gpt3-175b", "layers": 48, "tied_embedding": False})
    assert Scenario.from_dict(content).model.sizes == {"layers": 48, "tied_embedding": False}


def test_a_scenario_is_frozen():
    scenario = Scenario.from_dict(GPT3)
    with pytest.raises(ValueError, match="frozen"):
        scenario.title = "another"


def test_keys_are_flat():
    keys = Scenario.from_dict(GPT3).keys()
    assert keys["title"] == "GPT-3 on 64 A100"
    assert keys["strategy.tensor"] == 8
    assert "strategy.data" not in keys


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gpt3.toml"
    path.write_text(GPT3_TOML)
    return path


def test_a_file_says_the_same_as_a_dict(file):
    assert load_scenario(file).keys() == Scenario.from_dict(GPT3).keys()
    assert load_scenario(file).source == str(file)


def test_overrides_are_read_as_toml_or_else_as_text(file):
    changes = [
        "strategy.tensor=4",
        "strategy.schedule = gpipe",
        "strategy.fold=false",
        'title="a = b"',
        "published.iteration_time=13.75 s",
    ]
    scenario = load_scenario(file, changes)
    assert scenario.strategy.tensor == 4
    assert scenario.strategy.schedule == "gpipe"
    assert scenario.strategy.fold is False
    assert scenario.title == "a = b"
    assert scenario.published.iteration_time_s == 13.75


@pytest.mark.parametrize("override", ["strategy.tensor", "=4", "strategy.=4", "title.x=4"])
def test_an_override_that_sets_nothing_is_refused(file, override):
    with pytest.raises(ScenarioError, match=r"does not set a key"):
        load_scenario(file, [override])


def test_a_wrong_override_is_told_with_the_file(file):
    with pytest.raises(ScenarioError, match=r"gpt3\.toml: strategy\.tensor = 'four'"):
        load_scenario(file, ["strategy.tensor=four"])


@pytest.mark.parametrize("content", [None, b"title = ", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_told_in_one_sentence(tmp_path, content):
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: cannot be read: ")
    assert "\n" not in str(caught.value)


def test_a_file_beside_the_scenario_is_found_first(tmp_path):
    (tmp_path / "mine.toml").touch()
    scenario = Scenario.from_dict(GPT3, str(tmp_path / "gpt3.toml"))
    assert scenario.beside("mine.toml") == str(tmp_path / "mine.toml")
    assert scenario.beside("dgx-a100") == "dgx-a100"
    assert scenario.beside("other.toml") == "other.toml"


def test_the_schema_describes_every_key():
    tables = Scenario.model_json_schema()
    assert list(tables["properties"]) == list(Scenario.model_fields)
    published = tables["$defs"]["PublishedTable"]["properties"]
    assert {"iteration_time", "mfu", "source"} <= set(published)
    assert published["iteration_time"]["anyOf"][0]["type"] == "string"
