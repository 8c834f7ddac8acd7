"""Work space of the replay of rows, and its preparation: who follows whom, and how much work."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.delta_join import Joints
from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import (
    COMPUTE,
    HEAD_KIND,
    HEAD_MEMBERS,
    HEAD_TYPE,
    TRANSFER,
    Contents,
)
from flexsim.task_graph.columns import Int32, Int64

_COMPUTE, _TRANSFER = COMPUTE, TRANSFER
_TYPE, _KIND, _MEMBERS = HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS


class Sweep(NamedTuple):
    """Work space: a line a row, a value a device; streams by kind and device; channels.

    ``ready_ns`` is the latest end so far of what a row waits for, ``num_missing`` how many tasks
    it still waits for, ``open`` (bits a row) where it waits for nothing and is not yet placed.
    ``key_ns`` is the time of a row's key in the heap, -1 before anything it waits for has ended.
    A follower below 0 stands for a line of the joints. ``left_ns`` is the work still to come on
    a stream; ``last_ns`` and ``last_row`` are ready time and row of a resource's last task.
    ``done`` has the ends and the numbers of the members placed last, by device, ``told`` those
    devices, and ``listed`` the devices of these members. ``site`` tells where in the program a
    row stands, and ``is_cautious`` which sites are not to be placed ahead of time. ``noted_ns``:
    when the next members of a row are ready, the least ready time of a task that puts the
    makespan above the limit, the makespan so far, and how many tasks came too late.
    """

    ready_ns: Int64
    num_missing: Int32
    start_ns: Int64
    member_start_ns: Int64
    """Start of every transfer, by task."""
    first_task: Int64
    key_ns: Int64
    next_offsets: Int64
    following: Int32
    row_of_wait: Int32
    heap: Int64
    stream_free_ns: Int64
    left_ns: Int64
    channel_free_ns: Int64
    stream_last_ns: Int64
    stream_last_row: Int64
    channel_last_ns: Int64
    channel_last_row: Int64
    done: Int64
    site: Int32
    is_cautious: NDArray[np.uint8]
    noted_ns: Int64
    open: NDArray[np.uint64]
    listed: Int32
    told: Int32


NEXT, ABOVE, MAKESPAN, LATE = range(4)


class Now(NamedTuple):
    """What is placed next: members of ``row`` ready up to ``until_ns``, checked or surely due."""

    row: int
    content: int
    until_ns: int
    limit_ns: int
    is_checked: bool


@inlined
def _follow(linked: Linked, joints: Joints, sweep: Sweep, num_rows: int) -> None:
    """Write who follows every row."""
    offsets = sweep.next_offsets
    offsets[: num_rows + 2] = 0
    num_waits = joints.offsets[num_rows]
    for i in range(linked.need_offsets[num_rows]):
        offsets[linked.needs[i] + 2] += 1
    for i in range(num_waits):
        offsets[joints.waits[i, 1] + 2] += 1
    for row in range(num_rows + 1):
        offsets[row + 1] += offsets[row]
    for row in range(num_rows):
        for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
            need = linked.needs[i]
            sweep.following[offsets[need + 1]] = row
            offsets[need + 1] += 1
        for i in range(joints.offsets[row], joints.offsets[row + 1]):
            need = joints.waits[i, 1]
            sweep.following[offsets[need + 1]] = -1 - i
            sweep.row_of_wait[i] = row
            offsets[need + 1] += 1


@inlined
def _total(contents: Contents, linked: Linked, sweep: Sweep, num_rows: int) -> int:
    """Sum the work of every stream; return the most."""
    left_ns = sweep.left_ns
    left_ns[:] = 0
    sweep.first_task[0] = 0
    for row in range(num_rows):
        content = linked.content[row]
        head = contents.head[content]
        sweep.first_task[row + 1] = sweep.first_task[row] + head[_MEMBERS]
        if head[_TYPE] != _TRANSFER:
            total = left_ns[0 if head[_TYPE] == _COMPUTE else head[_KIND]]
            work = contents.work_ns[content]
            for device in range(len(total)):
                total[device] += work[device]
    most_ns = 0
    for kind in range(left_ns.shape[0]):
        for device in range(left_ns.shape[1]):
            most_ns = max(most_ns, left_ns[kind, device])
    return most_ns


@kept_uncounted
def prepare(contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, num_rows: int) -> int:
    """Find followers and work; return the most work of one stream, less than any makespan."""
    _follow(linked, joints, sweep, num_rows)
    return int(_total(contents, linked, sweep, num_rows))
