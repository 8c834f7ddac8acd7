"""Leaving out of a replay what repeats: a steady state of a pipeline, shown to be one.

A rank of 1F1B, interleaved or not, runs *windows* between its warm-up and its end: each as the one
before it with the next microbatches. A shorter iteration has fewer of them. What a task waits for
lies few windows back, its *reach*. So where as many windows follow one another at one distance in
time, on all ranks and to the nanosecond, those of the longer iteration follow likewise, and all
that comes after them comes later by so many distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.contraction_layout import BASE_NS, END
from flexsim.engine.contraction_work import Work
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.rows import B, F
from flexsim.task_graph.schedules import Schedule

_UNSTEADY = 1
"""Windows that a pipeline may take to become steady, beside those that one round trip takes."""


@dataclass(frozen=True, eq=False)
class Jump:
    """A shorter iteration in place of one with ``num_windows`` more."""

    schedule: Schedule
    num_windows: int
    actions: Int64
    """Of the last windows before the cut, a row a window, ranks one after the other."""
    cut: Int64
    """Of every rank, the first action after these windows."""


def jump_of(schedule: Schedule, shorter: Callable[[int], Schedule], step: int) -> Jump | None:
    """Return the jump to a shorter iteration, or None where there is none.

    ``shorter`` makes the schedule for fewer microbatches, of which a window has ``step``.
    """
    tried = step * (3 + _UNSTEADY) + schedule.num_ranks
    while True:
        num = schedule.num_microbatches - (schedule.num_microbatches - tried) // step * step
        if num >= schedule.num_microbatches:
            return None
        found = _jump(schedule, shorter(num), step)
        if found is not None:
            return found
        tried = num + max(step, num // 3)


def _jump(long: Schedule, short: Schedule, step: int) -> Jump | None:
    """Return the jump if windows repeat as they should and are enough."""
    size = 2 * step * long.num_stages // long.num_ranks
    first = _warm_up(short)
    count = int((_num_forwards(short) - first).min()) * 2 // size - 1  # the last sees the end
    if count < 1 or not _is_longer(long, short, (first, count, size), step):
        return None
    reach = _reach(short, first, (count, size))
    begin = short.rank_offsets[:-1] + first
    windows = np.arange(count - reach - 1, count)
    if windows[0] < _UNSTEADY:
        return None
    rows = begin[None, :, None] + size * windows[:, None, None] + np.arange(size)
    more = (long.num_microbatches - short.num_microbatches) // step
    return Jump(short, more, rows.reshape(len(windows), -1), begin + size * count)


def _num_forwards(schedule: Schedule) -> Int64:
    return np.add.reduceat(schedule.kind == F, schedule.rank_offsets[:-1])


def _warm_up(schedule: Schedule) -> Int64:
    """Return how many forwards every rank runs before it alternates."""
    firsts = schedule.rank_offsets[:-1]
    backwards = np.flatnonzero(schedule.kind == B)
    found: Int64 = backwards[np.searchsorted(backwards, firsts)] - firsts - 1
    return np.maximum(found, 0)


def _is_longer(long: Schedule, short: Schedule, windows: tuple[Int64, int, int], step: int) -> bool:
    """Whether one schedule is the other with more windows before each rank's cut."""
    first, count, size = windows
    more = (long.num_microbatches - short.num_microbatches) // step
    inserted, shift = more * size, step * more
    for rank, start in enumerate(first.tolist()):
        one, other = _rows(long, rank), _rows(short, rank)
        cut = start + count * size
        again = one[cut : cut + inserted] - one[cut - size : cut - size + inserted]
        if (
            len(one) != len(other) + inserted
            or not np.array_equal(one[:cut], other[:cut])
            or not (one[cut + inserted :] - other[cut:] == (0, 0, shift)).all()
            or not (again == (0, 0, step)).all()
        ):
            return False
    return True


def _rows(schedule: Schedule, rank: int) -> Int64:
    rows = slice(schedule.rank_offsets[rank], schedule.rank_offsets[rank + 1])
    columns = schedule.kind[rows], schedule.stage[rows], schedule.microbatch[rows]
    return np.stack([column.astype(np.int64) for column in columns], axis=1)


def _reach(schedule: Schedule, first: Int64, windows: tuple[int, int]) -> int:
    """Return how many windows back an action waits for another, or what follows the last does."""
    count, size = windows
    position = np.arange(len(schedule.kind)) - schedule.rank_offsets[schedule.rank]
    window = (position - first[schedule.rank]) // size
    num_microbatches, num_stages = schedule.num_microbatches, schedule.num_stages
    table = np.full((2, num_stages + 2, num_microbatches), count, np.int64)
    table[schedule.kind, schedule.stage + 1, schedule.microbatch] = window
    kind, stage, microbatch = schedule.kind, schedule.stage + 1, schedule.microbatch
    toward = np.where(kind == F, stage - 1, stage + 1)
    before = np.minimum(table[kind, toward, microbatch], table[F, stage, microbatch])
    reach = np.minimum(window, count) - before
    return max(1, int(reach[window >= 0].max(initial=0)))


def steady_ns(jump: Jump, work: Work) -> int | None:
    """Return how much later each of the last windows is than the one before; None: not alike."""
    parts = work.parts.reshape(-1, 3, 3)[jump.actions]
    there: NDArray[np.bool_] = parts[..., END] >= 0
    later_ns = np.diff(parts[..., BASE_NS], axis=0)[there[1:]]
    alike = np.array_equal(parts[1:, ..., END], parts[:-1, ..., END])
    if not alike or (later_ns != later_ns[0]).any():
        return None
    return int(later_ns[0])
