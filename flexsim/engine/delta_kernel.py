"""The compiled replay of rows: many members of a row at once, on all devices side by side.

A heap holds one key a row: the first ready time of its members that wait for nothing and are not
yet placed. Taking (ready time, row) in order and placing all members of that row that are ready
just then is the order of (ready time, id) that every engine obeys: members of one row share no
resource. Members that are ready later are placed ahead of time. That is exact too if every
resource still gets its tasks in that order, which is checked: where not, the row that came too
early is remembered as *cautious*, and the replay begins anew.

When (t, row) is taken, all that is not yet placed is ready at t or later, so what was placed and
is ready before t is final: from it follows whether the makespan is above a limit.

What waits is counted by row and device, so that one pass over the devices tells all members of a
follower; a collective's group is counted where its first device is, its *leader*.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.delta_join import Joints
from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool import (
    COLLECTIVE,
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

TOO_LONG = -1
"""Times do not fit beside rows and devices in one number."""
ABOVE_LIMIT = -2
"""The makespan is greater than the limit."""
OUT_OF_ORDER = -3
"""Something was placed ahead of time and should not have been: see ``is_blamed``."""
KEY_BITS = 62
_NEVER_NS = 2**62
_MANY = 2**40
_COMPUTE, _COLLECTIVE, _TRANSFER = COMPUTE, COLLECTIVE, TRANSFER
_TYPE, _KIND, _MEMBERS, _WIDTH = HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS, HEAD_WIDTH
_DURATION, _DEVICE = HEAD_DURATION, HEAD_DEVICE


class Sweep(NamedTuple):
    """Work space: a line a row, a value a device; streams by kind and device; channels.

    ``ready_ns`` is the latest end so far of what a row waits for, ``num_missing`` how many tasks
    it still waits for, and very many where it is placed. ``key_ns`` is the time of a row's key
    in the heap, -1 before anything it waits for has ended. A follower below 0 stands for a line
    of the joints. ``left_ns`` is the work still to come on a stream; ``last_ns`` and
    ``last_row`` are ready time and row of a resource's last task; ``done`` has the ends and the
    numbers of the members placed last, by device. ``site`` tells where in the program a row
    stands, ``is_cautious`` which sites are not to be placed ahead of time, and ``is_blamed``
    which should not have been. ``above_ns`` is the least ready time of a task that puts the
    makespan above the limit; ``num_queued`` the size of the heap.
    """

    ready_ns: Int64
    num_missing: Int64
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
    stream_last_row: Int32
    channel_last_ns: Int64
    channel_last_row: Int32
    done: Int64
    site: Int32
    is_cautious: NDArray[np.uint8]
    is_blamed: NDArray[np.uint8]
    above_ns: Int64
    num_queued: Int64


class Bounds(NamedTuple):
    """Of one replay: rows, the greatest makespan of interest, and the bits of a key's parts."""

    num_rows: int
    limit_ns: int
    row_shift: int
    time_shift: int
    longest_ns: int
    is_exact: bool
    """Whether nothing is placed ahead of time."""


@inlined
def _push(sweep: Sweep, key: int) -> None:
    heap, place = sweep.heap, sweep.num_queued[0]
    sweep.num_queued[0] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        if heap[parent] <= key:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = key


@inlined
def _pop(sweep: Sweep) -> int:
    """Return the lowest of the keys and close the gap that it leaves."""
    heap, num_queued = sweep.heap, sweep.num_queued[0]
    sweep.num_queued[0] = num_queued - 1
    lowest, key = heap[0], heap[num_queued - 1]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= num_queued - 1:
            break
        if child + 1 < num_queued - 1 and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key
    return lowest


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
    return left_ns.max()


@inlined
def _begin(contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, row: int) -> None:
    """Count what a row waits for on every device."""
    content = linked.content[row]
    leader = contents.leader[content]
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    is_collective = contents.head[content, _TYPE] == _COLLECTIVE
    for device in range(len(ready)):
        ready[device] = 0
        missing[device] = 0 if leader[device] == device else _MANY
    for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
        left = contents.num_left[linked.content[linked.needs[i]]]
        if is_collective:
            for device in range(len(ready)):
                if leader[device] >= 0:
                    missing[leader[device]] += left[device]
        else:
            for device in range(len(ready)):
                missing[device] += left[device]
    for i in range(joints.offsets[row], joints.offsets[row + 1]):
        missing[leader[joints.waits[i, 0]]] += 1
    sweep.key_ns[row] = _NEVER_NS


@inlined
def _queue(sweep: Sweep, bounds: Bounds, row: int, device: int) -> None:
    """Queue a member of a row that waits for nothing any more."""
    ready_ns = sweep.ready_ns[row, device]
    if bounds.is_exact or sweep.is_cautious[sweep.site[row]]:
        _push(sweep, ready_ns << bounds.time_shift | row << bounds.row_shift | device)
    elif ready_ns < sweep.key_ns[row]:
        sweep.key_ns[row] = ready_ns
        _push(sweep, ready_ns << bounds.time_shift | row << bounds.row_shift)


@inlined
def _check(sweep: Sweep, last_ns: int, last_row: int, here_ns: int, row: int) -> int:
    """Blame the last row of a resource if it should have come after this one."""
    if here_ns > last_ns or (here_ns == last_ns and row >= last_row):
        return 0
    sweep.is_blamed[sweep.site[last_row]] = 1
    return 1


@inlined
def _place(
    contents: Contents, sweep: Sweep, bounds: Bounds, head: Int64, at: tuple[int, int, int]
) -> int:
    """Place one member of a compute row or a collective; return how often it comes too late.

    ``at`` are its row, its number and its first device.
    """
    row, member, first = at
    here_ns, num_late = sweep.ready_ns[row, first], 0
    kind = 0 if head[_TYPE] == _COMPUTE else head[_KIND]
    free, left = sweep.stream_free_ns[kind], sweep.left_ns[kind]
    last, last_row = sweep.stream_last_ns[kind], sweep.stream_last_row[kind]
    duration_ns = contents.duration_ns[head[_DURATION] + member]
    begin_ns, width = here_ns, head[_WIDTH]
    place = head[_DEVICE] + member * width
    for i in range(width):
        device = first if width == 1 else contents.device[place + i]
        begin_ns = max(begin_ns, free[device])
        num_late += _check(sweep, last[device], last_row[device], here_ns, row)
    end_ns = begin_ns + duration_ns
    for i in range(width):
        device = first if width == 1 else contents.device[place + i]
        free[device], last[device], last_row[device] = end_ns, here_ns, row
        left[device] -= duration_ns
        if end_ns + left[device] > bounds.limit_ns:
            sweep.above_ns[0] = min(sweep.above_ns[0], here_ns)
        sweep.done[0, device], sweep.done[1, device] = end_ns, 1
    sweep.start_ns[row, first], sweep.num_missing[row, first] = begin_ns, _MANY
    return num_late


@inlined
def _send(
    contents: Contents, sweep: Sweep, bounds: Bounds, head: Int64, at: tuple[int, int]
) -> int:
    """Place one member of a transfer; return how often it comes too late."""
    row, member = at
    count, place = head[_MEMBERS], head[_DEVICE] + member
    here_ns = sweep.ready_ns[row, contents.device[place]]
    target, channel = contents.device[place + count], contents.device[place + 2 * count]
    last_ns, last_row = sweep.channel_last_ns[channel], sweep.channel_last_row[channel]
    num_late = _check(sweep, last_ns, last_row, here_ns, row)
    sweep.channel_last_ns[channel], sweep.channel_last_row[channel] = here_ns, row
    begin_ns = max(here_ns, sweep.channel_free_ns[channel])
    end_ns = begin_ns + contents.duration_ns[head[_DURATION] + member]
    sweep.channel_free_ns[channel] = end_ns
    sweep.member_start_ns[sweep.first_task[row] + member] = begin_ns
    sweep.done[0, target] = max(sweep.done[0, target], end_ns)
    sweep.done[1, target] += 1
    if end_ns > bounds.limit_ns:
        sweep.above_ns[0] = min(sweep.above_ns[0], here_ns)
    return num_late


@inlined
def _compute_all(contents: Contents, sweep: Sweep, bounds: Bounds, head: Int64, row: int) -> int:
    """Place all members of a compute row that wait for nothing; return how many come too late."""
    ready, missing, start = sweep.ready_ns[row], sweep.num_missing[row], sweep.start_ns[row]
    duration = contents.duration_ns[head[_DURATION] : head[_DURATION] + len(ready)]
    free, left = sweep.stream_free_ns[0], sweep.left_ns[0]
    last, last_row = sweep.stream_last_ns[0], sweep.stream_last_row[0]
    end, number = sweep.done[0], sweep.done[1]
    num_late, above_ns = 0, _NEVER_NS
    for device in range(len(ready)):
        here = ready[device]
        runs = missing[device] == 0
        late = (here < last[device]) | ((here == last[device]) & (row < last_row[device]))
        num_late += 1 if runs & late else 0
        begin_ns = max(here, free[device])
        end_ns = begin_ns + duration[device]
        rest_ns = left[device] - duration[device]
        above = runs & (end_ns + rest_ns > bounds.limit_ns)
        above_ns = min(above_ns, here if above else _NEVER_NS)
        end[device] = end_ns if runs else 0
        number[device] = 1 if runs else 0
        start[device] = begin_ns if runs else start[device]
        free[device] = end_ns if runs else free[device]
        left[device] = rest_ns if runs else left[device]
        missing[device] = _MANY if runs else missing[device]
    if num_late > 0:
        for device in range(len(ready)):
            if number[device] > 0:
                _check(sweep, last[device], last_row[device], ready[device], row)
    for device in range(len(ready)):
        last[device] = ready[device] if number[device] > 0 else last[device]
        last_row[device] = row if number[device] > 0 else last_row[device]
    sweep.above_ns[0] = min(sweep.above_ns[0], above_ns)
    return num_late


@inlined
def _place_all(contents: Contents, sweep: Sweep, bounds: Bounds, head: Int64, row: int) -> int:
    """Place all members that wait for nothing; return how many come too late."""
    if head[_TYPE] == _COMPUTE:
        return _compute_all(contents, sweep, bounds, head, row)
    missing, num_late, at = sweep.num_missing[row], 0, head[_DEVICE]
    sweep.done[:] = 0
    if head[_TYPE] == _COLLECTIVE:
        for member in range(head[_MEMBERS]):
            first = contents.device[at + member * head[_WIDTH]]
            if missing[first] == 0:
                num_late += _place(contents, sweep, bounds, head, (row, member, first))
        return num_late
    for member in range(head[_MEMBERS]):
        if missing[contents.device[at + member]] == 0:
            num_late += _send(contents, sweep, bounds, head, (row, member))
    for device in range(len(missing)):
        missing[device] = _MANY if missing[device] == 0 else missing[device]
    return num_late


@inlined
def _tell(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, bounds: Bounds, row: int
) -> None:
    """Tell a follower what was placed on all devices; queue what is ready by that."""
    if sweep.key_ns[row] == -1:
        _begin(contents, linked, joints, sweep, row)
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    end, number = sweep.done[0], sweep.done[1]
    content = linked.content[row]
    if contents.head[content, _TYPE] == _COLLECTIVE:
        leader = contents.leader[content]
        for device in range(len(ready)):
            at = leader[device]
            if number[device] > 0 and at >= 0:
                ready[at] = max(ready[at], end[device])
                missing[at] -= number[device]
                if missing[at] == 0:
                    _queue(sweep, bounds, row, at)
        return
    num_open, first_ns, first = 0, _NEVER_NS, 0
    for device in range(len(ready)):
        count = number[device]
        latest_ns = max(ready[device], end[device])
        still = missing[device] - count
        ready[device] = latest_ns
        missing[device] = still
        is_open = (still == 0) & (count > 0)
        num_open += 1 if is_open else 0
        first_ns = min(first_ns, latest_ns if is_open else _NEVER_NS)
    if num_open == 0:
        return
    if bounds.is_exact or sweep.is_cautious[sweep.site[row]]:
        for device in range(len(ready)):
            if number[device] > 0 and missing[device] == 0:
                _queue(sweep, bounds, row, device)
    elif first_ns < sweep.key_ns[row]:
        sweep.key_ns[row] = first_ns
        _push(sweep, first_ns << bounds.time_shift | row << bounds.row_shift)


@inlined
def _tell_one(
    contents: Contents,
    linked: Linked,
    joints: Joints,
    sweep: Sweep,
    bounds: Bounds,
    where: tuple[int, int],
) -> None:
    """Tell a follower (a row) what was placed on one device; queue what is ready by that."""
    row, device = where
    if sweep.key_ns[row] == -1:
        _begin(contents, linked, joints, sweep, row)
    at = contents.leader[linked.content[row], device]
    if at < 0:
        return
    sweep.ready_ns[row, at] = max(sweep.ready_ns[row, at], sweep.done[0, device])
    sweep.num_missing[row, at] -= sweep.done[1, device]
    if sweep.num_missing[row, at] == 0:
        _queue(sweep, bounds, row, at)


@inlined
def _tell_all(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, bounds: Bounds, row: int
) -> None:
    """Tell all followers of a row what was placed of it."""
    for i in range(sweep.next_offsets[row], sweep.next_offsets[row + 1]):
        follower = sweep.following[i]
        if follower >= 0:
            _tell(contents, linked, joints, sweep, bounds, follower)
        else:
            device = joints.waits[-1 - follower, 0]
            if sweep.done[1, device] > 0:
                where = (sweep.row_of_wait[-1 - follower], device)
                _tell_one(contents, linked, joints, sweep, bounds, where)


@inlined
def _tell_of(
    contents: Contents,
    linked: Linked,
    joints: Joints,
    sweep: Sweep,
    bounds: Bounds,
    where: tuple[int, int],
) -> None:
    """Tell all followers of a row what was placed of it on one device, and forget it."""
    row, device = where
    for i in range(sweep.next_offsets[row], sweep.next_offsets[row + 1]):
        follower = sweep.following[i]
        if follower < 0:
            if joints.waits[-1 - follower, 0] != device:
                continue
            follower = sweep.row_of_wait[-1 - follower]
        _tell_one(contents, linked, joints, sweep, bounds, (follower, device))
    sweep.done[0, device], sweep.done[1, device] = 0, 0


@inlined
def _place_single(
    contents: Contents,
    linked: Linked,
    joints: Joints,
    sweep: Sweep,
    bounds: Bounds,
    where: tuple[int, int],
) -> tuple[int, int]:
    """Place what a row has on one device and tell followers; return how late, and the end."""
    row, first = where
    head = contents.head[linked.content[row]]
    num_late, end_ns, at = 0, 0, head[_DEVICE]
    if head[_TYPE] == _TRANSFER:
        for member in range(head[_MEMBERS]):
            if contents.device[at + member] == first:
                num_late += _send(contents, sweep, bounds, head, (row, member))
                target = contents.device[at + head[_MEMBERS] + member]
                end_ns = max(end_ns, sweep.done[0, target])
                _tell_of(contents, linked, joints, sweep, bounds, (row, target))
        sweep.num_missing[row, first] = _MANY
        return num_late, end_ns
    member, width = first, head[_WIDTH]
    if head[_TYPE] == _COLLECTIVE:
        member = 0
        while contents.device[at + member * width] != first:
            member += 1
    num_late = _place(contents, sweep, bounds, head, (row, member, first))
    end_ns = sweep.done[0, first]
    for i in range(width):
        device = first if width == 1 else contents.device[at + member * width + i]
        _tell_of(contents, linked, joints, sweep, bounds, (row, device))
    return num_late, end_ns


@inlined
def _clear(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, bounds: Bounds
) -> None:
    """Begin anew; members that wait for nothing are queued."""
    sweep.stream_free_ns[:] = 0
    sweep.channel_free_ns[:] = 0
    sweep.stream_last_ns[:] = -1
    sweep.channel_last_ns[:] = -1
    sweep.above_ns[0] = _NEVER_NS
    sweep.num_queued[0] = 0
    sweep.done[:] = 0
    num_words = contents.devices.shape[1] // 2
    for row in range(bounds.num_rows):
        sweep.key_ns[row] = -1
    for row in range(bounds.num_rows):
        covered = True
        for word in range(num_words):
            open_ = contents.devices[linked.content[row], word]
            for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
                open_ &= ~contents.devices[linked.content[linked.needs[i]], num_words + word]
            covered &= open_ == np.uint64(0)
        if not covered:
            _begin(contents, linked, joints, sweep, row)
            for device in range(sweep.num_missing.shape[1]):
                if sweep.num_missing[row, device] == 0:
                    _queue(sweep, bounds, row, device)


@kept_on_disk
def replay_rows(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, bounds: Bounds
) -> int:
    """Replay all rows and return the makespan, or one of the negative numbers above."""
    if _total(contents, linked, sweep, bounds.num_rows) > bounds.limit_ns:
        return ABOVE_LIMIT
    _follow(linked, joints, sweep, bounds.num_rows)
    _clear(contents, linked, joints, sweep, bounds)
    row_mask = (1 << (bounds.time_shift - bounds.row_shift)) - 1
    device_mask = (1 << bounds.row_shift) - 1
    end = sweep.done[0]
    makespan_ns, num_late = 0, 0
    while sweep.num_queued[0] > 0:
        key = _pop(sweep)
        now_ns, row = key >> bounds.time_shift, (key >> bounds.row_shift) & row_mask
        if now_ns > sweep.above_ns[0] and num_late == 0:
            return ABOVE_LIMIT
        if bounds.is_exact or sweep.is_cautious[sweep.site[row]]:
            where = (row, key & device_mask)
            late, end_ns = _place_single(contents, linked, joints, sweep, bounds, where)
            num_late += late
            makespan_ns = max(makespan_ns, end_ns)
            if makespan_ns >= bounds.longest_ns:
                return TOO_LONG
            continue
        if sweep.key_ns[row] != now_ns:
            continue
        head = contents.head[linked.content[row]]
        num_late += _place_all(contents, sweep, bounds, head, row)
        for device in range(len(end)):
            makespan_ns = max(makespan_ns, end[device])
        if makespan_ns >= bounds.longest_ns:
            return TOO_LONG
        sweep.key_ns[row] = _NEVER_NS
        _tell_all(contents, linked, joints, sweep, bounds, row)
        sweep.done[:] = 0
    if num_late > 0:
        return OUT_OF_ORDER
    return ABOVE_LIMIT if makespan_ns > bounds.limit_ns else makespan_ns
