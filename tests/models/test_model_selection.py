"""Choosing a model by name: defaults, overrides, and one sentence for each mistake."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flexsim.errors import ModelError
from flexsim.models import PRESETS, ModelConfig, build_model, family_keys, model_config

GPT = {"layers": 2, "hidden": 16, "heads": 4, "sequence": 8, "vocabulary": 32}


def test_defaults_follow_from_other_sizes() -> None:
    config = model_config("gpt", None, **GPT)
    assert (config.kv_heads, config.head_size, config.ffn) == (4, 4, 64)
    assert (config.name, config.attention, config.tied_embedding) == ("gpt", "unfused", True)


def test_families_have_defaults_of_their_own() -> None:
    llama, palm = model_config("llama", None, **GPT), model_config("palm", None, **GPT)
    assert (llama.attention, llama.tied_embedding) == ("flash", False)
    assert palm.kv_heads == 1


def test_a_preset_as_it_is() -> None:
    assert model_config(None, "gpt3-175b") == PRESETS["gpt3-175b"]
    assert model_config("gpt", "gpt3-175b") == PRESETS["gpt3-175b"]


def test_an_override_of_none_is_not_given() -> None:
    assert model_config(None, "palm-540b", layers=None, ffn=None) == PRESETS["palm-540b"]


def test_what_follows_from_an_overridden_size_follows_it() -> None:
    config = model_config(None, "gpt3-175b", hidden=6144, heads=64)
    assert (config.ffn, config.head_size, config.kv_heads) == (4 * 6144, 96, 64)
    assert config.layers == 96
    assert config.published_parameters is None


def test_what_a_preset_says_itself_stays() -> None:
    assert model_config(None, "llama3-8b", hidden=8192).ffn == 14336


def test_an_mlp_needs_two_sizes() -> None:
    config = model_config("mlp", None, layers=2, hidden=8)
    assert (config.ffn, config.sequence) == (32, 1)
    assert family_keys("mlp") == ("layers", "hidden", "ffn")


def test_bare_layers_need_no_vocabulary() -> None:
    sizes = {key: GPT[key] for key in GPT if key != "vocabulary"}
    assert not model_config("gpt", None, embedding_and_head=False, **sizes).embedding_and_head


@pytest.mark.parametrize(
    ("name", "preset", "overrides", "message"),
    [
        (None, None, {}, "model.name is missing: give one of alexnet, bert, candle-uno, deepseek"),
        ("gtp", None, GPT, "model.name = 'gtp': did you mean 'gpt'? choose from alexnet, bert"),
        (None, "gpt3-157b", {}, "model.preset = 'gpt3-157b': did you mean 'gpt3-175b'?"),
        ("bert", "gpt-22b", {}, "does not go with model.preset = 'gpt-22b', which is a 'gpt'"),
        ("gpt", None, GPT | {"hiden": 4}, "model.hiden has no meaning for the family 'gpt': did"),
        ("mlp", None, {"heads": 4}, "choose from ffn, hidden, layers"),
        ("gpt", None, GPT | {"heads": None}, "model.heads is missing: the family 'gpt' needs it"),
        ("gpt", None, {"layers": 2}, "model.hidden is missing"),
        ("gpt", None, GPT | {"vocabulary": None}, "model.vocabulary is missing"),
        ("gpt", None, GPT | {"heads": 3}, "model.heads = 3 does not divide model.hidden = 16"),
        ("gpt", None, GPT | {"kv_heads": 3}, "model.kv_heads = 3 does not divide model.heads = 4"),
        ("gpt", None, GPT | {"layers": 0}, "model.layers = 0 must be a whole number of at least 1"),
        ("gpt", None, GPT | {"layers": -2}, "model.layers = -2 must be a whole number"),
        ("gpt", None, GPT | {"hidden": 2.5}, "model.hidden = 2.5 must be a whole number"),
        ("gpt", None, GPT | {"hidden": float("nan")}, "model.hidden = nan must be a whole number"),
        ("gpt", None, GPT | {"layers": True}, "model.layers = True must be a whole number"),
        ("gpt", None, GPT | {"ffn": -1}, "model.ffn = -1 must be a whole number"),
        ("gpt", None, GPT | {"attention": "flsh"}, "'flsh': did you mean 'flash'? choose from"),
        ("gpt", None, GPT | {"tied_embedding": 1}, "tied_embedding = 1 must be true or false"),
        (None, "gpt-22b", {"heads": 7}, "gpt-22b: model.heads = 7 does not divide"),
    ],
)
def test_mistakes(
    name: str | None, preset: str | None, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        model_config(name, preset, **overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_relative_positions_do_not_go_with_flash_attention() -> None:
    config = model_config("gopher", None, **GPT, attention="flash")
    with pytest.raises(ModelError, match="'flash' does not go with relative positions"):
        build_model(config, 1)


def test_building_for_no_sequence() -> None:
    with pytest.raises(ModelError, match="gpt-22b: sequences = 0 must be at least 1"):
        build_model(PRESETS["gpt-22b"], 0)


def test_building_an_unknown_family() -> None:
    config = replace(PRESETS["gpt-22b"], family="perceptron")
    match = "model family 'perceptron' is unknown: did you mean"
    with pytest.raises(ModelError, match=match):
        build_model(config, 1)


def test_building_in_an_unknown_precision() -> None:
    with pytest.raises(ModelError, match="gpt-22b: precision 'fp4' is unknown"):
        build_model(PRESETS["gpt-22b"], 1, "fp4")


def test_a_config_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ModelError, match=r"model\.heads = 3 does not divide"):
        ModelConfig("gpt", layers=1, hidden=4, heads=3)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("vgg", {"layers": 17}, "model.layers = 17: choose from 11, 13, 16, 19"),
        ("resnet", {"layers": 18}, "model.layers = 18: choose from 50, 101, 152"),
        ("alexnet", {"image": 10}, "an image 1 pixels wide cannot hold a kernel of 3; choose"),
        ("unet", {"image": 256}, "model.image = 256 leaves 57 pixels a side before a 2 x 2 pool"),
        (
            "vit",
            {"layers": 1, "hidden": 8, "heads": 1, "patch": 15},
            "model.patch = 15 does not divide",
        ),
    ],
)
def test_shapes_that_a_network_cannot_have(
    name: str, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        build_model(model_config(name, None, **overrides), 1)
    assert message in str(caught.value)


def test_networks_have_the_keys_that_mean_something_to_them() -> None:
    assert family_keys("alexnet") == ("image", "classes")
    assert family_keys("dlrm") == ("hidden", "tables", "vocabulary")
    with pytest.raises(ModelError, match=r"model\.heads has no meaning for the family 'nmt'"):
        model_config(None, "nmt", heads=2)
    assert model_config("alexnet", None) == replace(
        PRESETS["alexnet"], name="alexnet", published_parameters=None, source=""
    )
