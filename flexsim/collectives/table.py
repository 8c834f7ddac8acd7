"""The algorithms of every collective, by the names that people give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from flexsim.collectives.direct import all_to_all, gather_or_scatter, hierarchical_all_to_all
from flexsim.collectives.flows import Plan
from flexsim.collectives.halving import halving_doubling
from flexsim.collectives.hierarchical import hierarchical
from flexsim.collectives.ring import BACKWARD, FORWARD, chain, multi_ring, ring
from flexsim.collectives.switch import in_network, star
from flexsim.collectives.torus import torus
from flexsim.collectives.tree import tree_all_reduce, tree_broadcast
from flexsim.errors import FlexSimError, choices_text

Builder = Callable[[tuple[int, ...]], Plan]


def _scattering(collective: str) -> dict[str, Builder]:
    """Return the algorithms that all collectives of sums and gathers have."""
    both = (FORWARD, BACKWARD)
    return {
        "ring": partial(ring, collective),
        "bidirectional-ring": partial(ring, collective, directions=both),
        "multi-ring": partial(multi_ring, collective),
        "halving-doubling": partial(halving_doubling, collective),
        "direct": partial(gather_or_scatter, collective),
        "hierarchical": partial(hierarchical, collective),
        "torus": partial(torus, collective),
    }


ALGORITHMS: Mapping[str, Mapping[str, Builder]] = {
    "all-reduce": {
        **_scattering("all-reduce"),
        "tree": tree_all_reduce,
        "in-network": in_network,
        "star": star,
    },
    "all-gather": _scattering("all-gather"),
    "reduce-scatter": _scattering("reduce-scatter"),
    "all-to-all": {"direct": all_to_all, "hierarchical": hierarchical_all_to_all},
    "broadcast": {"ring": chain, "tree": tree_broadcast},
}
"""Collective to algorithm to what plans it for a layout."""


def algorithms_of(collective: str) -> tuple[str, ...]:
    """Return the names of a collective's algorithms; raise :class:`FlexSimError` if unknown."""
    if collective not in ALGORITHMS:
        choices = choices_text(collective, ALGORITHMS)
        raise FlexSimError(f"there is no collective {collective!r}: {choices}")
    return tuple(ALGORITHMS[collective])


def builder_of(collective: str, algorithm: str) -> Builder:
    """Return what plans one algorithm; raise :class:`FlexSimError` where there is none."""
    names = algorithms_of(collective)
    if algorithm not in names:
        choices = choices_text(algorithm, names)
        raise FlexSimError(f"{collective} has no algorithm {algorithm!r}: {choices}")
    return ALGORITHMS[collective][algorithm]
