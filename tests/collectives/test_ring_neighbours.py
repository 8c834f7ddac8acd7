"""Who sends to whom on the rings of a layout, counted against the rings themselves."""

from collections import Counter

import numpy as np
import pytest

from flexsim.collectives.layouts import ring_neighbours, ring_orders


@pytest.mark.parametrize("layout", [(1,), (5,), (2, 1), (1, 4), (2, 4), (3, 5), (2, 2, 3), (5, 2)])
def test_neighbours_are_those_of_all_rings(layout: tuple[int, ...]) -> None:
    orders = ring_orders(layout)
    on_rings = Counter(
        zip(orders.ravel().tolist(), np.roll(orders, -1, axis=1).ravel().tolist(), strict=True)
    )
    source, target, count = (each.tolist() for each in ring_neighbours(layout))
    found: Counter[tuple[int, int]] = Counter()
    for pair, times in zip(zip(source, target, strict=True), count, strict=True):
        found[pair] += times
    assert found == on_rings
