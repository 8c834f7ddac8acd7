"""A small GPT on one host, as the content of a scenario and as a file, for end-to-end tests."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import flexsim
from flexsim.timeline.memory import PARTS
from flexsim.timeline.memory_series import memory_series

SMALL: dict[str, dict[str, Any]] = {
    "model": {
        "name": "gpt",
        "layers": 4,
        "hidden": 512,
        "heads": 8,
        "sequence": 256,
        "vocabulary": 1024,
    },
    "cluster": {"device_graph": "dgx-a100", "hosts": 1},
    "training": {"global_batch": 8, "micro_batch": 1},
    "strategy": {"name": "megatron", "tensor": 2, "pipeline": 2, "data": 2},
}


def small(**tables: dict[str, Any]) -> dict[str, Any]:
    """Return the content with keys of its tables replaced: ``small(strategy={"data": 1})``."""
    content = copy.deepcopy(SMALL)
    for table, keys in tables.items():
        content.setdefault(table, {}).update(keys)
    return content


def simulate_small(**tables: dict[str, Any]) -> flexsim.Result:
    """Return the result of the small scenario with keys replaced."""
    return flexsim.run(flexsim.Scenario.from_dict(small(**tables), "small.toml"))


def most_activations(result: flexsim.Result) -> int:
    """Return the most saved activations that the first stage holds at a time."""
    series = memory_series(result.timeline)
    assert series is not None
    return int(series.devices[0].parts[:, PARTS.index("activations")].max())


def toml_text(content: dict[str, Any]) -> str:
    """Return tables of plain values, lists and inline tables as TOML."""
    lines = [f"{key} = {_value(each)}" for key, each in content.items() if not _is_table(each)]
    for name, table in content.items():
        if _is_table(table):
            lines += [f"[{name}]", *(f"{key} = {_value(each)}" for key, each in table.items())]
    return "\n".join(lines) + "\n"


def write_small(path: Path, **tables: dict[str, Any]) -> Path:
    """Write the small scenario with keys replaced, and return its path."""
    path.write_text(toml_text(small(**tables)), encoding="utf-8")
    return path


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)
