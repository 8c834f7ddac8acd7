"""The compiled table of who sends what, against its reference in plain NumPy."""

from __future__ import annotations

import random

import numpy as np
import pytest

from flexsim.strategy import Mesh, overlap
from flexsim.strategy.layout import Layout


def any_layout(shape, num_devices, rng):
    """Return random cuts of a tensor's axes, at times with copies, on random devices."""
    sizes, axes = [], []
    for size in shape:
        degree = rng.choice([1, 2, 3, 4])
        cut = degree > 1 and degree <= size and degree * np.prod([*sizes, 1]) <= num_devices
        axes.append((f"x{len(sizes)}",) if cut else ())
        if cut:
            sizes.append(degree)
    if 2 * np.prod([*sizes, 1]) <= num_devices and rng.random() < 0.4:
        sizes.append(2)
    sizes = sizes or [1]
    devices = rng.sample(range(num_devices), int(np.prod(sizes)))
    names = [f"x{i}" for i in range(len(sizes))]
    return Layout(Mesh(names, np.reshape(devices, sizes)), tuple(axes))


@pytest.mark.parametrize("seed", range(60))
def test_exchanges_are_those_of_the_reference(seed, monkeypatch):
    rng = random.Random(seed)
    shape = tuple(rng.choice([4, 5, 6, 7, 12]) for _ in range(rng.randint(1, 3)))
    source, target = any_layout(shape, 12, rng), any_layout(shape, 12, rng)
    fast = overlap.exchange(source, target, shape)
    monkeypatch.setattr(overlap, "_LARGEST_TABLE", 0)
    slow = overlap.exchange(source, target, shape)
    for one, other in zip(
        (fast.sources, fast.targets, fast.elements),
        (slow.sources, slow.targets, slow.elements),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
