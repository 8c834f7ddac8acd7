"""Reading a scenario file, and changing single keys of it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flexsim.errors import ScenarioError
from flexsim.files import read_toml
from flexsim.scenario.schema import Scenario


def load_scenario(
    path: str | Path, overrides: Sequence[str] = (), strategy_file: str | Path | None = None
) -> Scenario:
    """Return the scenario of a TOML file.

    ``strategy_file`` takes the place of the ``[strategy]`` table, but for ``fold``. Each of
    ``overrides`` replaces one key: ``"strategy.tensor=4"``. Raise
    :class:`ScenarioError` in one sentence where the file cannot be read or is wrong.
    """
    content = read_toml(Path(path), ScenarioError)
    if strategy_file is not None:
        content["strategy"] = _of_file(content, Path(path), Path(strategy_file))
    for override in overrides:
        replaced(content, override)
    return Scenario.from_dict(content, str(path))


def _of_file(content: dict[str, Any], path: Path, file: Path) -> dict[str, Any]:
    """Return the table that stands for a strategy file, by its path from the scenario's."""
    table = content.get("strategy")
    fold = {"fold": table["fold"]} if isinstance(table, dict) and "fold" in table else {}
    # Both ends are resolved: "..", behind a link, leads up from where the link points.
    return {"file": os.path.relpath(file.resolve(), path.parent.resolve()), **fold}


def replaced(content: dict[str, Any], override: str) -> None:
    """Set one key, given as ``table.key=value``, in a parsed file."""
    key, equals, text = override.partition("=")
    *tables, last = [part.strip() for part in key.split(".")]
    if not equals or not all([*tables, last]):
        raise ScenarioError(f"{override!r} does not set a key: write it as strategy.tensor=4")
    table = content
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"{override!r} does not set a key: {name} is not a table")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    """Return what TOML makes of ``text``; the text itself where it is not TOML."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if len(parsed) == 1 else text
