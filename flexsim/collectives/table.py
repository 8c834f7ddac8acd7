"""The algorithms of every collective, by the names that people give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from flexsim.collectives.flows import Plan
from flexsim.collectives.ring import BACKWARD, FORWARD, ring
from flexsim.errors import FlexSimError, choices_text

Builder = Callable[[tuple[int, ...]], Plan]

ALGORITHMS: Mapping[str, Mapping[str, Builder]] = {
    name: {
        "ring": partial(ring, name),
        "bidirectional-ring": partial(ring, name, directions=(FORWARD, BACKWARD)),
    }
    for name in ("all-reduce", "all-gather", "reduce-scatter")
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
