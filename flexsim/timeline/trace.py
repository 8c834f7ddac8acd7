"""A timeline as a trace that Perfetto and chrome://tracing open (Chrome trace event format).

A process is a device, a thread one of its streams or channels. Blocks of one stream can
overlap (recomputation alternates with the backward pass that it serves), which a thread
cannot show; they are laid on further threads named "compute (2)".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.files import whole_file
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.blocks import merge_blocks
from flexsim.timeline.export import chosen_detail
from flexsim.timeline.names import action_names, stream_name
from flexsim.timeline.spans import Timeline

Event = dict[str, Any]

_NS_PER_US = 1000


@dataclass(frozen=True, eq=False)
class _Spans:
    """What is drawn, a row a span, in order of (resource, start)."""

    resource: Int64
    start_ns: Int64
    end_ns: Int64
    lane: Int64
    kind: Int64
    names: list[str]
    args: list[Event]

    @cached_property
    def num_lanes(self) -> int:
        """Lanes of the resource that has most."""
        return int(self.lane.max(initial=0)) + 1

    @property
    def thread(self) -> Int64:
        """Thread of every span: its resource and lane as one number."""
        return self.resource * self.num_lanes + self.lane


def write_trace(path: Path, timeline: Timeline, detail: str = "auto") -> str:
    """Write ``trace.json`` and return the detail that it holds, which its otherData says too.

    Times are microseconds as floats, exact to the nanosecond.
    """
    detail = chosen_detail(timeline, detail)
    text = json.dumps(trace(timeline, detail), separators=(",", ":"))
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return detail


def trace(timeline: Timeline, detail: str) -> Event:
    """Return the trace as one JSON object; ``detail`` is "operators" or "blocks"."""
    spans = _operator_spans(timeline) if detail == "operators" else _block_spans(timeline)
    return {
        "traceEvents": [*_metadata(timeline, spans), *_events(timeline, spans)],
        "displayTimeUnit": "ns",
        "otherData": {"detail": detail, "makespan_ns": timeline.makespan_ns},
    }


def _operator_spans(timeline: Timeline) -> _Spans:
    graph = timeline.task_graph
    task, resource = graph.resources.rows, graph.resources.values.astype(np.int64)
    order = np.lexsort((timeline.start_ns[task], resource))
    task, resource = task[order], resource[order]
    actions, operators = [*action_names(graph.actions), ""], [*graph.operator_names, ""]
    action = [actions[i] for i in graph.action[task].tolist()]
    operator = [operators[i] for i in graph.operator[task].tolist()]
    num_bytes = graph.num_bytes[task].tolist()
    return _Spans(
        resource=resource,
        start_ns=timeline.start_ns[task],
        end_ns=timeline.end_ns[task],
        lane=np.zeros(len(task), np.int64),
        kind=graph.kind[task].astype(np.int64),
        names=[o or a for o, a in zip(operator, action, strict=True)],
        args=[{"action": a, "bytes": b} for a, b in zip(action, num_bytes, strict=True)],
    )


def _block_spans(timeline: Timeline) -> _Spans:
    graph = timeline.task_graph
    blocks = merge_blocks(timeline, graph.resources.values, graph.resources.rows)
    order = np.lexsort((blocks.start_ns, blocks.place))
    resource, action = blocks.place[order], blocks.action[order].tolist()
    start_ns, end_ns = blocks.start_ns[order], blocks.end_ns[order]
    names = [*action_names(graph.actions), ""]
    columns = (blocks.busy_ns, blocks.num_tasks, blocks.num_bytes)
    inside = zip(*(column[order].tolist() for column in columns), strict=True)
    return _Spans(
        resource=resource,
        start_ns=start_ns,
        end_ns=end_ns,
        lane=_lanes(resource, start_ns, end_ns),
        kind=blocks.kind[order],
        names=[names[i] for i in action],
        args=[{"busy_us": b / _NS_PER_US, "tasks": t, "bytes": n} for b, t, n in inside],
    )


def _lanes(resource: Int64, start_ns: Int64, end_ns: Int64) -> Int64:
    """Return for every span the first lane of its resource that is free at its start."""
    lanes = np.zeros(len(resource), np.int64)
    current, free_from = -1, [0]
    columns = zip(resource.tolist(), start_ns.tolist(), end_ns.tolist(), strict=True)
    for row, (place, start, end) in enumerate(columns):
        if place != current:
            current, free_from = place, [0]
        lane = next((i for i, free in enumerate(free_from) if free <= start), len(free_from))
        free_from[lane : lane + 1] = [end]
        lanes[row] = lane
    return lanes


def _metadata(timeline: Timeline, spans: _Spans) -> Iterator[Event]:
    """Yield the names of processes and threads, in the order in which they are shown."""
    table = timeline.task_graph.resource_table
    for device in np.unique(table.device[np.unique(spans.resource)]).tolist():
        yield _name("process_name", device, 0, f"device {device}")
        yield {"ph": "M", "name": "process_sort_index", "pid": device, "tid": 0,
               "args": {"sort_index": device}}  # fmt: skip
    for thread in np.unique(spans.thread).tolist():
        resource, lane = divmod(thread, spans.num_lanes)
        name = stream_name(int(table.kind[resource]), int(table.peer[resource]))
        name = f"{name} ({lane + 1})" if lane else name
        yield _name("thread_name", int(table.device[resource]), thread, name)


def _name(what: str, pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _events(timeline: Timeline, spans: _Spans) -> Iterator[Event]:
    device = timeline.task_graph.resource_table.device[spans.resource].tolist()
    columns = (
        spans.names,
        spans.kind.tolist(),
        (spans.start_ns / _NS_PER_US).tolist(),
        ((spans.end_ns - spans.start_ns) / _NS_PER_US).tolist(),
        device,
        spans.thread.tolist(),
        spans.args,
    )
    for name, kind, start_us, duration_us, pid, tid, args in zip(*columns, strict=True):
        category = TASK_KINDS[kind]
        yield {"ph": "X", "name": name or category, "cat": category, "ts": start_us,
               "dur": duration_us, "pid": pid, "tid": tid, "args": args}  # fmt: skip
