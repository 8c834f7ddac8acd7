"""`flexsim schedule`: sizes by default, drawings as text, files in and out, mistakes."""

from __future__ import annotations

import re

import pytest
from command_line import flexsim, only_error


def told(answer):
    """Return the lines of an answer without what pads them."""
    return [line.rstrip() for line in answer.out.splitlines() if line.strip()]


def test_chunks_are_what_the_schedule_takes():
    answer = flexsim("schedule", "zb-v", "--ranks", "2", "--microbatches", "4")
    assert answer.code == 0
    assert "3W3" in answer.out


def test_both_bubbles_and_what_is_held_until_w_are_printed():
    answer = flexsim("schedule", "zb-h2", "--ranks", "4", "--microbatches", "8")
    facts = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in told(answer)[-4:])
    assert facts["bubble fraction"] == "0.1111"
    assert facts["bubble fraction of longest span"] == "0.0000"
    assert facts["peak microbatches in flight"] == "7, 5, 3, 1"
    assert facts["peak activations until W"] == "8, 8, 8, 8"


def test_a_pipeline_is_drawn_as_text():
    options = ("--ranks", "2", "--microbatches", "2", "--draw")
    lines = flexsim("schedule", "gpipe", *options).out.splitlines()
    assert lines[-2:] == [
        "rank 0 |F0-F1-.........B0----B1----|",
        "rank 1 |...F0-F1-B0----B1----......|",
    ]


def test_without_a_flush_iterations_and_versions_are_told():
    options = ("--ranks", "4", "--microbatches", "4")
    out = flexsim("schedule", "pipedream", *options).out
    assert "iteration in steady state" in out
    assert "versions of weights" in out
    assert "0B11" in out
    assert "0B8" not in flexsim("schedule", "pipedream", *options, "--iterations", "2").out


def test_an_order_is_written_and_read_again(tmp_path):
    path = tmp_path / "order.csv"
    options = ("--ranks", "4", "--microbatches", "8")
    first = flexsim("schedule", "dualpipe-v", *options, "--output", str(path))
    again = flexsim("schedule", str(path))
    assert (first.code, again.code) == (0, 0)
    assert told(again) == told(first)[:-1]


def test_auto_keeps_to_its_limit_and_the_given_times():
    options = ("--ranks", "4", "--microbatches", "8", "--limit", "3", "--forward", "2")
    out = flexsim("schedule", "auto", *options).out
    held = next(line for line in out.splitlines() if line.startswith("peak activations"))
    assert max(int(each) for each in held.rsplit("W", 1)[1].split(",")) == 3


MISTAKES = [
    (("zb-v", "--ranks", "4", "--microbatches", "8", "--chunks", "3"), "choose chunks = 2"),
    (("1f1b", "--ranks", "4"), "needs --microbatches"),
    (("1f1b", "--microbatches", "4"), "needs --stages"),
    (("none.csv",), "none.csv: cannot be read"),
    (("none.csv", "--ranks", "4"), "--stages does not go with a file"),
    (("none.csv", "--warm-up", "4"), "--warm-up does not go with a file"),
    (("1f1b", "--ranks", "4", "--microbatches", "8", "--limit", "3"), "--limit 3"),
    (("auto", "--ranks", "4", "--microbatches", "8", "--limit", "0"), "--limit 0"),
    (("auto", "--ranks", "2", "--microbatches", "2", "--forward", "0"), "longer than 0"),
    (("gpipe", "--ranks", "2", "--microbatches", "2", "--slices", "2"), "terapipe"),
    (("gpipe", "--ranks", "2", "--microbatches", "2", "--output", "x.txt"), ".csv"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_mistakes_are_told_in_one_sentence(arguments, sentence):
    assert sentence in only_error(flexsim("schedule", *arguments))
