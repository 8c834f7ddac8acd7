"""A timeline as a trace that Perfetto and chrome://tracing open (Chrome trace event format).

A process is a device, a thread one of its streams or channels. Blocks of one stream can
overlap (recomputation alternates with the backward pass that it serves), which a thread
cannot show; they are laid on further threads named "compute (2)".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flexsim.files import whole_file
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.kinds import TASK_KINDS
from flexsim.timeline.blocks import resource_blocks
from flexsim.timeline.export import chosen_detail
from flexsim.timeline.names import action_names, stream_name
from flexsim.timeline.spans import Timeline
from flexsim.timeline.text import Column, labelled, thousandths, write_rows

Event = dict[str, Any]

_PLAIN = re.compile(r"[\w .:;/+-]*", re.ASCII)
"""Text that JSON needs not escape."""


@dataclass(frozen=True, eq=False)
class _Spans:
    """What is drawn, a row a span, in order of (resource, start)."""

    resource: Int64
    start_ns: Int64
    end_ns: Int64
    lane: Int64
    kind: Int64
    name: Column
    args: dict[str, Column]

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

    ``detail`` is "operators", "blocks" or "auto". Times are microseconds as floats, exact to
    the nanosecond.
    """
    detail = chosen_detail(timeline, detail)
    spans = _operator_spans(timeline) if detail == "operators" else _block_spans(timeline)
    other = {"detail": detail, "makespan_ns": timeline.makespan_ns}
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(b'{"traceEvents":[')
        stream.write(",".join(map(_json, _metadata(timeline, spans))).encode())
        _write_events(stream, timeline, spans)
        stream.write(f'],"displayTimeUnit":"ns","otherData":{_json(other)}}}'.encode())
    return detail


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _operator_spans(timeline: Timeline) -> _Spans:
    graph = timeline.task_graph
    task, resource = graph.resources.rows, graph.resources.values.astype(np.int64)
    order = np.lexsort((timeline.start_ns[task], resource))
    task, resource = task[order], resource[order]
    actions = action_names(graph.actions)
    return _Spans(
        resource=resource,
        start_ns=timeline.start_ns[task],
        end_ns=timeline.end_ns[task],
        lane=np.zeros(len(task), np.int64),
        kind=graph.kind[task].astype(np.int64),
        name=_named(graph.operator[task], graph.operator_names, graph.action[task], actions),
        args={
            "action": _strings(labelled(graph.action[task], actions)),
            "bytes": Column(graph.num_bytes[task]),
        },
    )


def _named(
    operator: Int32, operators: Sequence[str], action: Int32, actions: Sequence[str]
) -> Column:
    """Return the operator's name where there is one, else the action's."""
    names = [*operators, *actions, ""]
    nameless = np.flatnonzero([not name for name in operators])
    has_name = (operator >= 0) & ~np.isin(operator, nameless)
    second = np.where(action >= 0, len(operators) + action, len(names) - 1)
    return Column(np.where(has_name, operator, second).astype(np.int64), names)


def _block_spans(timeline: Timeline) -> _Spans:
    graph = timeline.task_graph
    blocks = resource_blocks(timeline)
    order = np.lexsort((blocks.start_ns, blocks.place))
    resource, start_ns, end_ns = blocks.place[order], blocks.start_ns[order], blocks.end_ns[order]
    return _Spans(
        resource=resource,
        start_ns=start_ns,
        end_ns=end_ns,
        lane=_lanes(resource, start_ns, end_ns),
        kind=blocks.kind[order],
        name=labelled(blocks.action[order], action_names(graph.actions)),
        args={
            "busy_us": thousandths(blocks.busy_ns[order]),
            "tasks": Column(blocks.num_tasks[order]),
            "bytes": Column(blocks.num_bytes[order]),
        },
    )


def _lanes(resource: Int64, start_ns: Int64, end_ns: Int64) -> Int64:
    """Return for every span the first lane of its resource that is free at its start."""
    from flexsim.timeline.kernels import assign_lanes

    lane = np.zeros(len(resource), np.int64)
    longest = int(np.bincount(resource).max(initial=0))
    assign_lanes((resource, start_ns, end_ns), np.zeros(longest, np.int64), lane)
    return lane


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


def _write_events(stream: BinaryIO, timeline: Timeline, spans: _Spans) -> None:
    """Write an event a span, each behind a comma: metadata stand before them."""
    device = timeline.task_graph.resource_table.device
    fields = {
        '{"ph":"X","name":': _strings(_or_kind(spans.name, spans.kind)),
        '"cat":': _strings(labelled(spans.kind, TASK_KINDS)),
        '"ts":': thousandths(spans.start_ns),
        '"dur":': thousandths(spans.end_ns - spans.start_ns),
        '"pid":': Column(device[spans.resource].astype(np.int64)),
        '"tid":': Column(spans.thread),
    }
    args = {f'"{name}":': column for name, column in spans.args.items()}
    pieces = [f",{name}" for name in (*fields, *args)]
    pieces[len(fields)] = pieces[len(fields)].replace(",", ',"args":{', 1)
    write_rows(stream, [*pieces, "}}"], [*fields.values(), *args.values()])


def _or_kind(name: Column, kind: Int64) -> Column:
    """Return names, and in place of an empty one the kind of task."""
    names = name.labels or ()
    is_empty = np.array([not label for label in names])[name.values]
    return Column(np.where(is_empty, len(names) + kind, name.values), [*names, *TASK_KINDS])


def _strings(column: Column) -> Column:
    """Return a column whose labels are JSON strings."""
    labels = column.labels or ()
    if _PLAIN.fullmatch("".join(labels)):
        return replace(column, labels=[f'"{label}"' for label in labels])
    return replace(column, labels=[_json(label) for label in labels])
