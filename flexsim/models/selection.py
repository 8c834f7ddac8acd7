"""From a family or preset by name, and what a user changes of it, to a checked config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flexsim.errors import ModelError, choices_text
from flexsim.models.config import ModelConfig
from flexsim.models.families import FAMILIES, FAMILY_DEFAULTS, FAMILY_KEYS, NEEDED_KEYS
from flexsim.models.presets import PRESET_FIELDS


def model_config(name: str | None, preset: str | None, **overrides: Any) -> ModelConfig:
    """Return the shape of family ``name``, or of ``preset`` with ``overrides`` in its place.

    An override of ``None`` counts as not given. What follows from other sizes (ffn from hidden,
    say) follows from the overridden ones. Raise :class:`ModelError` for unknown names and
    keys, missing keys and sizes that do not fit each other.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    base = _preset_fields(preset, name) if preset is not None else _family_fields(name)
    _check_keys(base["family"], given)
    changed: dict[str, Any] = {"published_parameters": None} if given else {}
    merged = {**base, **given, **changed}
    _check_complete(merged)
    return ModelConfig(**merged)


def family_keys(family: str) -> tuple[str, ...]:
    """Return the keys of a scenario's ``[model]`` that have a meaning for a family."""
    return FAMILY_KEYS[family]


def samples_of(name: str | None, preset: str | None = None) -> str:
    """Return what a batch of a family or preset is made of: images, sequences or samples.

    Of what is not known it is samples.
    """
    family = PRESET_FIELDS.get(preset or "", {}).get("family", name)
    keys = FAMILY_KEYS.get(family or "", ())
    if "image" in keys:
        return "images"
    return "sequences" if "sequence" in keys else "samples"


def _preset_fields(preset: str, name: str | None) -> Mapping[str, Any]:
    if preset not in PRESET_FIELDS:
        raise ModelError(f"model.preset = {preset!r}: {choices_text(preset, PRESET_FIELDS)}")
    found = PRESET_FIELDS[preset]
    if name is not None and name != found["family"]:
        raise ModelError(
            f"model.name = {name!r} does not go with model.preset = {preset!r}, which is a "
            f"{found['family']!r}; leave model.name out"
        )
    return found


def _family_fields(name: str | None) -> Mapping[str, Any]:
    if name is None:
        raise ModelError(
            f"model.name is missing: give one of {', '.join(sorted(FAMILIES))}, or a model.preset"
        )
    if name not in FAMILIES:
        raise ModelError(f"model.name = {name!r}: {choices_text(name, FAMILIES)}")
    return {"family": name} | FAMILY_DEFAULTS[name]


def _check_keys(family: str, given: Iterable[str]) -> None:
    known = family_keys(family)
    for key in given:
        if key not in known:
            raise ModelError(
                f"model.{key} has no meaning for the family {family!r}: {choices_text(key, known)}"
            )


def _check_complete(merged: Mapping[str, Any]) -> None:
    for key in NEEDED_KEYS[merged["family"]]:
        bare = key == "vocabulary" and not merged.get("embedding_and_head", True)
        if key not in merged and not bare:
            raise ModelError(f"model.{key} is missing: the family {merged['family']!r} needs it")
