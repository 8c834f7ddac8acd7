"""Random and greedy search: what a cleverer method has to beat."""

from __future__ import annotations

from itertools import islice

from flexsim.search.moves import Change
from flexsim.search.problem import random_configs
from flexsim.search.units import Unit
from flexsim.search.walk import Walk
from flexsim.strategy import ParallelConfig

_MOST_LISTED = 64
"""Units with more configs than these are given as many at random."""


def random(walk: Walk) -> bool:
    """Draw whole strategies and keep the best."""
    while walk.goes_on():
        configs = random_configs(walk.problem, walk.moves.space, walk.rng)
        walk.step(Change("random", configs), walk.current.makespan_ns - 1)
    return False


def greedy(walk: Walk, most_proposals: int | None = None) -> bool:
    """Give one unit after another, and first all of one role together, the config that is best.

    It ends after a pass that improved nothing, or after so many proposals.
    """
    roles = list({group[0].name: group for group in walk.moves.peers.values()}.values())
    alone = [(unit,) for unit in walk.moves.units]
    together = [group for group in roles if len(group) > 1]
    last = None if most_proposals is None else len(walk.rows) + most_proposals
    improved = True
    while improved and walk.goes_on():
        before = walk.best_evaluation.makespan_ns
        for group in [*together, *alone]:
            if last is not None and len(walk.rows) >= last:
                return False
            _improve(walk, group)
        improved = walk.best_evaluation.makespan_ns < before
    return False


def _improve(walk: Walk, group: tuple[Unit, ...]) -> None:
    for config in _candidates(walk, group[0]):
        if not walk.goes_on():
            return
        configs = {n: c for unit in group for n, c in unit.configs(config).items()}
        walk.step(Change("greedy", configs), walk.current.makespan_ns - 1)


def _candidates(walk: Walk, unit: Unit) -> list[ParallelConfig]:
    space = walk.moves.space
    if space.size(unit) <= _MOST_LISTED:
        return list(islice(space.configs(unit), _MOST_LISTED))
    pool = walk.moves.pool(unit, walk.state)
    drawn = (space.draw(unit, pool, walk.rng) for _ in range(_MOST_LISTED))
    return list(dict.fromkeys(config for config in drawn if config is not None))
