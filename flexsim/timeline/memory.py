"""The peak memory of every device, followed through a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flexsim.task_graph.columns import (
    DYNAMIC_PARTS,
    ActionTable,
    ActivationMemory,
    Int64,
    StaticMemory,
)
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.timeline.memory_table import PARTS, STATIC_PARTS, Throughout
from flexsim.timeline.names import action_name
from flexsim.timeline.spans import Timeline

__all__ = [
    "PARTS",
    "STATIC_PARTS",
    "PeakMemory",
    "action_spans_ns",
    "lasting_peak_bytes",
    "peak_memory",
    "peak_of_actions",
    "ranks_of",
    "spans_apart_ns",
]

_ACTIVATIONS, _RECOMPUTE, _GATHERED = 0, 1, 2


@dataclass(frozen=True, eq=False)
class PeakMemory:
    """Bytes at the moment when a device holds most, a row a device; -1 for an unknown rank.

    ``action`` is the row of the action, and ``operator`` the number of the operator, that run at
    that moment; -1 where nothing is held for actions, or it is not known.
    """

    device: Int64
    rank: Int64
    weights: Int64
    gradients: Int64
    optimizer: Int64
    activations: Int64
    recompute: Int64
    gathered: Int64
    temporary: Int64
    buffers: Int64
    overhead: Int64
    action: Int64
    operator: Int64

    @property
    def total(self) -> Int64:
        """All parts together."""
        total: Int64 = np.sum([getattr(self, part) for part in PARTS], axis=0, dtype=np.int64)
        return total

    def moment(self, actions: ActionTable, operators: Sequence[str]) -> str:
        """Return when the fullest device holds most: an action's name and an operator's."""
        fullest = int(self.total.argmax()) if len(self.device) else -1
        if fullest < 0 or self.action[fullest] < 0:
            return "the optimizer's step" if fullest >= 0 and self.temporary[fullest] else ""
        columns = (actions.stage, actions.kind, actions.microbatch)
        name = action_name(*(int(column[self.action[fullest]]) for column in columns))
        number = int(self.operator[fullest])
        return f"{name} {operators[number]}" if 0 <= number < len(operators) else name


def peak_memory(
    timeline: Timeline, spans_ns: tuple[Int64, Int64] | None = None
) -> PeakMemory | None:
    """Return the peak of every device, or None for a graph without memory columns.

    At one instant memory is freed before it is allocated. ``spans_ns`` are the spans of actions
    (:func:`action_spans_ns`) where they are known.
    """
    graph = timeline.task_graph
    if graph.static_memory is None and graph.activation_memory is None:
        return None
    static = graph.static_memory or _no_static()
    activation = graph.activation_memory or _no_activations()
    found = peak_of_actions(static, activation, spans_ns or action_spans_ns(timeline))
    return replace(found, rank=_rank_of(timeline, found.device))


def peak_of_actions(
    static: StaticMemory, activation: ActivationMemory, spans_ns: tuple[Int64, Int64]
) -> PeakMemory:
    """Return the peak of every device, from the start and the end of every action.

    Ranks are not known from these; they are -1.
    """
    devices = np.union1d(static.device, activation.device).astype(np.int64)
    dynamic, action, operator = _peak_of_dynamic(spans_ns, activation, devices)
    parts, steps = Throughout.of(static, devices).with_dynamic(dynamic)
    return PeakMemory(
        device=devices,
        rank=np.full(len(devices), -1),
        **dict(zip(PARTS, parts.T, strict=True)),
        action=np.where(steps, -1, action),
        operator=np.where(steps, -1, operator),
    )


def lasting_peak_bytes(timeline: Timeline) -> int:
    """Return what the fullest device holds at most of what outlives a kernel.

    That is weights and their state, saved activations, what is recomputed and gathered weights.
    """
    graph = timeline.task_graph
    if graph.static_memory is None and graph.activation_memory is None:
        return 0
    static = graph.static_memory or _no_static()
    activation = _lasting(graph.activation_memory or _no_activations())
    plain = replace(static, framework=None, buffers=None, step=None, fragmentation=0.0)
    found = peak_of_actions(plain, activation, action_spans_ns(timeline))
    return int(found.total.max(initial=0))


def _lasting(memory: ActivationMemory) -> ActivationMemory:
    """Return the memory without what only neighbours need."""
    if memory.parts is None:
        return memory
    more = memory.parts[:, _RECOMPUTE] + memory.parts[:, _GATHERED]
    return replace(memory, transient=more, parts=None, left=None)


def _no_static() -> StaticMemory:
    num_bytes = np.zeros(0, np.int64)
    return StaticMemory(np.zeros(0, np.int32), num_bytes, num_bytes, num_bytes)


def _no_activations() -> ActivationMemory:
    ids, num_bytes = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return ActivationMemory(ids, ids, num_bytes, num_bytes, num_bytes)


def _peak_of_dynamic(
    spans_ns: tuple[Int64, Int64], memory: ActivationMemory, devices: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return the parts of each device's largest running sum, and its action and operator."""
    if memory.together is None and len(memory.action):
        return _peak_of_passes(spans_ns, memory, devices)
    parts, action = (
        np.zeros((len(devices), len(DYNAMIC_PARTS)), np.int64),
        np.full(len(devices), -1),
    )
    operator = action.copy()
    row, line, change = _changes(spans_ns, memory, devices)
    if not len(row):
        return parts, action, operator
    held = np.cumsum(change)
    first = np.flatnonzero(np.diff(line, prepend=-1))
    base = held[first] - change[first]
    held -= np.repeat(base, np.diff(first, append=len(line)))
    top = _first_of_most(held, first)
    high = held[top] > 0
    first, top, at = first[high], top[high], line[first[high]]
    parts[at] = _parts_until(memory, row, first, top)
    action[at] = memory.action[row[top] % len(memory.action)]
    if memory.operator is not None:
        operator[at] = memory.operator[row[top] % len(memory.action)]
    return parts, action, operator


def _peak_of_passes(
    spans_ns: tuple[Int64, Int64], memory: ActivationMemory, devices: Int64
) -> tuple[Int64, Int64, Int64]:
    """Do the same where passes of a device run one after another, in one scan."""
    from flexsim.timeline.memory_kernel import Passes, scan_peaks

    start_ns, end_ns = (ns[memory.action] for ns in spans_ns)
    line = np.searchsorted(devices, memory.device)
    order = np.lexsort(((start_ns + end_ns) // 2, line))
    most = _parts(memory.parts, memory.allocated + memory.transient)
    left = _parts(memory.left, memory.allocated - memory.freed)
    parts, row = scan_peaks(Passes(order, line, start_ns, end_ns, most, left), len(devices))
    action = np.where(row >= 0, memory.action[row], -1)
    if memory.operator is None:
        return parts, action, np.full(len(devices), -1)
    return parts, action, np.where(row >= 0, memory.operator[row], -1)


def _first_of_most(held: Int64, first: Int64) -> Int64:
    """Return, of every run that begins at ``first``, where the largest value stands first."""
    most = np.repeat(np.maximum.reduceat(held, first), np.diff(first, append=len(held)))
    where = np.where(held == most, np.arange(len(held)), len(held))
    found: Int64 = np.minimum.reduceat(where, first)
    return found


def _parts_until(memory: ActivationMemory, row: Int64, first: Int64, top: Int64) -> Int64:
    """Return the sum of all changes from ``first`` to ``top``, by part.

    Changes ``row`` below the number of actions are beginnings, the others ends.
    """
    most = _parts(memory.parts, memory.allocated + memory.transient)
    left = _parts(memory.left, memory.allocated - memory.freed)
    table = np.concatenate([most, left - most])
    inside = np.concatenate([row[a : b + 1] for a, b in zip(first, top, strict=True)])
    starts = np.cumsum([0, *(top - first + 1)[:-1]])
    found: Int64 = np.add.reduceat(table[inside], starts, axis=0)
    return found


def _parts(known: Int64 | None, total: Int64) -> Int64:
    """Return bytes by part: all activations if not known."""
    if known is not None:
        return known
    parts = np.zeros((len(total), len(DYNAMIC_PARTS)), np.int64)
    parts[:, _ACTIVATIONS] = total
    return parts


def _changes(
    spans_ns: tuple[Int64, Int64], memory: ActivationMemory, devices: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return (row, line, bytes) of the beginning and the end of every action, in order."""
    line = np.tile(np.searchsorted(devices, memory.device), 2)
    time_ns = np.concatenate(spans_apart_ns(memory, spans_ns))
    change = np.concatenate([memory.allocated + memory.transient, -memory.freed - memory.transient])
    order = np.lexsort((change > 0, time_ns, line))
    order = order[change[order] != 0]
    return order, line[order], change[order]


def spans_apart_ns(memory: ActivationMemory, spans_ns: tuple[Int64, Int64]) -> tuple[Int64, Int64]:
    """Return start and end of every row of ``memory``, from those of all actions.

    Kernels of a device run one after another, but an action's messages may begin before, or end
    after, its kernels. So actions follow in the order of their middles, and one that begins
    before the one before it ends is cut off where that ends, or at its own middle. Only what the
    schedule runs together stays so.
    """
    start_ns, end_ns = (ns[memory.action] for ns in spans_ns)
    middle = (start_ns + end_ns) // 2
    order = np.lexsort((middle, memory.device))
    before, after = order[:-1], order[1:]
    meets = (memory.device[before] == memory.device[after]) & (end_ns[before] > start_ns[after])
    if memory.together is not None:
        meets &= memory.together[before] != memory.together[after]
    before, after = before[meets], after[meets]
    border = np.minimum(end_ns[before], middle[after])
    start_ns[after] = end_ns[before] = border
    return start_ns, end_ns


def action_spans_ns(timeline: Timeline) -> tuple[Int64, Int64]:
    """Return the start of the first and the end of the last task of every action (0, 0: none)."""
    from flexsim.timeline.kernels import span_actions

    graph = timeline.task_graph
    start_ns = np.full(len(graph.actions.kind), np.iinfo(np.int64).max)
    end_ns = np.zeros(len(graph.actions.kind), np.int64)
    span_actions((graph.action, timeline.start_ns, timeline.end_ns), (start_ns, end_ns))
    return np.where(end_ns > 0, start_ns, 0), end_ns


def ranks_of(timeline: Timeline) -> tuple[Int64, Int64]:
    """Return the devices that compute actions, in order, and the pipeline rank of each."""
    blocks = timeline.device_blocks
    computes = (blocks.kind < NUM_COMPUTE_KINDS) & (blocks.action >= 0)
    devices, first = np.unique(blocks.place[computes], return_index=True)
    return devices, timeline.task_graph.actions.rank[blocks.action[computes][first]].astype(
        np.int64
    )


def _rank_of(timeline: Timeline, devices: Int64) -> Int64:
    """Return the pipeline rank whose actions each device runs; -1 for none."""
    graph = timeline.task_graph
    memory = graph.activation_memory
    room = np.full(int(devices.max(initial=0)) + 1, -1, np.int64)
    if memory is not None:
        first_last = memory.action[::-1]
        room[memory.device[::-1]] = graph.actions.rank[first_last]
    if (room[devices] < 0).any():
        known, rank = ranks_of(timeline)
        room = np.full(max(len(room), int(known.max(initial=0)) + 1), -1, np.int64)
        room[known] = rank
    return room[devices]
