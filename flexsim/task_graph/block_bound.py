"""A lower bound from the forward alone: what a change to it costs, before its backward is built."""

from __future__ import annotations

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool_kernel import COLLECTIVE, COMPUTE, Contents
from flexsim.task_graph.columns import Int64

_COLLECTIVE, _COMPUTE = COLLECTIVE, COMPUTE
_TYPE, _MEMBERS, _WIDTH, _DURATION, _DEVICE = 0, 2, 3, 4, 5


@inlined
def _computed(contents: Contents, content: int, ready: Int64, end: Int64, exit_ns: Int64) -> None:
    """Write when a compute row ends; the last one that a device has is its exit."""
    work, leader = contents.work_ns[content], contents.leader[content]
    for device in range(len(ready)):
        end[device] = ready[device] + work[device] if leader[device] >= 0 else 0
    for device in range(len(ready)):
        exit_ns[device] = end[device] if leader[device] >= 0 else exit_ns[device]


@inlined
def _collected(contents: Contents, content: int, ready: Int64, end: Int64) -> None:
    """Write when a collective ends on the devices of each group."""
    head = contents.head[content]
    at, width = head[_DEVICE], head[_WIDTH]
    end[:] = 0
    for member in range(head[_MEMBERS]):
        latest_ns = 0
        for place in range(at, at + width):
            latest_ns = max(latest_ns, ready[contents.device[place]])
        latest_ns += contents.duration_ns[head[_DURATION] + member]
        for place in range(at, at + width):
            end[contents.device[place]] = latest_ns
        at += width


@inlined
def _transferred(contents: Contents, content: int, ready: Int64, end: Int64) -> None:
    """Write when all has come that a transfer brings to every device."""
    head = contents.head[content]
    at, num_members = head[_DEVICE], head[_MEMBERS]
    end[:] = 0
    for member in range(num_members):
        source = contents.device[at + member]
        target = contents.device[at + num_members + member]
        latest_ns = ready[source] + contents.duration_ns[head[_DURATION] + member]
        end[target] = max(end[target], latest_ns)


@kept_uncounted
def forward_exits(
    contents: Contents, linked: Linked, num_rows: int, end_ns: Int64, exit_ns: Int64
) -> None:
    """Write when every device can leave the forward at the earliest: the end of its last row.

    That is along the longest path of the first ``num_rows`` rows, as if nothing ever waited for a
    device or a channel. ``end_ns`` has a line a row and one more, for work.
    """
    exit_ns[:] = 0
    ready = end_ns[num_rows]
    for row in range(num_rows):
        ready[:] = 0
        for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
            before = end_ns[linked.needs[i]]
            for device in range(len(ready)):
                ready[device] = max(ready[device], before[device])
        content = linked.content[row]
        shape = contents.head[content, _TYPE]
        if shape == _COMPUTE:
            _computed(contents, content, ready, end_ns[row], exit_ns)
        elif shape == _COLLECTIVE:
            _collected(contents, content, ready, end_ns[row])
        else:
            _transferred(contents, content, ready, end_ns[row])
