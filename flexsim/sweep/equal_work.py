"""Which keys change the work of an iteration: only iterations of equal work compare by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BATCH = "training.global_batch"
_MODEL = "model."
_SAME_WORK = tuple(
    f"{_MODEL}{name}" for name in ("attention", "capacity_factor", "load_imbalance", "seed")
)
"""How a model is computed, not what."""


def keys_of_work(keys: Iterable[str]) -> tuple[str, ...]:
    """Return those of the keys that change what an iteration has to compute: model and batch."""
    return tuple(key for key in keys if key == _BATCH or _is_of_model(key))


def _is_of_model(key: str) -> bool:
    return key.startswith(_MODEL) and key not in _SAME_WORK


def fair_metric(keys: Iterable[str]) -> str:
    """Return the metric that ranks configurations in which ``keys`` differ.

    Iteration time where all do the same work, samples a second where only the batch differs, and
    MFU, the share of what the devices could do, where models differ.
    """
    work = keys_of_work(keys)
    if not work:
        return "iteration_time_s"
    return "samples_per_s" if work == (_BATCH,) else "mfu"


def by_work(
    rows: Iterable[Mapping[str, Any]], keys: Sequence[str]
) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Return rows by the values of the keys of work, both in the order in which they come."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups
