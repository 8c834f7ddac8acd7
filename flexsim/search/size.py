"""The exact size of a space, by operator and by letter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log10, prod
from typing import Any

from flexsim.search.space import Space
from flexsim.search.units import Unit

_LONGEST = 10**6


@dataclass(frozen=True)
class SizeRow:
    """How many configs an operator has if one letter alone is searched, and all together.

    ``count`` operators share the config, because they share a weight.
    """

    name: str
    dims: str
    count: int
    by_letter: dict[str, int]
    together: int


@dataclass(frozen=True)
class SpaceSize:
    """The rows of all operators and their products."""

    rows: tuple[SizeRow, ...]
    letters: str
    by_letter: dict[str, int]
    together: int

    def content(self) -> dict[str, Any]:
        """Return everything as plain values; numbers are exact, of any length."""
        operators = {
            row.name: {"dims": row.dims, **row.by_letter, "together": row.together}
            for row in self.rows
        }
        return {
            "operators": operators,
            "in_all": {**self.by_letter, "together": self.together},
            "log10": log10(self.together),
        }


def space_size(space: Space) -> SpaceSize:
    """Return the size of a space by operator, by each of its letters alone, and in all."""
    letters = space.restrictions.dimensions
    alone = {
        letter: replace(space, restrictions=replace(space.restrictions, dimensions=letter))
        for letter in letters
    }
    rows = tuple(
        _row(unit, {letter: own.size(unit) for letter, own in alone.items()}, space.size(unit))
        for unit in space.units
    )
    by_letter = {letter: prod(row.by_letter[letter] for row in rows) for letter in letters}
    return SpaceSize(rows, letters, by_letter, prod(row.together for row in rows))


def short(number: int) -> str:
    """Return a number in full up to a million, then as a power of ten."""
    if number <= _LONGEST:
        return f"{number:,}"
    exponent = len(str(number)) - 1
    return f"{number // 10 ** (exponent - 2) / 100:.2f}e{exponent}"


def _row(unit: Unit, by_letter: dict[str, int], together: int) -> SizeRow:
    more = len(unit.operators) - 1
    name = f"{unit.name} and {more} that share its weight" if more else unit.name
    dims = " ".join(f"{dim.name}{dim.limit}:{dim.letter}" for dim in unit.dims)
    return SizeRow(name, dims, len(unit.operators), by_letter, together)
