"""Rows expanded to single tasks, compiled: for timelines, and where rows cannot be replayed."""

from __future__ import annotations

from typing import NamedTuple

from flexsim.engine.delta_join import Joints
from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import (
    COMPUTE,
    HEAD_DEVICE,
    HEAD_DURATION,
    HEAD_KIND,
    HEAD_MEMBERS,
    HEAD_TYPE,
    HEAD_WIDTH,
    TRANSFER,
    Contents,
)
from flexsim.task_graph.columns import Int32, Int64

_COMPUTE, _TRANSFER = COMPUTE, TRANSFER
_TYPE, _KIND, _MEMBERS, _WIDTH = HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS, HEAD_WIDTH
_DURATION, _DEVICE = HEAD_DURATION, HEAD_DEVICE


class Tasks(NamedTuple):
    """The tasks of all rows, by first task of every row, and the pairs that are edges.

    ``first_at`` and ``next_at`` are work space: lists of a row's entries by device.
    """

    duration_ns: Int64
    kind: Int32
    part: Int32
    row: Int32
    first_held: Int64
    held: Int32
    sources: Int32
    targets: Int32
    first_at: Int32
    next_at: Int32


@inlined
def _enter(contents: Contents, head: Int64, tasks: Tasks, num_entries: int) -> None:
    """List a row's entries by the devices on which they take their data."""
    tasks.first_at[:] = -1
    for entry in range(num_entries):
        device = contents.device[head[_DEVICE] + entry]
        tasks.next_at[entry] = tasks.first_at[device]
        tasks.first_at[device] = entry


@kept_uncounted
def expand_columns(
    contents: Contents, rows: Int32, first_task: Int64, num_streams: int, tasks: Tasks
) -> None:
    """Write the columns of all tasks. Streams are numbered by kind and device, then channels."""
    num_held = 0
    num_devices = len(tasks.first_at)
    for number in range(len(rows)):
        head = contents.head[rows[number]]
        count, width = head[_MEMBERS], head[_WIDTH]
        for member in range(count):
            task = first_task[number] + member
            tasks.kind[task], tasks.part[task] = head[_KIND], member
            tasks.row[task] = number
            at = head[_DEVICE] + member * width
            tasks.first_held[task] = num_held
            if head[_TYPE] == _COMPUTE:
                device = contents.device[at]
                tasks.duration_ns[task] = contents.duration_ns[head[_DURATION] + device]
                tasks.held[num_held] = device
                num_held += 1
                continue
            tasks.duration_ns[task] = contents.duration_ns[head[_DURATION] + member]
            if head[_TYPE] == _TRANSFER:
                channel = contents.device[head[_DEVICE] + 2 * count + member]
                tasks.held[num_held] = num_streams + channel
                num_held += 1
                continue
            for place in range(at, at + width):
                tasks.held[num_held] = head[_KIND] * num_devices + contents.device[place]
                num_held += 1
    tasks.first_held[first_task[len(rows)]] = num_held


@kept_uncounted
def expand_edges(
    contents: Contents, linked: Linked, joints: Joints, first_task: Int64, tasks: Tasks
) -> int:
    """Write the edges between tasks as far as there is room; return how many there are."""
    num_edges, room = 0, len(tasks.sources)
    for row in range(len(first_task) - 1):
        head = contents.head[linked.content[row]]
        width = head[_WIDTH]
        _enter(contents, head, tasks, head[_MEMBERS] * width)
        first, last = linked.need_offsets[row], linked.need_offsets[row + 1]
        more = joints.offsets[row + 1] - joints.offsets[row]
        for i in range(first, last + more):
            only = -1
            if i < last:
                need = linked.needs[i]
            else:
                only = joints.waits[joints.offsets[row] + i - last, 0]
                need = joints.waits[joints.offsets[row] + i - last, 1]
            left = contents.head[linked.content[need]]
            at, left_width = left[_DEVICE], left[_WIDTH]
            if left[_TYPE] == _TRANSFER:
                at += left[_MEMBERS]
            for entry in range(left[_MEMBERS] * left_width):
                device = contents.device[at + entry]
                if only >= 0 and device != only:
                    continue
                here = tasks.first_at[device]
                while here >= 0:
                    if num_edges < room:
                        tasks.sources[num_edges] = first_task[need] + entry // left_width
                        tasks.targets[num_edges] = first_task[row] + here // width
                    num_edges += 1
                    here = tasks.next_at[here]
    return num_edges
