"""Parameters and products of image, recurrent and recommender networks against publications."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import pytest
from preset_graphs import preset_graph

from flexsim.models import PRESETS
from flexsim.models.networks import NETWORKS

TORCHVISION = {
    "alexnet": 0.714,
    "vgg-16": 15.47,
    "vgg-19": 19.632,
    "resnet-50": 4.089,
    "resnet-101": 7.801,
    "resnext-50": 4.23,
    "inception-v3": 5.713,
    "vit-b16": 17.564,
}
"""Billions of multiply-adds of one forward, as torchvision's weight tables give them (``_ops``)."""


@pytest.mark.parametrize("name", TORCHVISION)
def test_parameters_are_exactly_those_of_torchvision(name: str) -> None:
    assert preset_graph(name).num_parameters == PRESETS[name].published_parameters


@pytest.mark.parametrize("name", TORCHVISION)
def test_multiply_adds_are_those_of_torchvision(name: str) -> None:
    forward = sum(op.flops("F") for op in preset_graph(name).operators)
    assert forward / 2e9 == pytest.approx(TORCHVISION[name], abs=6e-4)


@pytest.mark.parametrize("name", [n for n in NETWORKS if PRESETS[n].published_parameters])
def test_within_one_percent_of_what_was_published(name: str) -> None:
    published = PRESETS[name].published_parameters
    assert preset_graph(name).num_parameters == pytest.approx(published, rel=0.01)


def test_lenet_is_the_published_one_with_todays_layers() -> None:
    """LeCun et al. 1998: 60,000 parameters. Subsampling had two a map, C3 saw some maps only."""
    subsampling = 2 * (6 + 16)
    c3_of_the_paper, c3_with_all_maps = 1516, 16 * (6 * 25 + 1)
    output_layer = 10 * 84 + 10
    changed = 60_000 - subsampling - c3_of_the_paper + c3_with_all_maps + output_layer
    assert preset_graph("lenet-5").num_parameters == changed == 61_706


def linears(*widths: int) -> int:
    """Return the weights of layers without biases through ``widths``."""
    return sum(a * b for a, b in pairwise(widths))


def lstm(inputs: int, hidden: int) -> int:
    """Return the weights of an LSTM layer with one bias a gate."""
    return 4 * hidden * (inputs + hidden + 1)


def test_dlrm_has_the_layers_of_its_command_line() -> None:
    """Eight tables; --arch-mlp-bot 64-512-512-64 --arch-mlp-top 576-1024-1024-1024-1."""
    tables = 8 * 1_000_000 * 64
    bottom, top = linears(64, 512, 512, 64), linears(576, 1024, 1024, 1024, 1)
    assert preset_graph("dlrm").num_parameters == tables + bottom + top


def test_xdl_has_the_layers_of_its_code() -> None:
    """Four tables of a million rows, 64 wide; mlp_top 256-256-256-2."""
    assert preset_graph("xdl").num_parameters == 4 * 64_000_000 + linears(256, 256, 256, 2)


def test_candle_uno_has_the_layers_of_its_code() -> None:
    """dense_feature_layers 8 x 4192 for five inputs, dense_layers 4 x 4192, one output."""
    towers = sum(linears(n, *[4192] * 8) for n in (942, 5270, 2048, 5270, 2048))
    joint = linears(5 * 4192 + 2, *[4192] * 4, 1)
    assert preset_graph("candle-uno").num_parameters == towers + joint


def test_rnntc_is_four_lstm_layers_and_a_softmax() -> None:
    size = 2048
    expected = 20480 * size + 4 * lstm(size, size) + size * 2 + 2
    assert preset_graph("rnntc").num_parameters == expected


def test_nmt_is_four_lstm_layers_attention_and_a_softmax() -> None:
    size, words = 2048, 20480
    attention = size * size + 2 * size * size
    expected = 2 * words * size + 4 * lstm(size, size) + attention + (size + 1) * words
    assert preset_graph("nmt").num_parameters == expected


def test_unet_has_the_23_convolutions_of_its_figure() -> None:
    graph = preset_graph("unet")
    convolutions = [op for op in graph.operators if op.kind == "convolution"]
    assert len(convolutions) == 23
    down = [(1, 64), (64, 64)] + [
        (c, d) for n in (64, 128, 256, 512) for c, d in ((n, 2 * n), (2 * n, 2 * n))
    ]
    up = [(c, d) for n in (512, 256, 128, 64) for c, d in ((2 * n, n), (n, n))]
    threes = sum(9 * c * d + d for c, d in down + up)
    ups = sum(4 * 2 * n * n + n for n in (512, 256, 128, 64))
    assert graph.num_parameters == threes + ups + 64 * 2 + 2
    assert graph.shape("up0.conv1_relu.out") == (1, 64, 388, 388)


def test_the_published_image_sizes_follow_from_the_layers() -> None:
    """Szegedy et al. 2015, Table 1: 35 x 35 x 288, 17 x 17 x 768 and 8 x 8 x 2048."""
    graph = preset_graph("inception-v3")
    shapes = [graph.shape(f"module{i}.join.out")[1:] for i in (2, 7, 10)]
    assert shapes == [(288, 35, 35), (768, 17, 17), (2048, 8, 8)]
    resnet = preset_graph("resnet-101")
    last = [resnet.shape(f"stage{i}.block0.relu.out")[1:] for i in range(4)]
    assert last == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


@pytest.mark.parametrize("name", ["rnnlm", "rnntc", "nmt"])
def test_recurrent_networks_have_an_operator_for_every_layer_and_step(name: str) -> None:
    graph = preset_graph(name)
    cells = [op for op in graph.operators if op.kind == "lstm"]
    num_layers = {"rnnlm": 2, "rnntc": 4, "nmt": 4}[name]
    assert len(cells) == 40 * num_layers
    shared = [weight for weight in graph.weights if weight.endswith("input_weight")]
    assert len(shared) == num_layers
    assert all(len(graph.readers[weight]) == 40 for weight in shared)
    assert all(prod(graph.shape(op.outputs[1])) == PRESETS[name].hidden for op in cells)
