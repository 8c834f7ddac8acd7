"""From what pydantic found wrong with a file to one sentence for the person who wrote it."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flexsim.errors import FlexSimError, choices_text

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_LONGEST_VALUE = 60


def as_value_error(parse: Callable[[str], float]) -> Callable[[Any], float]:
    """Wrap a parser of quantities so that pydantic collects what it raises."""

    def parse_or_complain(text: Any) -> float:
        try:
            return parse(text)
        except FlexSimError as problem:
            raise ValueError(str(problem)) from problem

    return parse_or_complain


def one_sentence(source: str, error: ValidationError, model: type[BaseModel]) -> str:
    """Return the most telling of pydantic's complaints as one sentence.

    It names the file ``source``, the key and its value, and the nearest key or choices.
    An unknown key goes first, since a misspelt key is also a missing one.
    """
    found = error.errors()
    unknown = [each for each in found if each["type"] == "extra_forbidden"]
    first = (unknown or found)[0]
    return f"{source}: {_complaint(first, model)}"


def key_path(location: tuple[int | str, ...]) -> str:
    """Return a location as people write it: ``links[3].bandwidth``, counted from 0."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def value_text(value: object) -> str:
    """Return ``value`` as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _complaint(found: ErrorDetails, model: type[BaseModel]) -> str:
    location, owners = _walk(found["loc"], model)
    key, value = key_path(location), found["input"]
    if found["type"] == "extra_forbidden":
        choices = choices_text(str(location[-1]), _keys(owners))
        return f"unknown key {_with_value(key, value)}: {choices}"
    if found["type"] == "missing":
        return f"the key {key} is missing"
    if found["type"] == "value_error":
        return _own_complaint(key, found)
    if found["type"] == "union_tag_invalid":
        key, value = f"{key}.{found['ctx']['discriminator'].strip(chr(39))}", found["ctx"]["tag"]
    return f"{key} = {value_text(value)}: {_reason(found, value)}"


def _with_value(key: str, value: object) -> str:
    return key if isinstance(value, dict | list) else f"{key} = {value_text(value)}"


def _own_complaint(key: str, found: ErrorDetails) -> str:
    """Word an error that a validator of ours raised; it may already name the value."""
    reason = str(found.get("ctx", {}).get("error", found["msg"]))
    value = found["input"]
    if not key:
        return reason
    return f"{key if repr(value) in reason else _with_value(key, value)}: {reason}"


def _reason(found: ErrorDetails, value: object) -> str:
    context = found.get("ctx", {})
    expected = context.get("expected_tags") or context.get("expected") or ""
    choices = re.findall(r"'([^']*)'", str(expected))
    if choices:
        return choices_text(str(value), choices)
    if found["type"] == "model_type":
        return "it should be a table"
    reason = found["msg"].replace("Input should", "it should")
    return reason[0].lower() + reason[1:]


def _keys(owners: Sequence[type[BaseModel]]) -> list[str]:
    fields = [pair for owner in owners for pair in owner.model_fields.items()]
    return list(dict.fromkeys(field.alias or name for name, field in fields))


def _walk(
    location: tuple[int | str, ...], model: type[BaseModel]
) -> tuple[tuple[int | str, ...], list[type[BaseModel]]]:
    """Return a location without pydantic's own marks, and the models that hold its last key.

    Where a value may be of several types, pydantic puts the type that it tried between the
    keys; such a mark chooses among the models and is dropped.
    """
    real: list[int | str] = []
    owners: list[type[BaseModel]] = [model]
    holders = owners
    for part in location:
        tagged = [owner for owner in owners if _answers_to(owner, part)]
        if tagged and part not in _keys(owners):
            owners = tagged
            continue
        holders = owners
        # A position in a list, or a key that the user chose, leads no deeper into the models.
        owners = _models_under(owners, part) if part in _keys(owners) else owners
        real.append(part)
    return tuple(real), holders


def _answers_to(owner: type[BaseModel], tag: int | str) -> bool:
    """Whether ``tag`` is the name of a model or one of the words that tell it from others."""
    words = [typing.get_args(field.annotation) for field in owner.model_fields.values()]
    return tag == owner.__name__ or any(tag in each for each in words)


def _models_under(owners: Sequence[type[BaseModel]], key: int | str) -> list[type[BaseModel]]:
    fields = [pair for owner in owners for pair in owner.model_fields.items()]
    found = [_models_in(field.annotation) for name, field in fields if key in (name, field.alias)]
    return [each for models in found for each in models]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models inside an annotation such as ``list[Link] | None``."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [annotation]
    return [each for inner in typing.get_args(annotation) for each in _models_in(inner)]
