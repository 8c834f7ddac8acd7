"""What was measured of a run, brought to the time of one iteration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flexsim.accuracy.cells import Cells
from flexsim.accuracy.flops import (
    hardware_flops,
    model_flops,
    num_devices_of,
    peak_flops_per_s,
    tokens_of,
)
from flexsim.accuracy.run_scenario import is_layer, software_of
from flexsim.accuracy.spellings import (
    ALL_DEVICES,
    FIRST_HOST,
    HARDWARE_FLOPS,
    IN_GB,
    MODEL_FLOPS,
    OUT_OF_MEMORY,
    WITH_SOFTWARE,
)
from flexsim.scenario.schema import Scenario
from flexsim.units import NS_PER_S

RATES = ("tokens_per_s_per_gpu", "samples_per_s", "tflops_per_gpu", "mfu_pct", "hfu_pct")
"""Columns that a time is computed from, the most exact first."""


@dataclass(frozen=True)
class Measured:
    """The time of one iteration, and the column that it was read or computed from."""

    metric: str
    seconds: float

    @property
    def nanoseconds(self) -> int:
        """The time as whole nanoseconds."""
        return round(self.seconds * NS_PER_S)


@dataclass(frozen=True)
class MeasuredMemory:
    """What a device held, in bytes, and of what."""

    num_bytes: float
    of: str
    """The fullest device, the "first" stage's, or "all" together."""
    with_overhead: bool
    """Whether with what the software occupies itself (nvidia-smi) or as allocated."""


def measured_of(cells: Cells, scenario: Scenario) -> Measured | None:
    """Return the measured time by the first column that tells it, None where none does.

    Rates are turned into times with the batch, TFLOP/s and utilization with FLOPs. Raise
    :class:`UnsimulatableError` where a cell is not a number.
    """
    return next(_times(cells, scenario), None)


def _times(cells: Cells, scenario: Scenario) -> Iterator[Measured]:
    facts = cells.facts
    seconds = cells.number("iter_time_s")
    if seconds is not None:
        yield Measured("iter_time_s", seconds)
    if "derived_iter_time_s" in facts:
        yield Measured("derived_iter_time_s", facts["derived_iter_time_s"])
    if is_layer(cells):
        both_ms = facts["forward_ms"] + facts["backward_ms"]
        yield Measured("forward_ms + backward_ms", both_ms / 1e3)
    yield from _from_rates(cells, scenario)


def _from_rates(cells: Cells, scenario: Scenario) -> Iterator[Measured]:
    devices = num_devices_of(scenario)
    tokens, sequences = tokens_of(scenario), scenario.training.global_batch
    for column in RATES:
        rate = cells.number(column)
        if rate is None:
            continue
        if column == "tokens_per_s_per_gpu":
            seconds = tokens / (rate * devices)
        elif column == "samples_per_s":
            seconds = sequences / rate
        elif column == "tflops_per_gpu":
            seconds = _flops(cells, scenario, column) / (rate * 1e12 * devices)
        else:
            seconds = _flops(cells, scenario, column) / (rate / 100 * peak_flops_per_s(scenario))
        yield Measured(column, seconds)


def _flops(cells: Cells, scenario: Scenario, column: str) -> float:
    """Return the FLOPs that a column counts."""
    counts_all = column == "hfu_pct" or (
        column == "tflops_per_gpu" and _counts_all(cells, scenario)
    )
    return hardware_flops(scenario) if counts_all else model_flops(scenario)


def _counts_all(cells: Cells, scenario: Scenario) -> bool:
    """Whether TFLOP/s hold recomputed FLOPs: as the row says, or as its software's users do."""
    said = cells.words("notes", "other_metric", "source")
    if re.search(MODEL_FLOPS, said):
        return False
    usual = software_of(cells).counts_recomputed and scenario.training.recompute == "full"
    return usual or re.search(HARDWARE_FLOPS, said) is not None


def memory_of(cells: Cells) -> MeasuredMemory | None:
    """Return the measured memory, None where there is none."""
    if out_of_memory(cells):
        return None
    size = cells.number("mem_gib")
    if size is None:
        return None
    said = cells.words("notes", "other_metric")
    unit = 10**9 if re.search(IN_GB, said) else 2**30
    of = "first" if re.search(FIRST_HOST, said) else "fullest"
    of = "all" if re.search(ALL_DEVICES, said) else of
    return MeasuredMemory(size * unit, of, re.search(WITH_SOFTWARE, said) is not None)


def out_of_memory(cells: Cells) -> bool:
    """Whether a row says that the run did not fit into memory."""
    columns = ("other_metric", "notes", "mem_gib", "iter_time_s", "tflops_per_gpu", "samples_per_s")
    return re.search(OUT_OF_MEMORY, cells.words(*columns)) is not None
