from dataclasses import dataclass

import pytest
from scenario_content import GPT3, changed

from flexsim.errors import DeviceGraphError, ScenarioError
from flexsim.scenario.checks import Sizes, check_name, check_sizes, in_file, usable_devices
from flexsim.scenario.schema import Scenario


@dataclass(frozen=True)
class Shape:
    layers: int = 96
    heads: int = 96
    kv_heads: int = 96
    family: str = "gpt"


def sizes(strategy, num_devices=64, shape=Shape(), **training):
    content = changed("strategy", {"name": "megatron"} | strategy)
    content["training"] |= training
    return check_sizes(Scenario.from_dict(content, "my.toml"), shape, num_devices)


def test_degrees_left_open_are_derived():
    found = check_sizes(Scenario.from_dict(GPT3), Shape(), 64)
    assert found == Sizes(tensor=8, pipeline=8, data=1, chunks=3, num_microbatches=64)
    assert found.num_devices == 64
    assert sizes({"tensor": 8}).data == 8
    assert sizes({"tensor": 8, "data": 2}).num_microbatches == 32
    assert sizes({"name": "data"}, micro_batch=1).data == 64


def test_a_single_device_is_not_replicated():
    assert sizes({"name": "single"}).num_devices == 1


@pytest.mark.parametrize(
    ("strategy", "training", "told"),
    [
        (
            {"tensor": 8, "pipeline": 8, "data": 2},
            {},
            "strategy asks for 128 devices (tensor 8 x pipeline 8 x data 2) but the cluster has 64",
        ),
        ({"tensor": 32, "pipeline": 8}, {}, "asks for 256 devices"),
        ({"tensor": 5}, {}, "strategy.tensor = 5 does not divide model.heads = 96"),
        ({"tensor": 6}, {}, "does not divide the cluster's 64 devices"),
        ({"pipeline": 5}, {}, "strategy.pipeline = 5 does not divide model.layers = 96"),
        (
            {"pipeline": 8, "chunks": 5},
            {},
            "strategy.pipeline x strategy.chunks = 8 x 5 = 40 does not divide model.layers = 96",
        ),
        (
            {"tensor": 8, "data": 8},
            {"global_batch": 100, "micro_batch": 2},
            "training.global_batch = 100 does not divide into microbatches of 2 on 8 replicas"
            " (strategy.data x training.micro_batch = 16); choose from 96, 112, 128",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told_with_choices(strategy, training, told):
    with pytest.raises(ScenarioError) as caught:
        sizes(strategy, **training)
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    assert told in message
    assert "\n" not in message


def test_choices_are_the_divisors():
    with pytest.raises(
        ScenarioError, match=r"choose from 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96$"
    ):
        sizes({"tensor": 5, "data": 1})


@pytest.mark.parametrize(("tensor", "fits"), [(4, True), (8, True), (16, True), (3, False)])
def test_grouped_query_heads_are_cut_or_shared_whole(tensor, fits):
    shape = Shape(layers=96, heads=48, kv_heads=8)
    strategy = {"tensor": tensor, "data": 1}
    if fits:
        assert sizes(strategy, shape=shape).tensor == tensor
    else:
        with pytest.raises(ScenarioError, match=r"neither divides model\.kv_heads = 8"):
            sizes(strategy, shape=shape)


def test_a_model_without_attention_has_no_heads_to_cut():
    assert sizes({"tensor": 8}, shape=Shape(heads=1, kv_heads=1, family="mlp")).tensor == 8


def test_only_the_devices_that_the_cluster_has_can_be_used():
    scenario = Scenario.from_dict(changed("cluster.devices", 12), "my.toml")
    assert usable_devices(scenario, 64) == 12
    with pytest.raises(ScenarioError, match=r"my\.toml: cluster\.devices = 12, .* from 1 to 8"):
        usable_devices(scenario, 8)
    assert usable_devices(Scenario.from_dict(GPT3), 64) == 64


def test_an_unknown_name_is_told_with_the_nearest():
    check_name("my.toml", "strategy.schedule", "gpipe", ["gpipe", "1f1b"])
    with pytest.raises(ScenarioError, match=r"my\.toml: strategy\.schedule = 'gpip': did you mean"):
        check_name("my.toml", "strategy.schedule", "gpip", ["gpipe", "1f1b"])


def test_errors_from_below_get_the_file_and_the_key_once():
    with (
        pytest.raises(DeviceGraphError, match=r"^my\.toml: cluster: no such file$"),
        in_file("my.toml", "strategy"),
        in_file("my.toml", "cluster"),
    ):
        raise DeviceGraphError("no such file")
