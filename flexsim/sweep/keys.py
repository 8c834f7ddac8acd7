"""The keys of a scenario by their dotted names: which exist, and a file's tables made flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from flexsim.errors import choices_text
from flexsim.scenario.schema import Scenario

TABLES = ("model", "cluster", "training", "strategy", "simulation", "search")
"""Those that a sweep may vary."""


@cache
def defaults() -> dict[str, Any]:
    """Return every key that a sweep may vary and what it is unless given."""
    found: dict[str, Any] = {}
    for table in TABLES:
        model: Any = Scenario.model_fields[table].annotation
        for name, field in model.model_fields.items():
            found[f"{table}.{name}"] = None if field.is_required() else field.default
    return found


def wrong_key(key: str, further: Iterable[str] = ()) -> str:
    """Return what to choose in place of an unknown key: of its table, or the tables."""
    table = key.partition(".")[0]
    known = [*defaults(), *(each for each in further if each not in defaults())]
    same = [each for each in known if each.startswith(f"{table}.")]
    if same:
        return choices_text(key, same)
    near = choices_text(key, known).partition("?")
    hint = f"{near[0]}? " if near[1] else ""
    return f"{hint}choose a key of {', '.join(TABLES)}, such as strategy.tensor"


def flat(
    table: Mapping[str, Any], is_leaf: Callable[[Mapping[str, Any]], bool], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested tables; a mapping that ``is_leaf`` is a value."""
    for key, value in table.items():
        if isinstance(value, Mapping) and not is_leaf(value):
            yield from flat(value, is_leaf, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flat_scenario(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that determine what is simulated: those of :data:`TABLES`."""
    tables = {name: content[name] for name in TABLES if name in content}
    return dict(flat(tables, lambda each: False))


def with_values(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a scenario with dotted keys set; ``content`` stays as it is."""
    whole = dict(content)
    for key, value in values.items():
        table, _, name = key.partition(".")
        whole[table] = {**whole.get(table, {}), name: value}
    return whole
