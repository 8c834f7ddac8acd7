"""The table behind the bubble picture: a row a bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flexsim.plotting.bars import BAR_CODE, Bars
from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import ACTION_KINDS, NUM_COMPUTE_KINDS, TASK_CODE
from flexsim.timeline.blocks import Blocks
from flexsim.timeline.intervals import Intervals, devices_of, difference, uncovered_intervals
from flexsim.timeline.memory import ranks_of
from flexsim.timeline.spans import Timeline, of_action
from flexsim.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

_KIND_OF_ACTION = {
    "F": "forward",
    "B": "backward",
    "I": "input-gradient",
    "W": "weight-gradient",
    "U": "optimizer",
}
BAR_OF_ACTION = np.array([BAR_CODE[_KIND_OF_ACTION[letter]] for letter in ACTION_KINDS])
"""The bar of every kind of action."""
SMALLEST_SHARE = 1 / 2500
"""Communication that takes less of the makespan than this is not seen in a picture."""


def bubble_table(timeline: Timeline, smallest_share: float = SMALLEST_SHARE) -> pd.DataFrame:
    """Return the bars of one device a pipeline rank, its lowest, in order of (rank, start).

    Columns: ``rank, kind, stage`` (global), ``microbatch, chunk, start_s, end_s``; -1 where
    there is none. An action is one bar from its first to its last compute task; what it
    recomputes is a bar of that summed length at its head, although layers may alternate.
    Communication is a bar where compute is idle, also inside actions, if one stretch takes
    at least ``smallest_share`` of the makespan. Idle is neither in an action nor communication.
    """
    return bubble_bars(timeline, smallest_share).to_frame()


def bubble_bars(timeline: Timeline, smallest_share: float = SMALLEST_SHARE) -> Bars:
    """Return the rows of :func:`bubble_table` as columns."""
    device, rank = ranks_of(timeline)
    ranks, first = np.unique(rank, return_index=True)
    spans, heads = _action_spans(timeline, device[first])
    communication = _communication(timeline, device[first])
    idle = _idle(
        timeline.makespan_ns, [heads.intervals, spans.intervals, communication], len(ranks)
    )
    length_ns = communication.end_ns - communication.start_ns
    visible = communication[length_ns >= smallest_share * timeline.makespan_ns]
    plain = [(visible, "communication"), (idle, "idle")]
    parts = [heads, spans, *(_without_action(*each) for each in plain)]
    return _sorted_bars(timeline.task_graph, parts, ranks)


@dataclass(frozen=True, eq=False)
class _Part:
    """Bars of one sort: when they are on which rank's line, their kind and action (-1: none)."""

    intervals: Intervals
    kind: Int64
    action: Int64


def _line_of(devices: Int64, device: Int64) -> Int64:
    """Return the position of each device among the representatives; -1 for the others."""
    line = np.full(int(max(devices.max(initial=0), device.max(initial=0))) + 1, -1, np.int64)
    line[devices] = np.arange(len(devices))
    return line[device]


def _action_spans(timeline: Timeline, devices: Int64) -> tuple[_Part, _Part]:
    """Return the bars of actions and, before each, of what it recomputes."""
    blocks = timeline.device_blocks
    line = _line_of(devices, blocks.place)
    shown = np.flatnonzero((blocks.kind < NUM_COMPUTE_KINDS) & (line >= 0) & (blocks.action >= 0))
    first, start_ns, middle_ns, end_ns = _merged_kinds(blocks, shown)
    line, action = line[shown][first], blocks.action[shown][first]
    letters = timeline.task_graph.actions.kind[action]
    recompute = np.full(len(action), BAR_CODE["recompute"])
    return (
        _longer(_Part(Intervals(line, middle_ns, end_ns), BAR_OF_ACTION[letters], action)),
        _longer(_Part(Intervals(line, start_ns, middle_ns), recompute, action)),
    )


def _merged_kinds(blocks: Blocks, shown: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Return the first row of each (place, action), its start, end of recomputation, and end."""
    action, place = blocks.action[shown], blocks.place[shown]
    changes = (np.diff(action, prepend=-1) != 0) | (np.diff(place, prepend=-1) != 0)
    first = np.flatnonzero(changes)
    if not len(first):
        return first, first, first, first
    recomputes = blocks.kind[shown] == TASK_CODE["recompute"]
    start_ns = np.minimum.reduceat(blocks.start_ns[shown], first)
    recompute_ns = np.add.reduceat(np.where(recomputes, blocks.busy_ns[shown], 0), first)
    end_ns = np.maximum.reduceat(blocks.end_ns[shown], first)
    return first, start_ns, start_ns + recompute_ns, end_ns


def _longer(part: _Part) -> _Part:
    """Return the bars that last."""
    lasts = part.intervals.end_ns > part.intervals.start_ns
    return _Part(part.intervals[lasts], part.kind[lasts], part.action[lasts])


def _communication(timeline: Timeline, devices: Int64) -> Intervals:
    found = uncovered_intervals(timeline.busy_rows, timeline.start_ns, timeline.end_ns)
    line = _line_of(devices, devices_of(timeline))[found.line]
    return Intervals(line, found.start_ns, found.end_ns)[line >= 0]


def _idle(makespan_ns: int, busy: list[Intervals], num_lines: int) -> Intervals:
    zeros = np.zeros(num_lines, np.int64)
    whole = Intervals(np.arange(num_lines), zeros, zeros + makespan_ns)
    names = ("line", "start_ns", "end_ns")
    columns = (np.concatenate([getattr(each, name) for each in busy]) for name in names)
    return difference(whole, Intervals(*columns))


def _without_action(intervals: Intervals, kind: str) -> _Part:
    count = len(intervals.line)
    return _Part(intervals, np.full(count, BAR_CODE[kind]), np.full(count, -1))


def _sorted_bars(graph: TaskGraph, parts: list[_Part], ranks: Int64) -> Bars:
    """Return all bars in order of (rank, start)."""
    names = ("line", "start_ns", "end_ns")
    line, start_ns, end_ns = (
        np.concatenate([getattr(part.intervals, name) for part in parts]) for name in names
    )
    order = np.lexsort((start_ns, line))
    action = np.concatenate([part.action for part in parts])[order]
    table = graph.actions
    return Bars(
        rank=ranks[line[order]],
        kind=np.concatenate([part.kind for part in parts])[order],
        stage=of_action(action, table.stage),
        microbatch=of_action(action, table.microbatch),
        chunk=of_action(action, chunks_of(graph)),
        start_s=start_ns[order] / NS_PER_S,
        end_s=end_ns[order] / NS_PER_S,
    )


def chunks_of(graph: TaskGraph) -> Int64:
    """Return for every action the place of its stage among the stages of its rank."""
    stage, rank = graph.actions.stage.astype(np.int64), graph.actions.rank.astype(np.int64)
    width = int(stage.max(initial=0)) + 1
    pairs, row = np.unique(rank * width + stage, return_inverse=True)
    first_of_rank = np.searchsorted(pairs, (pairs // width) * width)
    chunk: Int64 = (np.arange(len(pairs)) - first_of_rank)[row]
    return chunk
