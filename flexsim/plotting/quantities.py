"""What stands on an axis: label, unit and scale of every metric and key of a results file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

GIB = 2**30


@dataclass(frozen=True)
class Quantity:
    """A column as people read it: ``value * scale`` is in ``unit``."""

    label: str
    unit: str = ""
    scale: float = 1.0
    is_larger_better: bool = False

    @property
    def axis_label(self) -> str:
        """The label with its unit, "iteration time (s)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


_SAMPLES = ContextVar("samples", default="sequences")


@contextmanager
def batches_of(samples: str) -> Iterator[None]:
    """Call what batches are made of ``samples``, "images" say, in the units of all axes within."""
    token = _SAMPLES.set(samples)
    try:
        yield
    finally:
        _SAMPLES.reset(token)


METRICS = {
    "iteration_time_s": Quantity("iteration time", "s"),
    "baseline_iteration_time_s": Quantity("iteration time under data parallelism", "s"),
    "tokens_per_s": Quantity("throughput", "tokens/s", 1.0, True),
    "samples_per_s": Quantity("throughput", "{samples}/s", 1.0, True),
    "model_flops": Quantity("model FLOPs of an iteration", "PFLOP", 1e-15),
    "hardware_flops": Quantity("executed FLOPs of an iteration", "PFLOP", 1e-15),
    "model_flops_per_s": Quantity("model FLOP/s of all devices", "PFLOP/s", 1e-15, True),
    "mfu": Quantity("MFU", "%", 100.0, True),
    "hfu": Quantity("HFU", "%", 100.0, True),
    "bubble_fraction": Quantity("pipeline bubble", "% of iteration time", 100.0),
    "bubble_ratio": Quantity("pipeline bubble", "% of ideal time", 100.0),
    "bubble_fraction_of_span": Quantity("pipeline bubble", "% of the longest span", 100.0),
    "compute_fraction": Quantity("compute", "% of iteration time", 100.0, True),
    "peak_memory_bytes": Quantity("peak memory of a device", "GiB", 1 / GIB),
    "peak_memory_stage": Quantity("stage of the fullest device"),
    "num_devices": Quantity("devices"),
    "num_tasks": Quantity("tasks replayed"),
    "num_tasks_folded_away": Quantity("tasks folded away"),
    "proposals": Quantity("proposals of the search"),
    "cost_per_iteration": Quantity("cost of an iteration", "in the price's currency"),
}
"""Metrics by the name that their column has; ``{samples}`` stands for what batches are made of."""

_FAMILIES = {
    "exposed_communication_s.": Quantity("exposed {} communication", "s"),
    "peak_memory_bytes.": Quantity("{} in the peak memory", "GiB", 1 / GIB),
}
"""Metrics that have a column a part."""

KEYS = {
    "cluster.device_graph": Quantity("device graph"),
    "cluster.devices": Quantity("devices"),
    "cluster.hosts": Quantity("hosts"),
    "model.preset": Quantity("model"),
    "model.layers": Quantity("layers"),
    "model.hidden": Quantity("hidden size"),
    "model.sequence": Quantity("sequence length", "tokens"),
    "strategy.chunks": Quantity("chunks a device"),
    "strategy.schedule": Quantity("schedule"),
    "training.global_batch": Quantity("global batch", "{samples}"),
    "training.micro_batch": Quantity("micro-batch", "{samples}"),
    "training.recompute": Quantity("recomputation"),
    **{
        f"strategy.{name}": Quantity(f"{name} degree")
        for name in ("tensor", "pipeline", "data", "context", "expert")
    },
}
"""Keys of a scenario by their dotted name; others are called by the last part of it."""

_ENDINGS = {
    "_ns": Quantity("", "s", 1e-9),
    "_s": Quantity("", "s"),
    "_bytes": Quantity("", "GiB", 1 / GIB),
    "_fraction": Quantity("", "%", 100.0),
}


def quantity_of(column: str) -> Quantity:
    """Return what a column is called on an axis; of an unknown one, what its name tells.

    Batches are made of sequences, unless :func:`batches_of` says otherwise.
    """
    if column in METRICS or column in KEYS:
        known = METRICS.get(column) or KEYS[column]
        return replace(known, unit=known.unit.format(samples=_SAMPLES.get()))
    for prefix, family in _FAMILIES.items():
        if column.startswith(prefix):
            part = column.removeprefix(prefix)
            return Quantity(family.label.format(part), family.unit, family.scale)
    return _named(column.rpartition(".")[2])


def _named(name: str) -> Quantity:
    for ending, known in _ENDINGS.items():
        if name.endswith(ending) and name != ending:
            label = name.removesuffix(ending).replace("_", " ")
            return Quantity(label, known.unit, known.scale)
    return Quantity(name.replace("_", " "))


def is_metric(column: str) -> bool:
    """Whether a column is a metric of numbers, not a key or a note."""
    return column in METRICS or any(column.startswith(prefix) for prefix in _FAMILIES)
