"""Errors of many comparisons in a few numbers: in all, by family, and of memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, median

from flexsim.accuracy.compare import Comparison


@dataclass(frozen=True)
class Errors:
    """How far simulated values lie from measured ones, as fractions of the measured."""

    count: int
    mean_absolute: float
    median_absolute: float
    mean: float
    """With its sign: above zero where the simulation is too slow, or holds too much."""
    worst: float
    """The largest absolute error."""
    worst_name: str
    """Of what."""

    @staticmethod
    def of(errors: Iterable[tuple[str, float]]) -> Errors | None:
        """Return the summary of named errors, None where there is none."""
        named = list(errors)
        if not named:
            return None
        absolute = [abs(error) for _, error in named]
        worst = absolute.index(max(absolute))
        signed = [error for _, error in named]
        return Errors(
            *(len(named), mean(absolute), median(absolute), mean(signed)),
            *(absolute[worst], named[worst][0]),
        )


@dataclass(frozen=True)
class Flags:
    """Whether runs fitted into memory: as measured and as simulated."""

    ran_and_fits: int
    ran_but_does_not_fit: int
    out_of_memory_and_does_not_fit: int
    out_of_memory_but_fits: int

    @staticmethod
    def of(comparisons: Iterable[Comparison]) -> Flags:
        """Count the runs that were simulated."""
        found = [
            (each.question.was_out_of_memory, each.fits_memory)
            for each in comparisons
            if each.fits_memory is not None
        ]
        pairs = ((False, True), (False, False), (True, False), (True, True))
        return Flags(*(found.count(pair) for pair in pairs))


def time_errors(comparisons: Iterable[Comparison]) -> Errors | None:
    """Return the errors of times."""
    return Errors.of(
        (each.question.name, each.error) for each in comparisons if each.error is not None
    )


def memory_errors(comparisons: Iterable[Comparison]) -> Errors | None:
    """Return the errors of memory."""
    return Errors.of(
        (each.question.name, each.memory.error) for each in comparisons if each.memory is not None
    )


def by_family(comparisons: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """Return the comparisons of every family, in the order in which families come."""
    families: dict[str, list[Comparison]] = {}
    for each in comparisons:
        families.setdefault(each.question.family, []).append(each)
    return families
