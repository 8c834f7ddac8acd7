"""The compiled scan of peaks against the one that sorts every beginning and end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.task_graph.columns import ActivationMemory, StaticMemory
from flexsim.timeline.memory import peak_of_actions

NOTHING = np.zeros(0, np.int64)
STATIC = StaticMemory(np.zeros(0, np.int32), NOTHING, NOTHING, NOTHING)


def passes(rng: np.random.Generator) -> tuple[ActivationMemory, tuple[np.ndarray, np.ndarray]]:
    """Return passes of three devices that overlap at random, each device an action once."""
    num_actions = int(rng.integers(1, 8))
    action, device = np.divmod(rng.permutation(3 * num_actions), 3)
    most = rng.integers(0, 6, (len(action), 5))
    left = np.minimum(rng.integers(-4, 4, (len(action), 5)), most)
    net = left.sum(axis=1)
    allocated, freed = np.maximum(net, 0), np.maximum(-net, 0)
    memory = ActivationMemory(
        action.astype(np.int32),
        device.astype(np.int32),
        allocated,
        freed,
        most.sum(axis=1) - allocated,
        most,
        left,
        np.arange(len(action), dtype=np.int32),
    )
    start = rng.integers(0, 10, num_actions)
    return memory, (start, start + rng.integers(2, 8, num_actions))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_both_find_the_same_peak(seed: int) -> None:
    memory, spans = passes(np.random.default_rng(seed))
    apart = replace(memory, together=np.arange(len(memory.action), dtype=np.int32))
    found, sorted_found = (peak_of_actions(STATIC, one, spans) for one in (memory, apart))
    np.testing.assert_array_equal(found.total, sorted_found.total)
    held = found.total > 0
    np.testing.assert_array_equal(found.action >= 0, held)
    for part in ("activations", "recompute", "gathered", "temporary", "buffers"):
        np.testing.assert_array_equal(getattr(found, part), getattr(sorted_found, part))


def test_a_pass_that_is_cut_off_entirely_holds_nothing() -> None:
    """Of three passes the middle one has no length left, and its 100 bytes are never held."""
    most = np.zeros((3, 5), np.int64)
    most[:, 0] = 1, 100, 2
    memory = ActivationMemory(
        np.arange(3, dtype=np.int32),
        np.zeros(3, np.int32),
        np.zeros(3, np.int64),
        np.zeros(3, np.int64),
        most.sum(axis=1),
        most,
        np.zeros((3, 5), np.int64),
        np.array([4, 5, 6], np.int32),
    )
    spans = np.array([0, 9, 9]), np.array([10, 11, 12])
    found = peak_of_actions(STATIC, memory, spans)
    assert found.total.tolist() == [2]
    assert found.action.tolist() == [2]
    assert found.operator.tolist() == [6]
