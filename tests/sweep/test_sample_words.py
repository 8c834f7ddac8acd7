"""Rates and batches are told in what the batches are made of."""

from __future__ import annotations

import pandas as pd
import pytest

from flexsim.models import PRESETS
from flexsim.models.selection import samples_of
from flexsim.plotting.quantities import batches_of, quantity_of
from flexsim.sweep.plot_rows import plot_rows
from flexsim.sweep.plots import Asked, picture
from flexsim.sweep.samples import samples_in


@pytest.mark.parametrize(
    ("name", "preset", "word"),
    [
        ("gpt", None, "sequences"),
        (None, "resnet-50", "images"),
        ("vit", "vit-b16", "images"),
        ("dlrm", None, "samples"),
        ("nonsense", None, "samples"),
        (None, None, "samples"),
    ],
)
def test_what_a_batch_is_made_of(name, preset, word):
    assert samples_of(name, preset) == word


def test_every_preset_has_a_word():
    words = {samples_of(None, preset) for preset in PRESETS}
    assert words == {"sequences", "images", "samples"}


def test_units_follow_what_batches_are_made_of():
    keys = ("samples_per_s", "training.global_batch", "training.micro_batch")
    with batches_of("images"):
        told = [quantity_of(key).axis_label for key in keys]
    assert told == ["throughput (images/s)", "global batch (images)", "micro-batch (images)"]
    assert quantity_of("training.global_batch").unit == "sequences"


@pytest.mark.parametrize(
    ("columns", "told", "word"),
    [
        ({"model.preset": ["resnet-50", "vgg-16"]}, "sequences", "images"),
        ({"model.preset": ["resnet-50", "gpt3-175b"]}, "", "samples"),
        ({"model.name": ["gpt", None]}, "", "sequences"),
        ({}, "images", "images"),
        ({"tokens_per_s": [8.0, 8.0], "samples_per_s": [8.0, 8.0]}, "", "samples"),
        ({"tokens_per_s": [8.0, 8.0], "samples_per_s": [8.0, 1.0]}, "", "sequences"),
        ({"tokens_per_s": [8.0, 8.0]}, "", "sequences"),
    ],
)
def test_what_the_rows_tell_of_it(columns, told, word):
    assert samples_in(pd.DataFrame(columns), told) == word


def test_scaling_of_an_image_model_counts_images():
    table = pd.DataFrame(
        {
            "cluster.devices": [1, 2],
            "status": "ok",
            "iteration_time_s": [1.0, 0.6],
            "tokens_per_s": [64.0, 100.0],
            "samples_per_s": [64.0, 100.0],
            "num_devices": [1.0, 2.0],
        }
    )
    rows = plot_rows(table, ["cluster.devices"], ("r.csv", "r"), samples="images")
    figure = picture(rows, "scaling", Asked())
    assert figure.axes[0].get_ylabel() == "throughput (images/s)"
