"""Markov chain Monte Carlo: Metropolis and Hastings' rule against the current strategy.

A proposal of makespan ``n`` is accepted from a current makespan ``c`` with probability
``min(1, exp(-(n - c) / (c * temperature)))``: the temperature has no dimension. The random
number is drawn first, so that the longest makespan that would still be accepted is known before
the proposal is simulated, and simulating may stop as soon as that is exceeded.
"""

from __future__ import annotations

import math

from flexsim.search.proposals import propose
from flexsim.search.trace import NEVER
from flexsim.search.walk import Walk

LAST_TEMPERATURE = 0.01
"""Annealing ends at this share of the temperature that it begins with."""
PATIENCE = 0.5
"""A chain ends when nothing improved for this share of its budget (Jia et al. 2019, section 6)."""


def mcmc(walk: Walk) -> bool:
    """Walk at one temperature; a chain that is stuck goes back to its best, then ends."""
    while walk.goes_on() and not _is_stuck(walk):
        if not _proposed(walk, walk.temperature):
            break
    return False


def annealing(walk: Walk) -> bool:
    """Walk while the temperature falls geometrically to a hundredth over the budget."""
    while walk.goes_on():
        cooled = walk.temperature * LAST_TEMPERATURE ** min(walk.spent, 1.0)
        if not _proposed(walk, cooled):
            break
    return False


def limit_of(current_ns: int, temperature: float, u: float) -> int:
    """Return the longest makespan that is accepted when ``u`` (in (0, 1]) was drawn."""
    if current_ns >= NEVER:
        return NEVER
    return current_ns + math.floor(-math.log(u) * temperature * current_ns)


def _proposed(walk: Walk, temperature: float) -> bool:
    """Make one proposal; return whether there was any to make."""
    u = 1.0 - walk.rng.random()
    change = propose(walk.moves, walk.state, walk.rng)
    if change is None:
        return False
    walk.step(change, limit_of(walk.current.makespan_ns, temperature, u))
    return True


def _is_stuck(walk: Walk) -> bool:
    """Whether nothing improved for long; the chain is sent back to its best in between."""
    share = PATIENCE / (walk.restarts + 1)
    if walk.stale < share * (walk.restarts_since + 1):
        return False
    if walk.restarts_since >= walk.restarts:
        return True
    walk.return_to_best()
    return False
