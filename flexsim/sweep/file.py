"""Reading a sweep file: a scenario, or its base and changes to it, with a ``[sweep]`` table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexsim.errors import SweepError
from flexsim.files import data_directory, is_file, read_toml
from flexsim.scenario.load import replaced
from flexsim.sweep.axes import varied_keys
from flexsim.sweep.equal_work import fair_metric
from flexsim.sweep.table import sweep_table


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file describes it; small, and the same wherever it is sent.

    ``content`` is JSON: the tables of the scenario. ``table`` is that of the ``[sweep]`` table.
    """

    path: str
    """The file, for messages."""
    source: str
    """The file beside which others are looked for: the base's where there is one."""
    content: str
    table: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem


def load_sweep(path: str | Path, changes: Sequence[str] = ()) -> Sweep:
    """Return the sweep of a TOML file; ``changes`` replace keys: ``"training.micro_batch=2"``.

    Raise :class:`FlexSimError` in one sentence where the file cannot be read or is wrong.
    """
    content = read_toml(Path(path), SweepError)
    for change in changes:
        replaced(content, change)
    return sweep_from(content, path)


def sweep_from(content: Mapping[str, Any], path: str | Path = "sweep") -> Sweep:
    """Return the sweep of parsed tables; ``path`` names it in messages."""
    if "sweep" not in content:
        raise SweepError(f"{path}: the table [sweep] is missing: it says which keys vary")
    table = sweep_table(content["sweep"], str(path))
    if not table.best:
        table = table.model_copy(update={"best": fair_metric(varied_keys(table))})
    scenario = {key: value for key, value in content.items() if key not in ("sweep", "base")}
    source = str(path)
    if "base" in content:
        found = _base(content["base"], Path(path))
        scenario, source = _merged(read_toml(found, SweepError), scenario), str(found)
    return Sweep(str(path), source, json.dumps(scenario, default=str), table.model_dump_json())


def _base(name: Any, path: Path) -> Path:
    """Return the scenario that a sweep starts from: a path from the file's, or a shipped name."""
    if not isinstance(name, str):
        raise SweepError(f"{path}: base = {name!r} should be the path of a scenario file")
    shipped = data_directory("scenarios") / f"{name}.toml"
    for candidate in (path.parent / name, Path(name), shipped):
        if is_file(candidate):
            return Path(os.path.normpath(candidate))
    raise SweepError(
        f"{path}: base = {name!r}: there is no such scenario file; give its path from the"
        " sweep file's directory, or a name that `flexsim list scenarios` prints"
    )


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the keys of ``changes`` in their place, table by table."""
    whole = dict(base)
    for key, value in changes.items():
        before = whole.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        whole[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return whole
