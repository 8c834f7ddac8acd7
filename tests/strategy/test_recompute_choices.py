"""The cheapest recomputation: dynamic and integer programs against all choices there are."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.strategy.recompute_chain import cheapest_choices
from flexsim.strategy.recompute_program import Saved, cheapest_runs, least_memory, memory_of

layers = st.lists(
    st.tuples(*[st.tuples(st.integers(0, 20), st.integers(0, 20))] * 3), min_size=1, max_size=6
)


@settings(max_examples=100, deadline=None)
@given(layers, st.integers(0, 80))
def test_chain_equals_all_choices(table, limit):
    sizes = np.array([[size for size, _ in layer] for layer in table])
    times = np.array([[time for _, time in layer] for layer in table])
    picks = [
        (sum(layer[o][1] for layer, o in zip(table, options, strict=True)))
        for options in product(range(3), repeat=len(table))
        if sum(layer[o][0] for layer, o in zip(table, options, strict=True)) <= limit
    ]
    found = cheapest_choices(sizes, times, limit)
    if found is None:
        assert not picks
        return
    rows = np.arange(len(table))
    assert sizes[rows, found].sum() <= limit
    assert times[rows, found].sum() == min(picks)


def chain_of(sizes: list[int]) -> list[Saved]:
    """Return a chain: operator i writes tensor i, and i and i + 1 read it backward."""
    last = len(sizes) - 1
    return [
        Saved(size << 20, i, tuple({i, min(i + 1, last)}), (i + 1,) if i < last else ())
        for i, size in enumerate(sizes)
    ]


def all_runs(num: int, first: int = 0) -> list[list[tuple[int, int]]]:
    """Return every set of runs that do not overlap."""
    if first == num:
        return [[]]
    found = all_runs(num, first + 1)
    for last in range(first, num):
        found += [[(first, last), *rest] for rest in all_runs(num, last + 1)]
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=2, max_size=6),
    st.integers(1, 3),
    st.floats(0.1, 1.1),
)
def test_integer_program_equals_all_runs(operators, passes, share):
    times, tensors = [t for t, _ in operators], chain_of([s for _, s in operators])
    limit = int(memory_of([], tensors, passes) * share)
    sets = all_runs(len(times))
    costs = [
        sum(sum(times[i : j + 1]) for i, j in runs)
        for runs in sets
        if memory_of(runs, tensors, passes) <= limit
    ]
    found = cheapest_runs(times, tensors, passes, limit)
    if found is None:
        assert not costs
    else:
        assert memory_of(found, tensors, passes) <= limit
        assert sum(sum(times[i : j + 1]) for i, j in found) == min(costs)
    least = memory_of(least_memory(times, tensors, passes), tensors, passes)
    assert least == min(memory_of(runs, tensors, passes) for runs in sets)


def test_nothing_is_recomputed_where_all_fits():
    tensors = chain_of([4, 4, 4])
    assert cheapest_runs([1, 1, 1], tensors, 2, 24 << 20) == []
