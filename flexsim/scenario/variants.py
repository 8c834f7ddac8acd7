"""Many scenarios that differ from one in a few keys, each table validated once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from flexsim.errors import ScenarioError
from flexsim.files import read_toml
from flexsim.scenario.schema import Scenario

_MOST_TABLES = 8_192
"""Validated tables that are kept; some kilobytes each."""

Changes = Sequence[tuple[tuple[str, ...], Any]]
"""What is set in one table, in order: path below the table (none: the table itself) and value."""


class Variants:
    """Makes the scenarios of a base with some dotted keys replaced.

    A scenario is the one that :func:`load_scenario` returns for a file with these values in
    it, and what is wrong with one is told in the same sentence. Tables are shared: what
    several scenarios have in common is validated once and is one object.

    >>> variants = Variants.of("scenarios/gpt3-175b-64xa100.toml")
    >>> variants.scenario({"strategy.tensor": 4, "training.micro_batch": 2}).strategy.tensor
    4
    """

    def __init__(self, base: Mapping[str, Any], source: str) -> None:
        """Take tables as in a file; ``source`` names it in messages and says where it lies."""
        self._base = base
        self._source = source
        self._tables: dict[Hashable, Any] = {}
        self._frame: Scenario | None = None

    @classmethod
    def of(cls, file: str | Path | None, base: Mapping[str, Any] | None = None) -> Variants:
        """Return the variants of ``base``, or of the content of ``file`` where there is none.

        Paths in the scenarios are looked up beside ``file``, and messages name it. The base
        alone need not be valid: what it lacks may be among the values of every variant.
        """
        if base is None:
            base = {} if file is None else read_toml(Path(file), ScenarioError)
        return cls(base, "scenario" if file is None else str(file))

    def scenario(self, values: Mapping[str, Any]) -> Scenario:
        """Return the scenario with ``values`` at their dotted keys (``"strategy.tensor"``).

        Raise :class:`ScenarioError` in one sentence where a key or a value is wrong.
        """
        changes = _by_table(values)
        frame = self._frame or self._framed()
        try:
            tables = {name: self._table(name, some) for name, some in changes.items()}
        except (ValidationError, _UnknownTableError):
            frame = None
        if frame is None:
            return Scenario.from_dict(_changed(self._base, changes), self._source)
        return frame.model_copy(update=tables)

    def _framed(self) -> Scenario | None:
        """Return the scenario of the base alone, or None where it is not valid."""
        if self._frame is None:
            try:
                self._frame = Scenario.from_dict(self._base, self._source)
            except ScenarioError:
                return None
        return self._frame

    def _table(self, name: str, changes: Changes) -> Any:
        """Return a table of the base with changes, validated now or before."""
        key = name, *[(path, _frozen(value)) for path, value in changes]
        found = self._tables.get(key)
        if found is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            found = self._tables[key] = self._validated(name, changes)
        return found

    def _validated(self, name: str, changes: Changes) -> Any:
        content = _changed({k: v for k, v in self._base.items() if k == name}, {name: changes})
        known = _validators()
        if name not in known:
            raise _UnknownTableError
        return known[name].validate_python(content[name])


class _UnknownTableError(Exception):
    """A key that is no table of a scenario: the whole has to be looked at."""


@cache
def _validators() -> dict[str, TypeAdapter[Any]]:
    """Return what validates each table of a scenario."""
    hints = get_type_hints(Scenario, include_extras=True)
    return {name: TypeAdapter(hints[name]) for name in Scenario.model_fields}


def _by_table(values: Mapping[str, Any]) -> Mapping[str, Changes]:
    """Return the values by their table, in the order given."""
    found: dict[str, list[tuple[tuple[str, ...], Any]]] = {}
    for key, value in values.items():
        table, path = _place(key)
        found.setdefault(table, []).append((path, value))
    return found


@lru_cache(maxsize=4096)
def _place(key: str) -> tuple[str, tuple[str, ...]]:
    """Return the table of a dotted key, and the path below it."""
    table, *path = [part.strip() for part in key.split(".")]
    if not all([table, *path]):
        raise ScenarioError(f"{key!r} does not set a key: write it as strategy.tensor")
    return table, tuple(path)


def _changed(base: Mapping[str, Any], changes: Mapping[str, Changes]) -> dict[str, Any]:
    """Return tables with changes; what is not changed is shared with ``base``."""
    content = dict(base)
    for name, some in changes.items():
        for path, value in some:
            _set(content, (name, *path), value)
    return content


def _set(table: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set the value at a path; tables on the way are copied."""
    for name in path[:-1]:
        inner = table.get(name, {})
        if not isinstance(inner, Mapping):
            key = ".".join(path)
            raise ScenarioError(f"{key!r} does not set a key: {name} is not a table")
        table[name] = dict(inner)
        table = table[name]
    table[path[-1]] = value


def _frozen(value: Any) -> Hashable:
    """Return what tells a value from others, types told apart (1, 1.0 and true)."""
    if isinstance(value, int | float | str):
        return type(value), value
    if isinstance(value, Mapping):
        return "table", tuple((key, _frozen(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_frozen, value))
    return type(value), value if isinstance(value, Hashable) else repr(value)
