"""From ideal compute time to iteration time: what each cause adds; docs/metrics.md defines them.

Times are summed over devices, in whole nanoseconds, so that parts add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexsim.files import whole_file
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS, TASK_CODE
from flexsim.timeline.device_times import DeviceTimes, device_times
from flexsim.timeline.intervals import devices_of
from flexsim.timeline.metrics import IterationFacts, devices_alike
from flexsim.timeline.spans import Timeline
from flexsim.timeline.steady import steady_part
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

IDEAL = "ideal compute"


@dataclass(frozen=True)
class WaterfallStep:
    """What one cause adds to the iteration; ``time_ns`` is the mean over devices."""

    part: str
    time_ns: int
    device_ns: int
    """The same summed over all devices and, without a flush, all steady iterations."""


@dataclass(frozen=True)
class Waterfall:
    """The steps from ideal compute time, which is the first, to the iteration time.

    Both columns add up exactly: to ``iteration_ns``, and to the time of ``num_iterations`` times
    ``num_devices``. The iterations are those of a steady state, one where pipelines flush.
    """

    iteration_ns: int
    num_devices: int
    steps: tuple[WaterfallStep, ...]
    num_iterations: int = 1

    def to_frame(self) -> pd.DataFrame:
        """Return the table: ``part, time_ns, device_ns, share, until_ns``, a row a step.

        ``share`` is of the iteration time; ``until_ns`` sums the times up to here.
        """
        import pandas as pd

        table = pd.DataFrame(self.steps, columns=["part", "time_ns", "device_ns"])
        table["share"] = table["time_ns"] / max(self.iteration_ns, 1)
        table["until_ns"] = table["time_ns"].cumsum()
        return table

    def write(self, path: Path) -> None:
        """Write the table as a CSV file."""
        with whole_file(path) as temporary:
            self.to_frame().to_csv(temporary, index=False, lineterminator="\n")


def waterfall(timeline: Timeline, facts: IterationFacts) -> Waterfall:
    """Return what adds to the ideal compute time of an iteration, a step a cause that occurs.

    Kernel efficiency is negative where kernels are faster than the stated peak.
    """
    steady = steady_part(timeline)
    timeline, count = steady.timeline, steady.num_iterations
    times = device_times(timeline)
    weights = devices_alike(timeline.task_graph, times.device)
    num_devices = max(facts.num_devices, int(weights.sum()))
    parts = {
        **_compute_parts(timeline, times, weights, count * _ideal_ns(facts)),
        **{
            f"exposed {kind} communication": _total(exposed_ns, weights)
            for kind, exposed_ns in times.exposed_ns.items()
        },
        **_idle_parts(times, weights),
        "devices without tasks": (num_devices - int(weights.sum())) * timeline.makespan_ns,
    }
    always = (IDEAL, "kernel efficiency", "pipeline bubble")
    shown = {part: ns for part, ns in parts.items() if ns or part in always}
    whole_ns = _rounded(timeline.makespan_ns, count)
    return Waterfall(whole_ns, num_devices, _steps(shown, num_devices * count), count)


def _compute_parts(
    timeline: Timeline, times: DeviceTimes, weights: Int64, ideal_ns: int
) -> dict[str, int]:
    """Split compute into the ideal, what kernels take beyond it, recomputation and optimizer."""
    recompute_ns = _total(_time_of_kind(timeline, "recompute"), weights)
    optimizer_ns = _total(_time_of_kind(timeline, "optimizer"), weights)
    beyond_ns = _total(times.compute_ns, weights) - recompute_ns - optimizer_ns - ideal_ns
    return {
        IDEAL: ideal_ns,
        "kernel efficiency": beyond_ns,
        "recomputation": recompute_ns,
        "optimizer": optimizer_ns,
    }


def _ideal_ns(facts: IterationFacts) -> int:
    """Return model FLOPs at peak, summed over devices."""
    if not facts.peak_flops_per_s:
        return 0
    return round(facts.model_flops / facts.peak_flops_per_s * facts.num_devices * NS_PER_S)


def _time_of_kind(timeline: Timeline, kind: str) -> Int64:
    """Return how long each device's compute stream is held by tasks of a kind."""
    blocks, table = timeline.fine_blocks, timeline.task_graph.resource_table
    resource, devices = blocks.place // 2, devices_of(timeline)
    computes = (table.kind[resource] < NUM_COMPUTE_KINDS) & (table.peer[resource] < 0)
    mine = computes & (blocks.kind == TASK_CODE[kind])
    row = np.searchsorted(devices, table.device[resource[mine]])
    total_ns = np.zeros(len(devices), np.int64)
    np.add.at(total_ns, row, blocks.busy_ns[mine])
    return total_ns


def _idle_parts(times: DeviceTimes, weights: Int64) -> dict[str, int]:
    """Split idle time: what the device with the most compute has more than another, and the rest.

    No device is given more imbalance than it is idle.
    """
    less_ns = times.compute_ns.max(initial=0) - times.compute_ns
    imbalance_ns = np.minimum(less_ns, times.bubble_ns)
    return {
        "imbalance": _total(imbalance_ns, weights),
        "pipeline bubble": _total(times.bubble_ns - imbalance_ns, weights),
    }


def _total(values: Int64, weights: Int64) -> int:
    return int((values * weights).sum())


def _rounded(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


def _steps(parts: dict[str, int], count: int) -> tuple[WaterfallStep, ...]:
    """Round means such that every running sum is within half a nanosecond of the exact one."""
    steps, total_ns, until_ns = [], 0, 0
    for part, device_ns in parts.items():
        total_ns += device_ns
        reached_ns = _rounded(total_ns, count)
        steps.append(WaterfallStep(part, reached_ns - until_ns, device_ns))
        until_ns = reached_ns
    return tuple(steps)
