"""Times read from inside real iterations: what a kernel takes among its neighbours."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from flexsim.cost.measured import TRANSFER, Measurement
from flexsim.cost.work import Work
from flexsim.profiling.execution import box_of
from flexsim.profiling.parts import added_work, optimizer_work
from flexsim.profiling.training import Iteration
from flexsim.scenario.prepare import Prepared
from flexsim.task_graph.pricing import work_of

Run = Sequence[Sequence[Iteration]]
"""Iterations of every process."""


def measured_inside(prepared: Prepared, run: Run) -> list[Measurement]:
    """Return a row for every distinct kernel, transfer and sum of gradients of a training run."""
    return [*_kernels(prepared, run), *_optimizers(prepared, run), *_transfers(run), *_sums(run)]


def _kernels(prepared: Prepared, run: Run) -> list[Measurement]:
    operators = {each.name: each for each in prepared.graph.operators}
    times: dict[Work, list[int]] = defaultdict(list)
    for device, iterations in zip(prepared.strategy.devices.tolist(), run, strict=True):
        works: dict[tuple[str, str], Work] = {}
        for stamp in (stamp for each in iterations for stamp in each.stamps):
            if stamp.added_bytes:
                work = added_work(prepared, stamp.added_bytes)
                times[work].append(stamp.end_ns - stamp.begin_ns)
                continue
            key = stamp.operator, stamp.step.name
            if key not in works:
                operator = operators[stamp.operator]
                box = box_of(operator, prepared.strategy.configs[operator.name], device)
                works[key] = work_of(prepared.graph, stamp.step, box)
            times[works[key]].append(stamp.end_ns - stamp.begin_ns)
    return [Measurement.of_work(work, *_summary(found)) for work, found in times.items()]


def _optimizers(prepared: Prepared, run: Run) -> list[Measurement]:
    rows = []
    for iterations in run:
        work = optimizer_work(prepared, iterations[0].num_parameters)
        rows.append(Measurement.of_work(work, *_summary([i.optimizer_ns for i in iterations])))
    return rows


def _transfers(run: Run) -> list[Measurement]:
    """Return what a message took that its receiver was already waiting for."""
    times: dict[int, list[int]] = defaultdict(list)
    for number, iterations in enumerate(run):
        for index, iteration in enumerate(iterations):
            for hop in iteration.received:
                sent = _sent_ns(run, number, index, (hop.tensor, hop.microbatch))
                if sent is not None and sent >= hop.begin_ns:
                    times[hop.num_bytes].append(hop.end_ns - sent)
    return [_row(TRANSFER, 2, size, found) for size, found in sorted(times.items())]


def _sent_ns(run: Run, receiver: int, index: int, message: tuple[str, int]) -> int | None:
    for number, iterations in enumerate(run):
        if number != receiver and message in iterations[index].sent_ns:
            return iterations[index].sent_ns[message]
    return None


def _sums(run: Run) -> list[Measurement]:
    """Return what all-reduces took from when their last member had come."""
    times: dict[tuple[int, int], list[int]] = defaultdict(list)
    for sums in zip(*([each.sums for each in iterations] for iterations in run), strict=True):
        for same in zip(*sums, strict=True):
            size = same[0].num_bytes
            begun = max(each.begin_ns for each in same)
            times[size, len(same)].append(max(each.end_ns for each in same) - begun)
    return [
        _row("all-reduce", members, size, found) for (size, members), found in sorted(times.items())
    ]


def _row(measured: str, members: int, num_bytes: int, times_ns: list[int]) -> Measurement:
    time_ns, spread, repeats = _summary(times_ns)
    return Measurement(
        measured,
        members=members,
        num_bytes=num_bytes,
        time_ns=time_ns,
        spread=round(spread, 4),
        repeats=repeats,
    )


def _summary(times_ns: list[int]) -> tuple[int, float, int]:
    """Return the mean without the slowest hundredth, the quartiles' distance over it, the number.

    A mean, since the times of a step's kernels add up; the slowest are not the kernels' doing.
    """
    kept = np.sort(times_ns)[: math.ceil(0.99 * len(times_ns))]
    low, high = np.percentile(times_ns, [25, 75])
    mean = float(kept.mean())
    return max(1, round(mean)), float((high - low) / max(mean, 1.0)), len(times_ns)
