"""The table behind the bubble picture: a row a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flexsim.task_graph.columns import Int64, TaskGraph
from flexsim.task_graph.kinds import ACTION_KINDS, TASK_CODE
from flexsim.timeline.blocks import Blocks, merge_blocks
from flexsim.timeline.intervals import (
    COMPUTE_CLASS,
    Intervals,
    device_intervals,
    devices_of,
    difference,
)
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
_COLUMNS = ("rank", "kind", "stage", "microbatch", "chunk", "start_s", "end_s")


def bubble_table(timeline: Timeline, smallest_share: float = 1 / 2500) -> pd.DataFrame:
    """Return the bars of one device a pipeline rank, its lowest, in order of (rank, start).

    Columns: ``rank, kind, stage`` (global), ``microbatch, chunk, start_s, end_s``; -1 where
    there is none. An action is one bar from its first to its last compute task; what it
    recomputes is a bar of that summed length at its head, although layers may alternate.
    Communication is a bar where compute is idle, also inside actions, if one stretch takes
    at least ``smallest_share`` of the makespan. Idle is neither in an action nor communication.
    """
    import pandas as pd

    ranks, devices = _representatives(timeline.task_graph)
    actions = _action_bars(timeline, devices)
    communication = _communication_bars(timeline, devices)
    idle = _idle_bars(timeline, pd.concat([actions, communication]), len(ranks))
    length_ns = communication["end_ns"] - communication["start_ns"]
    visible = communication[length_ns >= smallest_share * timeline.makespan_ns]
    table = pd.concat([actions, visible, idle], ignore_index=True)
    table["rank"] = ranks[table["line"]]
    table["start_s"], table["end_s"] = table["start_ns"] / NS_PER_S, table["end_ns"] / NS_PER_S
    return table.sort_values(["line", "start_ns"], kind="stable", ignore_index=True)[list(_COLUMNS)]


def _representatives(graph: TaskGraph) -> tuple[Int64, Int64]:
    """Return the pipeline ranks and for each the lowest device that computes its actions."""
    computes = graph.is_compute & (graph.action >= 0)
    rank = graph.actions.rank[graph.action[computes]].astype(np.int64)
    device = graph.device[computes].astype(np.int64)
    order = np.lexsort((device, rank))
    ranks, first = np.unique(rank[order], return_index=True)
    return ranks, device[order][first]


def _line_of(devices: Int64, device: Int64) -> Int64:
    """Return the position of each device among the representatives; -1 for the others."""
    line = np.full(int(max(devices.max(initial=0), device.max(initial=0))) + 1, -1, np.int64)
    line[devices] = np.arange(len(devices))
    return line[device]


def _action_bars(timeline: Timeline, devices: Int64) -> pd.DataFrame:
    """Return the bars of actions and, before each, of what it recomputes."""
    import pandas as pd

    graph = timeline.task_graph
    line = _line_of(devices, graph.device.astype(np.int64))
    task = np.flatnonzero(graph.is_compute & (line >= 0) & (graph.action >= 0))
    blocks = merge_blocks(timeline, line[task], task)
    bars = _merged_kinds(blocks)
    bars["chunk"] = _chunks(graph)[bars["action"]]
    bars["stage"] = graph.actions.stage[bars["action"]]
    bars["microbatch"] = graph.actions.microbatch[bars["action"]]
    letters = of_action(bars["action"].to_numpy(), graph.actions.kind)
    bars["kind"] = np.array([_KIND_OF_ACTION[letter] for letter in ACTION_KINDS])[letters]
    middle = bars["start_ns"] + bars.pop("recompute_ns")
    heads = bars.assign(kind="recompute", end_ns=middle)
    both = pd.concat([heads, bars.assign(start_ns=middle)])
    return both[both["end_ns"] > both["start_ns"]]


def _merged_kinds(blocks: Blocks) -> pd.DataFrame:
    """Return one row a (line, action) with the summed length of its recomputation."""
    import pandas as pd

    recomputes = blocks.kind == TASK_CODE["recompute"]
    frame = pd.DataFrame(
        {
            "line": blocks.place,
            "action": blocks.action,
            "start_ns": blocks.start_ns,
            "end_ns": blocks.end_ns,
            "recompute_ns": np.where(recomputes, blocks.busy_ns, 0),
        }
    )
    how = {"start_ns": "min", "end_ns": "max", "recompute_ns": "sum"}
    return frame.groupby(["line", "action"], as_index=False).agg(how)


def _chunks(graph: TaskGraph) -> Int64:
    """Return for every action the place of its stage among the stages of its rank."""
    stage, rank = graph.actions.stage.astype(np.int64), graph.actions.rank.astype(np.int64)
    width = int(stage.max(initial=0)) + 1
    pairs, row = np.unique(rank * width + stage, return_inverse=True)
    first_of_rank = np.searchsorted(pairs, (pairs // width) * width)
    chunk: Int64 = (np.arange(len(pairs)) - first_of_rank)[row]
    return chunk


def _communication_bars(timeline: Timeline, devices: Int64) -> pd.DataFrame:
    intervals, label = device_intervals(timeline)
    line = _line_of(devices, devices_of(timeline)[intervals.line])
    intervals = Intervals(line, intervals.start_ns, intervals.end_ns)
    computes, shown = label == COMPUTE_CLASS, line >= 0
    exposed = difference(intervals[shown & ~computes], intervals[shown & computes])
    return _bars(exposed, "communication")


def _idle_bars(timeline: Timeline, bars: pd.DataFrame, num_lines: int) -> pd.DataFrame:
    zeros = np.zeros(num_lines, np.int64)
    whole = Intervals(np.arange(num_lines), zeros, zeros + timeline.makespan_ns)
    columns = (bars[name].to_numpy(np.int64) for name in ("line", "start_ns", "end_ns"))
    return _bars(difference(whole, Intervals(*columns)), "idle")


def _bars(intervals: Intervals, kind: str) -> pd.DataFrame:
    import pandas as pd

    line, start_ns, end_ns = intervals.line, intervals.start_ns, intervals.end_ns
    frame = pd.DataFrame({"line": line, "start_ns": start_ns, "end_ns": end_ns})
    return frame.assign(kind=kind, stage=-1, microbatch=-1, chunk=-1)
