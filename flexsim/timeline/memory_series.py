"""Memory against time: every part on every device, at every moment that it changes.

Inside an action the moments are those of its stage's curve, spread over the action's span by the
time that its kernels take (:mod:`flexsim.task_graph.memory_curves`); so no task is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexsim.task_graph.columns import (
    DYNAMIC_PARTS,
    ActionTable,
    ActivationMemory,
    Int64,
    StaticMemory,
)
from flexsim.task_graph.memory_curves import SLOTS, Curve, StageCurves
from flexsim.task_graph.rows import U
from flexsim.timeline.memory import (
    PARTS,
    STATIC_PARTS,
    action_spans_ns,
    peak_memory,
    spans_apart_ns,
)
from flexsim.timeline.spans import Timeline, frame_of
from flexsim.timeline.text import Column

if TYPE_CHECKING:
    import pandas as pd

_NUM_DYNAMIC = len(DYNAMIC_PARTS)
_MOST_MOMENTS = 60_000
"""Of all devices together; actions are told in fewer moments where there are more."""
_FINEST, _COARSEST = 240, 2


@dataclass(frozen=True, eq=False)
class DeviceSeries:
    """What one device holds: from each time to the next a row of ``parts``, in bytes.

    The columns of ``parts`` are those of :data:`flexsim.timeline.memory.PARTS`.
    """

    device: int
    rank: int
    time_ns: Int64
    parts: Int64

    @property
    def total(self) -> Int64:
        """All parts together."""
        return _totals(self.parts)


@dataclass(frozen=True, eq=False)
class MemorySeries:
    """What the fullest device of every pipeline rank holds, in order of rank."""

    devices: tuple[DeviceSeries, ...]
    end_ns: int

    def columns(self) -> dict[str, Column]:
        """Return a row a moment: ``device, rank, time_ns``, every part and their ``total``."""
        lengths = [len(one.time_ns) for one in self.devices]
        parts = np.concatenate([one.parts for one in self.devices])
        table = {
            "device": np.repeat([one.device for one in self.devices], lengths),
            "rank": np.repeat([one.rank for one in self.devices], lengths),
            "time_ns": np.concatenate([one.time_ns for one in self.devices]),
            **dict(zip(PARTS, parts.T, strict=True)),
            "total": parts.sum(axis=1),
        }
        return {name: Column(np.ascontiguousarray(values)) for name, values in table.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return :meth:`columns` as a table."""
        return frame_of(self.columns())


def memory_series(timeline: Timeline, most_moments: int = _MOST_MOMENTS) -> MemorySeries | None:
    """Return memory against time, or None for a graph without memory columns.

    The largest total of a device is its peak, in however few moments actions are told.
    """
    graph = timeline.task_graph
    static, activation = graph.static_memory, graph.activation_memory
    all_spans = action_spans_ns(timeline)
    peak = peak_memory(timeline, all_spans)
    if static is None or activation is None or peak is None:
        return None
    devices, ranks = _fullest(peak.device, peak.rank, peak.total)
    rows = [np.flatnonzero(activation.device == device) for device in devices]
    moments = most_moments // max(sum(map(len, rows)), 1)
    spans = spans_apart_ns(activation, all_spans)
    last = _steps_ns(graph.actions, all_spans)
    tables = _Tables(activation, int(np.clip(moments, _COARSEST, _FINEST)))
    found = []
    for device, rank, mine in zip(devices.tolist(), ranks.tolist(), rows, strict=True):
        time_ns, dynamic = _dynamic(tables, mine, spans, graph.actions.stage, graph.actions.kind)
        step_bytes = 0 if static.step is None else int(static.step[static.device == device].sum())
        if step_bytes and rank in last:
            time_ns, dynamic = _with_step(last[rank], step_bytes, time_ns, dynamic)
        found.append(DeviceSeries(device, rank, time_ns, _whole(static, device, dynamic)))
    return MemorySeries(tuple(found), timeline.makespan_ns)


def _fullest(device: Int64, rank: Int64, total: Int64) -> tuple[Int64, Int64]:
    """Return the fullest device of every rank, the first of them where they are equal."""
    order = np.lexsort((device, -total, rank))
    order = order[rank[order] >= 0]
    _, first = np.unique(rank[order], return_index=True)
    return device[order[first]], rank[order[first]]


_Table = tuple[NDArray[np.float64], Int64]
"""Shares of a pass's time at which something changes, and the changes, by part."""


class _Tables:
    """The changes that actions make, by stage, kind of pass and curve; each found once."""

    def __init__(self, memory: ActivationMemory, num_moments: int) -> None:
        self.memory = memory
        self.num_moments = num_moments
        self._found: dict[tuple[int, int, int], _Table] = {}
        self._alike: dict[tuple[bytes, ...], _Table] = {}

    def of(self, stage: int, kind: int, row: int) -> _Table:
        """Return the shares of the pass's time at which something changes, and the changes."""
        stages = self.memory.stages
        curves = stages.curves.get((stage, kind)) if stages is not None else None
        if stages is None or curves is None:
            return self._plain(row)
        place = int(np.searchsorted(stages.devices, self.memory.device[row]))
        number = int(curves.curve_of_device[place])
        key = stage, kind, number
        if key not in self._found:
            self._found[key] = self._steps_of(curves, curves.curves[number])
        return self._found[key]

    def _steps_of(self, curves: StageCurves, curve: Curve) -> _Table:
        """Return the steps of a curve; most stages have the same."""
        numbers = np.array([curve.begin, curve.end, curve.extra])
        parts = (curve.changes, curves.end_share, numbers)
        key = tuple(part.tobytes() for part in parts)
        if key not in self._alike:
            self._alike[key] = _steps(curves, curve, self.num_moments)
        return self._alike[key]

    def _plain(self, row: int) -> _Table:
        """Return the changes of an action of which only what it keeps and frees is known."""
        memory, found = self.memory, np.zeros((2, _NUM_DYNAMIC), np.int64)
        found[0, 0] = memory.allocated[row] + memory.transient[row]
        found[1, 0] = -memory.freed[row] - memory.transient[row]
        return np.array([0.0, 1.0]), found


def _steps(
    curves: StageCurves, curve: Curve, num_moments: int
) -> tuple[NDArray[np.float64], Int64]:
    """Return when, as a share of the pass, and by how much a curve changes.

    With more than ``num_moments`` changes, neighbours are told by the highest level among them.
    """
    levels = curve.levels()
    share = np.repeat(np.concatenate([[0.0], curves.end_share]), SLOTS)[SLOTS - 1 :][: len(levels)]
    order = np.flatnonzero(np.any(np.diff(levels, axis=0, prepend=0) != 0, axis=1))
    if not len(order):
        return np.zeros(0), np.zeros((0, _NUM_DYNAMIC), np.int64)
    if len(order) > num_moments:
        order = _highest(levels[order].sum(axis=1), order, num_moments)
    changes = np.diff(np.concatenate([levels[order], levels[-1:]]), axis=0, prepend=0)
    return np.append(share[order], 1.0), changes


def _highest(total: Int64, order: Int64, num_groups: int) -> Int64:
    """Return, of about equal groups of moments, the one with the largest total in each."""
    bounds = np.linspace(0, len(order), num_groups + 1).astype(np.int64)
    return np.array([order[a + total[a:b].argmax()] for a, b in pairwise(bounds)])


def _dynamic(
    tables: _Tables,
    rows: Int64,
    spans_ns: tuple[Int64, Int64],
    stage: NDArray[np.integer],
    kind: NDArray[np.integer],
) -> tuple[Int64, Int64]:
    """Return the moments of a device and what comes and goes on it, by part."""
    times, changes = [np.zeros(1, np.int64)], [np.zeros((1, _NUM_DYNAMIC), np.int64)]
    for row, mine in _alike(tables.memory, rows, stage, kind):
        action = tables.memory.action[mine]
        share, change = tables.of(int(stage[action[0]]), int(kind[action[0]]), row)
        start, length = spans_ns[0][mine], spans_ns[1][mine] - spans_ns[0][mine]
        times.append((start[:, None] + np.round(share * length[:, None])).astype(np.int64).ravel())
        changes.append(np.tile(change, (len(action), 1)))
    time_ns, change = np.concatenate(times), np.concatenate(changes)
    order = np.lexsort((_totals(change) > 0, time_ns))
    time_ns, held = time_ns[order], np.cumsum(change[order], axis=0)
    last = _moments_to_keep(time_ns, _totals(held))
    return time_ns[last], held[last]


def _totals(parts: Int64) -> Int64:
    """Return the sum of every row, faster than NumPy's own for a few columns."""
    found: Int64 = np.einsum("ij->i", parts)
    return found


def _steps_ns(actions: ActionTable, spans_ns: tuple[Int64, Int64]) -> dict[int, tuple[int, int]]:
    """Return when the updates of every rank begin and end."""
    found: dict[int, tuple[int, int]] = {}
    for row in np.flatnonzero(actions.kind == U).tolist():
        rank, start, end = int(actions.rank[row]), int(spans_ns[0][row]), int(spans_ns[1][row])
        before = found.get(rank, (start, end))
        found[rank] = min(before[0], start), max(before[1], end)
    return found


def _with_step(
    span_ns: tuple[int, int], num_bytes: int, time_ns: Int64, dynamic: Int64
) -> tuple[Int64, Int64]:
    """Add what an optimizer's step holds, after everything else on the device is over."""
    first, last = max(span_ns[0], int(time_ns[-1])), span_ns[1]
    if last <= first:
        return time_ns, dynamic
    held = np.zeros((2, _NUM_DYNAMIC), np.int64)
    held[0, DYNAMIC_PARTS.index("temporary")] = num_bytes
    return np.append(time_ns, [first, last]), np.concatenate([dynamic, held])


def _moments_to_keep(time_ns: Int64, total: Int64) -> Int64:
    """Return the last row of every moment and, where it was higher within, its highest."""
    first = np.flatnonzero(np.diff(time_ns, prepend=-1))
    last = np.append(first[1:], len(time_ns)) - 1
    most = np.maximum.reduceat(total, first)
    where = np.where(total == np.repeat(most, last - first + 1), np.arange(len(total)), len(total))
    is_kept = np.zeros(len(total), bool)
    is_kept[last] = is_kept[np.minimum.reduceat(where, first)] = True
    return np.flatnonzero(is_kept)


def _alike(
    memory: ActivationMemory,
    rows: Int64,
    stage: NDArray[np.integer],
    kind: NDArray[np.integer],
) -> Iterator[tuple[int, Int64]]:
    """Yield the rows of every stage and kind of pass, and the first of them."""
    action = memory.action[rows]
    both = stage[action].astype(np.int64) * (int(kind.max(initial=0)) + 1) + kind[action]
    _, group = np.unique(both, return_inverse=True)
    for number in range(int(group.max(initial=-1)) + 1):
        mine = rows[group.reshape(-1) == number]
        if memory.stages is not None and memory.stages.curves:
            yield int(mine[0]), mine
        else:
            yield from ((int(one), mine[at : at + 1]) for at, one in enumerate(mine))


def _whole(static: StaticMemory, device: int, dynamic: Int64) -> Int64:
    """Return all parts: what is held throughout beside what comes and goes."""
    here = static.device == device
    columns = [np.full(len(dynamic), getattr(static, part)[here].sum()) for part in STATIC_PARTS]
    overhead = np.round(_totals(dynamic) * static.fragmentation).astype(np.int64)
    if static.framework is not None:
        overhead = overhead + static.framework[here].sum()
    parts = np.column_stack([*columns, dynamic, overhead])
    if static.buffers is not None:
        parts[:, PARTS.index("buffers")] += static.buffers[here].sum()
    return parts
