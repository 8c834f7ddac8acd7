"""The axes of a sweep: a key of ``grid`` is one, the keys of a ``zip`` are one together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexsim.errors import SweepError
from flexsim.sweep.keys import defaults, flat, wrong_key
from flexsim.sweep.table import SweepTable
from flexsim.validation import value_text

MOST_VALUES = 100_000
"""On one axis."""
_RANGES = ({"from", "to"}, {"from", "to", "step"}, {"from", "to", "factor"}, {"divisors_of"})
_RANGE_KEYS = frozenset.union(*map(frozenset, _RANGES))
_RANGE_TEXT = (
    "a list, { from = 1, to = 8 } with step = 2 or factor = 2 besides, or { divisors_of = 96 }"
)


@dataclass(frozen=True)
class Axis:
    """Keys that change together, and the values that they take: a tuple a step."""

    keys: tuple[str, ...]
    steps: tuple[tuple[Any, ...], ...]


def axes_of(table: SweepTable, source: str) -> tuple[Axis, ...]:
    """Return the axes of a sweep as they are written; the last one varies fastest.

    Raise :class:`SweepError` for a key that is unknown or varied twice, and for a list that is
    empty, holds a value twice, or is not as long as the others of its zip.
    """
    grid = [
        Axis((key,), tuple((value,) for value in values))
        for key, values in _listed(table.grid, f"{source}: sweep.grid")
    ]
    zips = [_zipped(each, f"{source}: sweep.zip") for each in table.zips if each]
    axes = (*grid, *zips)
    if not axes:
        raise SweepError(
            f'{source}: sweep.grid is empty: give it a key to vary, "strategy.tensor" = [1, 2, 4]'
        )
    _check_once([key for axis in axes for key in axis.keys], source)
    return axes


def varied_keys(table: SweepTable) -> list[str]:
    """Return the keys that a sweep names, known or not, without their values."""
    named = [table.grid, *(each for each in table.zips if isinstance(each, Mapping)), table.derive]
    return [key for each in named for key, _ in flat(each, _is_range)]


def check_key(key: str, where: str) -> None:
    """Raise :class:`SweepError` for a key that no scenario has."""
    if key not in defaults():
        raise SweepError(f"{where}: unknown key {key}: {wrong_key(key)}")


def _listed(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield every key of a table of lists, and its values."""
    for key, value in flat(table, _is_range):
        check_key(key, where)
        yield key, _values(value, f"{where}: {key} = {value_text(value)}")


def _zipped(table: Any, where: str) -> Axis:
    if not isinstance(table, Mapping):
        raise SweepError(f"{where} = {value_text(table)}: it should be a table of lists")
    columns = dict(_listed(table, where))
    first, *others = columns
    for other in others:
        if len(columns[other]) != len(columns[first]):
            raise SweepError(
                f"{where}: {other} has {len(columns[other])} values and {first} has"
                f" {len(columns[first])}; keys of one zip need equally many"
            )
    return Axis(tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _is_range(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= _RANGE_KEYS


def _values(value: Any, where: str) -> list[Any]:
    values = _range(value, where) if isinstance(value, Mapping) else value
    if not isinstance(values, list):
        raise SweepError(f"{where}: it should be {_RANGE_TEXT}")
    if not values:
        raise SweepError(f"{where} is empty: give it at least one value")
    if len(values) > MOST_VALUES:
        raise SweepError(f"{where} has {len(values):,} values; choose at most {MOST_VALUES:,}")
    return values


def _range(given: Mapping[str, Any], where: str) -> list[int]:
    is_known = any(set(given) == keys for keys in _RANGES)
    if not is_known or not all(type(each) is int and each > 0 for each in given.values()):
        raise SweepError(f"{where}: it should be {_RANGE_TEXT}, with whole numbers above zero")
    if "divisors_of" in given:
        return _divisors(given["divisors_of"])
    if given.get("factor") == 1:
        raise SweepError(f"{where}: factor = 1 leads nowhere; choose 2 or more")
    last, step, factor = given["to"], given.get("step", 1), given.get("factor")
    return _counted(given["from"], last, _times(factor) if factor else lambda each: each + step)


def _times(factor: int) -> Callable[[int], int]:
    return lambda each: each * factor


def _counted(first: int, last: int, following: Callable[[int], int]) -> list[int]:
    found: list[int] = []
    while first <= last and len(found) <= MOST_VALUES:
        found.append(first)
        first = following(first)
    return found


def _divisors(size: int) -> list[int]:
    low = [each for each in range(1, int(size**0.5) + 1) if size % each == 0]
    return sorted({*low, *(size // each for each in low)})


def _check_once(keys: Sequence[str], source: str) -> None:
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise SweepError(
                f"{source}: sweep varies {key} twice; leave it out of one of grid and zip"
            )


def check_distinct(axes: Sequence[Axis], source: str) -> None:
    """Raise :class:`SweepError` where an axis holds the same values twice."""
    for axis in axes:
        seen: set[str] = set()
        for step in axis.steps:
            text = json.dumps(step, default=str)
            if text in seen:
                shown = ", ".join(
                    f"{key} = {value_text(each)}" for key, each in zip(axis.keys, step, strict=True)
                )
                raise SweepError(f"{source}: sweep holds {shown} twice; leave one out")
            seen.add(text)
