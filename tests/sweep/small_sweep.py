"""A quick sweep of a small GPT on one host, as tables and as a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from small_gpt import small, toml_text

from flexsim.sweep.file import sweep_from
from flexsim.sweep.work import Opened

SWEEP: dict[str, Any] = {
    "where": "strategy.tensor * strategy.pipeline * strategy.data == cluster.devices",
    "grid": {
        "strategy.tensor": [1, 2, 4, 8],
        "strategy.pipeline": [1, 2, 3, 4],
        "strategy.data": [1, 2, 4, 8],
        "training.micro_batch": [1, 2],
    },
}


def small_sweep(sweep: dict[str, Any] | None = None, **tables: dict[str, Any]) -> dict[str, Any]:
    """Return the tables of the small scenario with a ``[sweep]`` table."""
    return {**small(**tables), "sweep": copy.deepcopy(SWEEP if sweep is None else sweep)}


def write_sweep(path: Path, sweep: dict[str, Any] | None = None, **tables: Any) -> Path:
    """Write the small sweep as a file, and return its path."""
    path.write_text(toml_text(small_sweep(sweep, **tables)), encoding="utf-8")
    return path


def opened(sweep: dict[str, Any], **tables: Any) -> Opened:
    """Return a sweep of the small scenario, ready for work."""
    return Opened(sweep_from(small_sweep(sweep, **tables), "small.toml"))


def configurations(sweep: dict[str, Any], **tables: Any) -> list[dict[str, Any]]:
    """Return the keys that vary in every configuration, in the order of their numbers."""
    found = opened(sweep, **tables)
    space = found.space
    return [space.with_derived(space.plain_values(number)) for number in sorted(found.walk())]
