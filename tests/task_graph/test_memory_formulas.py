"""Activation memory of a layer against Korthikanti et al. 2022, Equations 1 to 6 and Figure 7."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_record import recorded, software

from flexsim.models import build_model, model_config
from flexsim.task_graph.memory import static_memory

STATISTICS_BYTES = 8
"""A layer norm keeps a mean and a deviation in fp32 for every row."""


def kept_by_layer(s: int, b: int, h: int, a: int, **degrees: object) -> int:
    """Return the bytes that a device keeps for one more layer of a GPT."""
    kept = []
    for layers in (2, 3):
        graph = build_model(
            model_config("gpt", None, layers=layers, hidden=h, heads=a, sequence=s, vocabulary=64),
            b,
        )
        program = recorded(graph, **degrees).program
        layouts = program.saved_on(0)
        kept.append(sum(program.size(t).local_bytes(layout) for t, layout in layouts.items()))
    return kept[1] - kept[0]


def equation(s: int, b: int, h: int, a: int, t: int, **way: bool) -> Fraction:
    """Return the paper's bytes a layer (its Equations 1, 2, 4 and 6, and full recomputation)."""
    core = Fraction(5 * a * s, h)
    if way.get("full"):
        return Fraction(2 * s * b * h, t if way.get("sequence") else 1)
    attention = 0 if way.get("selective") else core / t
    rest = Fraction(34, t) if way.get("sequence") else 10 + Fraction(24, t)
    return s * b * h * (rest + attention)


SIZES = st.fixed_dictionaries(
    {
        "s": st.sampled_from([8, 16, 64]),
        "b": st.sampled_from([1, 2, 4]),
        "h": st.sampled_from([16, 48, 96]),
        "a": st.sampled_from([8, 16]),
    }
)


@settings(max_examples=25, deadline=None)
@given(
    sizes=SIZES,
    tensor=st.sampled_from([1, 2, 4, 8]),
    sequence=st.booleans(),
    recompute=st.sampled_from(["none", "selective", "full"]),
)
def test_saved_activations_are_the_papers(sizes, tensor, sequence, recompute):
    kept = kept_by_layer(**sizes, tensor=tensor, sequence_parallel=sequence, recompute=recompute)
    expected = equation(
        **sizes,
        t=tensor,
        sequence=sequence and tensor > 1,
        selective=recompute == "selective",
        full=recompute == "full",
    )
    rows = sizes["s"] * sizes["b"] // (tensor if sequence else 1)
    statistics = 0 if recompute == "full" else 2 * STATISTICS_BYTES * rows
    assert kept == expected + statistics


FIGURE_7 = {
    (6144, 64): {"sequence": 66.84, "selective": 49.42, "both": 16.18, "full": 7.64},
    (12288, 96): {"sequence": 62.04, "selective": 56.53, "both": 18.49, "full": 8.71},
}
WAYS = {
    "sequence": {"sequence_parallel": True},
    "selective": {"recompute": "selective"},
    "both": {"sequence_parallel": True, "recompute": "selective"},
    "full": {"recompute": "full"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", FIGURE_7)
def test_savings_are_those_of_figure_7(shape, way):
    hidden, heads = shape
    baseline = kept_by_layer(2048, 1, hidden, heads, tensor=8)
    kept = kept_by_layer(2048, 1, hidden, heads, tensor=8, **WAYS[way])
    statistics = 0.1  # the norms keep a little that the figure leaves out
    assert 100 * kept / baseline == pytest.approx(FIGURE_7[shape][way], abs=statistics)


@pytest.mark.parametrize("tensor", [1, 2, 4])
@pytest.mark.parametrize("pipeline", [1, 2])
def test_weights_and_their_state_are_counted_by_parameter(tensor, pipeline):
    config = model_config("gpt", None, layers=2, hidden=16, heads=4, sequence=8, vocabulary=32)
    graph = build_model(config, 2)
    found = recorded(graph, tensor=tensor, pipeline=pipeline)
    devices = np.arange(tensor * pipeline, dtype=np.int32)
    memory = static_memory(found.program, found.parts, software(), devices)
    copies = graph.weights["word_embedding"].num_parameters if pipeline > 1 else 0
    split = sum(w.num_parameters for n, w in graph.weights.items() if is_cut(n))
    whole = graph.num_parameters - split
    held = memory.weights // 2
    assert held.sum() == split + copies + tensor * whole
    assert np.array_equal(memory.gradients, held * 2)
    assert np.array_equal(memory.optimizer, held * 12)
    assert np.array_equal(memory.step, held * 4)


def is_cut(name: str) -> bool:
    """Whether tensor parallelism cuts a weight: products by column or row, and their biases."""
    column = (".qkv.", ".fc1.", "word_embedding")
    row = (".projection.weight", ".fc2.weight")
    return any(part in name for part in column + row)
