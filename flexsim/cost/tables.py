"""Strict reading of TOML tables into frozen records.

A record's fields say how they are read: ``quantity("time")`` is a field that a file gives
as text with a unit, under the field's name without its unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from flexsim.errors import FlexSimError, ProfileError, choices_text
from flexsim.units import NS_PER_S, parse_bandwidth, parse_bytes, parse_flops, parse_seconds

Record = TypeVar("Record")

_SUFFIXES = ("_bytes_per_s", "_bytes", "_ns")


def quantity(how: str, **options: Any) -> Any:
    """Return a dataclass field that :func:`read_record` reads in the way named ``how``.

    ``options`` go to :func:`dataclasses.field`; a field with a default may be left out.
    """
    return field(metadata={"how": how}, **options)


def part_of(record: type[Any], **options: Any) -> Any:
    """Return a dataclass field that holds one sub-table, read as ``record``."""
    return field(metadata={"record": record}, **options)


def named(record: type[Any]) -> Any:
    """Return a dataclass field that holds a table of sub-tables, each read as ``record``."""
    return field(metadata={"named": record})


def read_record(record: type[Record], table: Any, where: str) -> Record:
    """Return ``record`` filled from a parsed TOML table; ``where`` names it in errors.

    Raise :class:`ProfileError` for an unknown, missing or malformed key.
    """
    if not isinstance(table, dict):
        raise ProfileError(f"{where} = {table!r} is not a table")
    by_key = {_key(item): item for item in fields(record)}  # type: ignore[arg-type]
    for key in table:
        if key not in by_key:
            raise ProfileError(f"{where}: unknown key {key!r}: {choices_text(key, by_key)}")
    missing = [key for key, item in by_key.items() if key not in table and not _optional(item)]
    if missing:
        raise ProfileError(f"{where}: the key {missing[0]!r} is missing")
    values = {by_key[k].name: _value(by_key[k], v, _path(where, k)) for k, v in table.items()}
    return record(**values)


def _key(item: Field[Any]) -> str:
    if item.metadata.get("how") not in {"bandwidth", "size", "time"}:
        return item.name
    suffix = next((s for s in _SUFFIXES if item.name.endswith(s)), "")
    return item.name.removesuffix(suffix)


def _optional(item: Field[Any]) -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING


def _path(where: str, key: str) -> str:
    return f"{where}{'.' if ': ' in where else ': '}{key}"


def _value(item: Field[Any], value: Any, where: str) -> Any:
    if "record" in item.metadata:
        return read_record(item.metadata["record"], value, where)
    if "named" in item.metadata:
        return _read_named(item.metadata["named"], value, where)
    return _READERS[item.metadata["how"]](value, where)


def _read_named(record: type[Any], table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ProfileError(f"{where} = {table!r} is not a table")
    return {name: read_record(record, row, _path(where, name)) for name, row in table.items()}


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProfileError(f"{where} = {value!r} is not a finite number")
    if value < 0:
        raise ProfileError(f"{where} = {value!r} must not be negative")
    return float(value)


def _positive(value: Any, where: str) -> float:
    number = _number(value, where)
    if number == 0:
        raise ProfileError(f"{where} = {value!r} must be positive")
    return number


def _fraction(value: Any, where: str) -> float:
    number = _positive(value, where)
    if number > 1:
        raise ProfileError(f"{where} = {value!r} must be a share between 0 and 1")
    return number


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ProfileError(f"{where} = {value!r} must be a whole number of at least 1")
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ProfileError(f"{where} = {value!r} must be true or false")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ProfileError(f"{where} = {value!r} must be text")
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ProfileError(f"{where} = {value!r} must be a list of names")
    return tuple(value)


def _with_unit(parse: Callable[[str], float], factor: float) -> Callable[[Any, str], float]:
    def read(value: Any, where: str) -> float:
        try:
            number = parse(value) * factor
        except FlexSimError as problem:
            raise ProfileError(f"{where}: {problem}") from problem
        return _number(number, where)

    return read


_read_time = _with_unit(parse_seconds, NS_PER_S)
_read_size = _with_unit(parse_bytes, 1)
_read_bandwidth = _with_unit(parse_bandwidth, 1)
_read_flops = _with_unit(parse_flops, 1)


def _by_precision(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where} = {value!r} is not a table")
    rates = {name: _read_flops(rate, _path(where, name)) for name, rate in value.items()}
    return {name: _positive(rate, _path(where, name)) for name, rate in rates.items()}


def _shares(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where} = {value!r} is not a table")
    return {name: _fraction(share, _path(where, name)) for name, share in value.items()}


def _numbers(value: Any, where: str) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where} = {value!r} is not a table of numbers")
    return {key: _number(each, _path(where, key)) for key, each in value.items()}


def _names_by_name(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ProfileError(f"{where} = {value!r} is not a table of lists of names")
    return {name: _names(each, _path(where, name)) for name, each in value.items()}


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "numbers": _numbers,
    "number": _number,
    "factor": _positive,
    "fraction": _fraction,
    "fractions": _shares,
    "count": _count,
    "flag": _flag,
    "text": _text,
    "names": _names,
    "names by name": _names_by_name,
    "time": _read_time,
    "size": lambda value, where: round(_read_size(value, where)),
    "bandwidth": lambda value, where: _positive(_read_bandwidth(value, where), where),
    "flops by precision": _by_precision,
}
