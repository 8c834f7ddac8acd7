"""The columns of a results file, and what stands in them for one configuration."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flexsim.task_graph.kinds import COMMUNICATION_KINDS
from flexsim.timeline.memory_table import PARTS

NUMBER, STATUS, REASON, FINGERPRINT = "configuration", "status", "reason", "fingerprint"
OK, OUT_OF_MEMORY, SKIPPED, ERROR = "ok", "out-of-memory", "skipped", "error"
COST = "cost_per_iteration"

_SPEED = (
    "iteration_time_s",
    "tokens_per_s",
    "samples_per_s",
    "model_flops",
    "hardware_flops",
    "mfu",
    "hfu",
)
_SHARES = (
    "bubble_fraction",
    "bubble_ratio",
    "bubble_fraction_of_span",
    "compute_fraction",
    *(f"exposed_communication_s.{kind}" for kind in COMMUNICATION_KINDS),
)
_MEMORY = (
    "peak_memory_bytes",
    "peak_memory_stage",
    *(f"peak_memory_bytes.{part}" for part in PARTS),
    "peak_memory_at",
    "fits_memory",
)
_SIZES = ("num_devices", "num_tasks", "num_tasks_folded_away")
SEARCH = ("baseline_iteration_time_s", "proposals", "proven_optimal")
_LARGER_IS_BETTER = ("tokens_per_s", "samples_per_s", "mfu", "hfu", "compute_fraction")
_NUMBERS = frozenset((int, float))
_NO_NUMBERS = ("peak_memory_at", "fits_memory", "proven_optimal")


def metric_columns(has_shares: bool, has_search: bool, has_price: bool) -> tuple[str, ...]:
    """Return the columns of metrics, in order."""
    return (
        *_SPEED,
        *(_SHARES if has_shares else ()),
        *_MEMORY,
        *_SIZES,
        *(SEARCH if has_search else ()),
        *((COST,) if has_price else ()),
    )


def all_columns(keys: Iterable[str], metrics: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a results file, in order."""
    return (NUMBER, *keys, STATUS, REASON, *metrics, FINGERPRINT)


def numeric(metrics: Iterable[str]) -> list[str]:
    """Return the columns by which rows can be ranked."""
    return [name for name in metrics if name not in _NO_NUMBERS]


def is_better_larger(metric: str) -> bool:
    """Whether more of a metric is better."""
    return metric in _LARGER_IS_BETTER


def metric_cells(metrics: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    """Return the cells of :func:`metric_columns`; what is not known is empty."""
    found = dict(metrics)
    for kind, time_s in metrics.get("exposed_communication_s", {}).items():
        found[f"exposed_communication_s.{kind}"] = time_s
    stages = metrics.get("peak_memory_bytes_per_stage")
    if stages:
        fullest = max(stages, key=lambda stage: stage["total"])
        found["peak_memory_stage"] = fullest["stage"]
        found |= {f"peak_memory_bytes.{part}": fullest[part] for part in PARTS}
    return [found.get(column) for column in columns]


def line(cells: Iterable[Any]) -> str:
    """Return one line of a CSV file, its end included; no cell breaks the line."""
    text: str = _WRITER.writerow([c if type(c) in _NUMBERS else _cell(c) for c in cells])
    return text


class _Echo:
    """Gives back what is written to it, which a CSV writer passes on."""

    def write(self, text: str) -> str:
        """Return a line."""
        return text


_WRITER: Any = csv.writer(_Echo(), lineterminator="\n")


def _cell(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isprintable() else _printable(value)
    return json.dumps(value) if kind is list or kind is dict else value


def _printable(text: str) -> str:
    """Return a text in one line, other control characters left out."""
    return "".join(filter(str.isprintable, " ".join(text.split())))
