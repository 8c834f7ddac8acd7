"""The search methods by name: one function and one line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from flexsim.errors import FlexSimError, choices_text
from flexsim.search.exhaustive import exhaustive
from flexsim.search.mcmc import annealing, mcmc
from flexsim.search.optcnn import optcnn
from flexsim.search.simple import greedy, random
from flexsim.search.walk import Walk


class Search(Protocol):
    """Walks from where the walk is until its budget is spent, or it has nothing left to try.

    All it finds out goes through :meth:`Walk.step`, which counts, notes and keeps the best. It
    takes random numbers from ``walk.rng`` alone, so that a walk can be interrupted between two
    proposals and resumed.
    """

    def __call__(self, walk: Walk, /) -> bool:
        """Return whether the walk's best is proven to be the best of the whole space."""
        ...


@dataclass(frozen=True)
class Method:
    """A search, and whether more than one chain of it makes sense."""

    search: Search
    has_chains: bool
    description: str


SEARCHES: Mapping[str, Method] = {
    "mcmc": Method(mcmc, True, "Metropolis-Hastings at one temperature"),
    "exhaustive": Method(exhaustive, False, "branch and bound, proves the optimum"),
    "random": Method(random, True, "whole strategies at random"),
    "greedy": Method(greedy, False, "the best config of one unit after another"),
    "annealing": Method(annealing, True, "Metropolis-Hastings with a falling temperature"),
    "optcnn": Method(optcnn, False, "dynamic programming without overlap (Jia et al. 2018)"),
}


def find_method(name: str) -> Method:
    """Return a method by name; raise :class:`FlexSimError` with the choices for another one."""
    if name not in SEARCHES:
        raise FlexSimError(f"there is no search {name!r}: {choices_text(name, SEARCHES)}")
    return SEARCHES[name]
