"""The best contiguous cut of a chain of blocks into stages, by dynamic programming.

The largest stage is made as small as it can be; of all such cuts the most even one is taken (least
sum of squares), and of those the one with the fewest blocks in its last stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import StrategyError

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chain:
    """What blocks cost, in order, with all before the first and all behind the last at the ends.

    A stage costs the sum of ``once`` over what it holds, and of ``a_pass`` times the passes that
    it holds at a time, or of ``at_end`` where that is more. ``[0]`` and ``[-1]`` are the ends,
    which may be ``open``: a stage may hold an end alone.
    """

    once: NDArray[np.int64]
    a_pass: NDArray[np.int64]
    at_end: NDArray[np.int64]
    open: tuple[bool, bool] = (False, False)

    @property
    def num_blocks(self) -> int:
        """Blocks between the ends."""
        return len(self.once) - 2

    def stage_costs(self, stage: int, num_stages: int, passes: int) -> Float:
        """Return the cost of a stage of blocks i to j - 1 as ``[i, j]``; infinite for none."""
        ends = stage == 0, stage == num_stages - 1
        moment = np.maximum(passes * _sums(self.a_pass, ends), _sums(self.at_end, ends))
        found: Float = (_sums(self.once, ends) + moment).astype(np.float64)
        may_be_empty = (stage == 0 and self.open[0]) or (stage == num_stages - 1 and self.open[1])
        places = np.arange(self.num_blocks + 1)
        too_few = places[None, :] < places[:, None] + (not may_be_empty)
        found[too_few] = np.inf
        return found


def rank_costs(
    chain: Chain, cut: Sequence[int], passes: Sequence[int], rank_of_stage: Sequence[int]
) -> list[int]:
    """Return what every rank's stages cost together under a cut."""
    sums = np.zeros((max(rank_of_stage) + 1, 3), np.int64)
    edges = [0, *accumulate(cut)]
    for number, rank in enumerate(rank_of_stage):
        stage = number % len(cut)
        ends = stage == 0, stage == len(cut) - 1
        place = edges[stage], edges[stage + 1]
        a_pass = int(_sums(chain.a_pass, ends)[place]) * passes[stage]
        sums[rank] += _sums(chain.once, ends)[place], a_pass, _sums(chain.at_end, ends)[place]
    found: list[int] = (sums[:, 0] + sums[:, 1:].max(axis=1)).tolist()
    return found


def _sums(cost: NDArray[np.int64], ends: tuple[bool, bool]) -> NDArray[np.int64]:
    """Return the sum over blocks i to j - 1, and of the ends that are there, as ``[i, j]``."""
    below = np.concatenate([[0], np.cumsum(cost[1:-1])])
    total: NDArray[np.int64] = below[None, :] - below[:, None]
    return total + int(cost[0]) * ends[0] + int(cost[-1]) * ends[1]


def best_cut(chain: Chain, passes: Sequence[int]) -> tuple[int, ...]:
    """Return how many blocks each stage gets, for stages that hold so many ``passes`` at a time.

    Raise :class:`StrategyError` where there are more stages than blocks to fill them.
    """
    num_stages = len(passes)
    tables = [chain.stage_costs(s, num_stages, held) for s, held in enumerate(passes)]
    largest = _least_maximum(tables)
    if not np.isfinite(largest):
        raise StrategyError(
            f"{num_stages} stages (strategy.pipeline x strategy.chunks) are more than the "
            f"{chain.num_blocks} layers can fill; choose at most {chain.num_blocks}"
        )
    scale = max(largest, 1.0)
    squares = [np.where(table <= largest, (table / scale) ** 2, np.inf) for table in tables]
    return _least_sum(squares)


def _least_maximum(tables: Sequence[Float]) -> float:
    """Return the largest stage's cost under the best cut."""
    best: Float = np.full(len(tables[0]), np.inf)
    best[0] = 0.0
    for table in tables:
        best = np.maximum(best[:, None], table).min(axis=0)
    return float(best[-1])


def _least_sum(tables: Sequence[Float]) -> tuple[int, ...]:
    """Return the blocks of every stage under the cut with the least sum of costs."""
    best: Float = np.full(len(tables[0]), np.inf)
    best[0] = 0.0
    came_from = []
    for table in tables:
        total = best[:, None] + table
        came_from.append(total.argmin(axis=0))
        best = total.min(axis=0)
    end, sizes = len(best) - 1, []
    for origin in reversed(came_from):
        start = int(origin[end])
        sizes.append(end - start)
        end = start
    return tuple(reversed(sizes))
