"""The best contiguous cut against all cuts there are."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.errors import StrategyError
from flexsim.strategy.balance import Chain, best_cut, rank_costs

ZEROS = np.zeros(8, np.int64)


def stage_costs(chain: Chain, sizes: tuple[int, ...], passes: list[int]) -> list[int]:
    """Return what every stage of a cut costs, counted one by one."""
    found, start = [], 0
    for stage, (size, held) in enumerate(zip(sizes, passes, strict=True)):
        units = list(range(start + 1, start + 1 + size))
        units += [0] * (stage == 0) + [len(chain.once) - 1] * (stage == len(sizes) - 1)
        found.append(_cost(chain, units, held))
        start += size
    return found


def _cost(chain: Chain, units: list[int], held: int) -> int:
    once, a_pass, at_end = (
        sum(int(column[u]) for u in units) for column in (chain.once, chain.a_pass, chain.at_end)
    )
    return once + max(held * a_pass, at_end)


def all_cuts(chain: Chain, num_stages: int) -> list[tuple[int, ...]]:
    cuts = []
    places = range(chain.num_blocks + 1)
    for ends in combinations([place for place in places for _ in range(2)], num_stages - 1):
        bounds = [0, *ends, chain.num_blocks]
        sizes = tuple(b - a for a, b in pairwise(bounds))
        may_be_empty = [chain.open[0], *[False] * (num_stages - 2), chain.open[1]]
        if all(size > 0 or open_ for size, open_ in zip(sizes, may_be_empty, strict=True)):
            cuts.append(sizes)
    return cuts


costs = st.lists(st.integers(0, 30), min_size=3, max_size=9)


@settings(max_examples=80, deadline=None)
@given(costs, st.integers(2, 4), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_no_cut_has_a_smaller_largest_stage_or_is_more_even(once, num_stages, first, last, rng):
    a_pass = [rng.randrange(10) for _ in once]
    at_end = [rng.randrange(20) for _ in once]
    chain = Chain(np.array(once), np.array(a_pass), np.array(at_end), (first, last))
    passes = [rng.randrange(1, 4) for _ in range(num_stages)]
    cuts = all_cuts(chain, num_stages)
    if not cuts:
        with pytest.raises(StrategyError, match="more than"):
            best_cut(chain, passes)
        return
    scored = [
        (max(c), sum(x * x for x in c)) for c in (stage_costs(chain, s, passes) for s in cuts)
    ]
    found = stage_costs(chain, best_cut(chain, passes), passes)
    assert (max(found), sum(x * x for x in found)) == min(scored)


def test_by_hand():
    """Embedding 1, six layers of 4, head 5 on three stages: the last gets one layer less."""
    chain = Chain(np.array([1, *[4] * 6, 5]), ZEROS[:8], ZEROS[:8], (True, True))
    assert best_cut(chain, [0, 0, 0]) == (2, 3, 1)
    assert best_cut(chain, [0]) == (6,)


def test_memory_counts_what_is_held_at_a_time():
    """A layer costs six where six microbatches are held, and two where two are."""
    chain = Chain(ZEROS[:8], np.array([0, *[1] * 6, 0]), ZEROS[:8])
    assert best_cut(chain, [6, 3, 2]) == (1, 2, 3)


def test_a_heavy_head_may_stand_alone():
    chain = Chain(np.array([0, 1, 1, 1, 9]), ZEROS[:5], ZEROS[:5], (False, True))
    assert best_cut(chain, [0, 0]) == (3, 0)


def test_more_stages_than_layers_are_refused():
    with pytest.raises(StrategyError, match=r"4 stages .* choose at most 3"):
        best_cut(Chain(np.ones(5, np.int64), ZEROS[:5], ZEROS[:5]), [0] * 4)


def test_ranks_of_several_stages_are_counted_together():
    chain = Chain(np.array([1, 2, 3, 4, 5, 9]), np.array([0, *[10] * 4, 0]), np.full(6, 7))
    assert rank_costs(chain, (1, 1, 1, 1), [2, 1, 1, 1], [0, 1, 0, 1]) == [
        1 + 2 + 4 + 30,
        3 + 5 + 9 + 21,
    ]
