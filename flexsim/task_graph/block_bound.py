"""A lower bound from the forward alone: what a change to it costs, before its backward is built."""

from __future__ import annotations

import numpy as np

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.operator_graph.records import GRADIENT
from flexsim.task_graph.block_arrays import fits, room_for
from flexsim.task_graph.block_kernel import Chains, Current, Linked, Sites, link_slots
from flexsim.task_graph.block_outline import Outline
from flexsim.task_graph.block_pool_kernel import COLLECTIVE, COMPUTE, Contents
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.program import Program

_COLLECTIVE, _COMPUTE = COLLECTIVE, COMPUTE
_TYPE, _MEMBERS, _WIDTH, _DURATION, _DEVICE = 0, 2, 3, 4, 5
_NO_ROWS, _NO_OFFSETS = np.zeros(0, np.int32), np.zeros(1, np.int64)


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
    """Write when every device can leave the forward at the earliest: the end of its last row,
    for which the first row that it computes in the backward waits.

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


class ForwardBound:
    """Bounds the makespan of one program again and again, in the same work space."""

    def __init__(self, outline: Outline, sites: Sites, num_devices: int) -> None:
        """Take the outline, and the same as arrays."""
        self._sites = sites
        self._num_slots = outline.first_backward
        self._losses = _losses(outline)
        self._linked = room_for(sites, np.zeros(3, np.int64))
        self._end_ns = np.zeros((1, num_devices), np.int64)
        self._exit_ns = np.zeros(num_devices, np.int64)

    def least_ns(
        self, chains: Chains, numbers: tuple[Int32, Int32], contents: Contents, program: Program
    ) -> int:
        """Return a time before which no device begins the backward.

        All of the backward comes after some loss, and that after all that its device computes
        in the forward. ``numbers`` are the contents of chains and steps; what chains bring to
        the backward is not looked at.
        """
        if not self._losses:
            return 0
        current = Current(*numbers, _NO_ROWS, _NO_OFFSETS, _NO_ROWS)
        num_rows = link_slots(self._sites, chains, current, self._num_slots, self._linked)
        if not fits(self._linked):
            self._linked = room_for(self._sites, self._linked.counts)
            link_slots(self._sites, chains, current, self._num_slots, self._linked)
        if num_rows >= len(self._end_ns):
            self._end_ns = np.zeros((2 * num_rows + 1, len(self._exit_ns)), np.int64)
        forward_exits(contents, self._linked, num_rows, self._end_ns, self._exit_ns)
        configs = program.strategy.configs
        meshes = dict.fromkeys(configs[name].mesh for name in self._losses)
        return min(int(self._exit_ns[mesh.flat].min()) for mesh in meshes)


def _losses(outline: Outline) -> list[str]:
    """Return the operators that begin the backward; none where a step may begin without them.

    All other steps read a gradient, or wait for one because they read nothing.
    """
    backward = [stage for stage in outline.steps if stage.slot >= outline.first_backward]
    for stage in backward:
        reads = [use.tensor for use in stage.step.reads]
        if stage.gate and stage.reads and not any(name.startswith(GRADIENT) for name in reads):
            return []
    return list(dict.fromkeys(stage.operator.name for stage in backward if not stage.gate))
