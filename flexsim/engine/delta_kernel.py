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

import numpy as np

from flexsim.engine.delta_join import Joints
from flexsim.engine.delta_sweep import Now, Sweep
from flexsim.numba_cache import inlined, kept_uncounted
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
    Contents,
)
from flexsim.task_graph.columns import Int64

TOO_LONG = -1
"""Times do not fit beside row numbers."""
ABOVE_LIMIT = -2
"""The makespan is greater than the limit."""
OUT_OF_ORDER = -3
"""Something was placed ahead of time and should not have been: see ``is_cautious``."""
ROW_BITS = 20
_LONGEST_NS = 1 << 42
_NEVER_NS = 2**62
_MANY = 2**40
_ROW_MASK = (1 << ROW_BITS) - 1
_COMPUTE, _COLLECTIVE = COMPUTE, COLLECTIVE
_TYPE, _KIND, _MEMBERS, _WIDTH = HEAD_TYPE, HEAD_KIND, HEAD_MEMBERS, HEAD_WIDTH
_DURATION, _DEVICE = HEAD_DURATION, HEAD_DEVICE


@inlined
def _push(heap: Int64, num_queued: int, key: int) -> None:
    place = num_queued
    while place > 0:
        parent = (place - 1) >> 1
        if heap[parent] <= key:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = key


@inlined
def _pop(heap: Int64, num_queued: int) -> int:
    """Return the lowest of the keys and close the gap that it leaves."""
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
    return int(lowest)


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
def _next_key(sweep: Sweep, row: int) -> int:
    """Return when the next members of a row are ready, of those that wait for nothing."""
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    next_ns = _NEVER_NS
    for device in range(len(ready)):
        next_ns = min(next_ns, ready[device] if missing[device] == 0 else _NEVER_NS)
    return next_ns


@inlined
def _compute(contents: Contents, sweep: Sweep, head: Int64, now: Now) -> int:
    """Place members of a compute row; return how many come too late.

    Every loop writes one array and reads few, so that it is compiled to run on several devices
    at once.
    """
    ready, missing = sweep.ready_ns[now.row], sweep.num_missing[now.row]
    duration = contents.duration_ns[head[_DURATION] : head[_DURATION] + len(ready)]
    begin, free, left = sweep.start_ns[now.row], sweep.stream_free_ns[0], sweep.left_ns[0]
    end, number = sweep.done[0], sweep.done[1]
    for device in range(len(ready)):
        runs = (missing[device] == 0) & (ready[device] <= now.until_ns)
        number[device] = 1 if runs else 0
    for device in range(len(ready)):
        here = max(ready[device], free[device])
        begin[device] = here if number[device] > 0 else begin[device]
    for device in range(len(ready)):
        end[device] = begin[device] + duration[device] if number[device] > 0 else 0
    for device in range(len(ready)):
        free[device] = max(free[device], end[device])
    for device in range(len(ready)):
        left[device] -= duration[device] if number[device] > 0 else 0
    for device in range(len(ready)):
        missing[device] = _MANY if number[device] > 0 else missing[device]
    above_ns = _NEVER_NS
    for device in range(len(ready)):
        above = (number[device] > 0) & (end[device] + left[device] > now.limit_ns)
        above_ns = min(above_ns, ready[device] if above else _NEVER_NS)
    sweep.above_ns[0] = min(sweep.above_ns[0], above_ns)
    return _note_last(sweep, now.row, ready)


@inlined
def _note_last(sweep: Sweep, row: int, ready: Int64) -> int:
    """Note a compute row as the last of the streams where it was placed; return how late."""
    last, last_row, number = sweep.stream_last_ns[0], sweep.stream_last_row[0], sweep.done[1]
    num_late = 0
    for device in range(len(ready)):
        earlier = ready[device] < last[device]
        later_row = (ready[device] == last[device]) & (row < last_row[device])
        num_late += 1 if (number[device] > 0) & (earlier | later_row) else 0
    if num_late > 0:
        for device in range(len(ready)):
            here = ready[device]
            late = (here < last[device]) | ((here == last[device]) & (row < last_row[device]))
            if (number[device] > 0) & late:
                sweep.is_cautious[sweep.site[last_row[device]]] = 1
    for device in range(len(ready)):
        last[device] = ready[device] if number[device] > 0 else last[device]
    for device in range(len(ready)):
        last_row[device] = row if number[device] > 0 else last_row[device]
    return num_late


@inlined
def _collect(contents: Contents, sweep: Sweep, head: Int64, now: Now) -> int:
    """Place members of a collective; return how many come too late."""
    ready, missing = sweep.ready_ns[now.row], sweep.num_missing[now.row]
    start = sweep.start_ns[now.row]
    kind, width, at = head[_KIND], head[_WIDTH], head[_DEVICE]
    free, left = sweep.stream_free_ns[kind], sweep.left_ns[kind]
    last, last_row = sweep.stream_last_ns[kind], sweep.stream_last_row[kind]
    end, number = sweep.done[0], sweep.done[1]
    end[:] = 0
    number[:] = 0
    num_late = 0
    for member in range(head[_MEMBERS]):
        first = contents.device[at]
        here = ready[first]
        if missing[first] == 0 and here <= now.until_ns:
            begin_ns = here
            duration_ns = contents.duration_ns[head[_DURATION] + member]
            for place in range(at, at + width):
                begin_ns = max(begin_ns, free[contents.device[place]])
            end_ns = begin_ns + duration_ns
            for place in range(at, at + width):
                device = contents.device[place]
                if here < last[device] or (here == last[device] and now.row < last_row[device]):
                    num_late += 1
                    sweep.is_cautious[sweep.site[last_row[device]]] = 1
                last[device], last_row[device] = here, now.row
                end[device], free[device], number[device] = end_ns, end_ns, 1
                left[device] -= duration_ns
                if end_ns + left[device] > now.limit_ns:
                    sweep.above_ns[0] = min(sweep.above_ns[0], here)
            start[first], missing[first] = begin_ns, _MANY
        at += width
    return num_late


@inlined
def _transfer(contents: Contents, sweep: Sweep, head: Int64, now: Now) -> int:
    """Place members of a transfer; return how many come too late."""
    ready, missing = sweep.ready_ns[now.row], sweep.num_missing[now.row]
    count, at, first = head[_MEMBERS], head[_DEVICE], sweep.first_task[now.row]
    end, number = sweep.done[0], sweep.done[1]
    end[:] = 0
    number[:] = 0
    num_late = 0
    for member in range(count):
        source = contents.device[at + member]
        here = ready[source]
        if missing[source] == 0 and here <= now.until_ns:
            target = contents.device[at + count + member]
            channel = contents.device[at + 2 * count + member]
            last_ns, last_row = sweep.channel_last_ns[channel], sweep.channel_last_row[channel]
            if here < last_ns or (here == last_ns and now.row < last_row):
                num_late += 1
                sweep.is_cautious[sweep.site[last_row]] = 1
            sweep.channel_last_ns[channel], sweep.channel_last_row[channel] = here, now.row
            begin_ns = max(here, sweep.channel_free_ns[channel])
            end_ns = begin_ns + contents.duration_ns[head[_DURATION] + member]
            sweep.channel_free_ns[channel] = end_ns
            sweep.member_start_ns[first + member] = begin_ns
            end[target] = max(end[target], end_ns)
            number[target] += 1
            if end_ns > now.limit_ns:
                sweep.above_ns[0] = min(sweep.above_ns[0], here)
    for device in range(len(ready)):
        placed = (missing[device] == 0) & (ready[device] <= now.until_ns)
        missing[device] = _MANY if placed else missing[device]
    return num_late


@inlined
def _tell(contents: Contents, linked: Linked, sweep: Sweep, row: int) -> int:
    """Tell a follower what was placed; return when its first member is ready by that, or never."""
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    end, number = sweep.done[0], sweep.done[1]
    content = linked.content[row]
    first_ns = _NEVER_NS
    if contents.head[content, _TYPE] == _COLLECTIVE:
        leader = contents.leader[content]
        for device in range(len(ready)):
            at = leader[device]
            if number[device] > 0 and at >= 0:
                ready[at] = max(ready[at], end[device])
                missing[at] -= number[device]
                if missing[at] == 0:
                    first_ns = min(first_ns, ready[at])
        return first_ns
    for device in range(len(ready)):
        count = number[device]
        latest_ns = max(ready[device], end[device])
        still = missing[device] - count
        ready[device] = latest_ns
        missing[device] = still
        first_ns = min(first_ns, latest_ns if (still == 0) & (count > 0) else _NEVER_NS)
    return first_ns


@inlined
def _clear(contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, num_rows: int) -> int:
    """Begin anew; rows of which a member waits for nothing are queued. Return how many."""
    sweep.stream_free_ns[:] = 0
    sweep.channel_free_ns[:] = 0
    sweep.stream_last_ns[:] = -1
    sweep.channel_last_ns[:] = -1
    sweep.above_ns[0] = _NEVER_NS
    num_queued, num_words = 0, contents.devices.shape[1] // 2
    for row in range(num_rows):
        sweep.key_ns[row] = -1
        covered = True
        for word in range(num_words):
            open_ = contents.devices[linked.content[row], word]
            for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
                open_ &= ~contents.devices[linked.content[linked.needs[i]], num_words + word]
            covered &= open_ == np.uint64(0)
        if not covered:
            _begin(contents, linked, joints, sweep, row)
            if _next_key(sweep, row) == 0:
                sweep.key_ns[row] = 0
                _push(sweep.heap, num_queued, row)
                num_queued += 1
    return num_queued


@inlined
def _tell_waiting(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, wait: int
) -> int:
    """Tell a row that waits on one device; return when it is ready there by that, or never."""
    row, device = sweep.row_of_wait[wait], joints.waits[wait, 0]
    if sweep.done[1, device] == 0:
        return _NEVER_NS
    if sweep.key_ns[row] == -1:
        _begin(contents, linked, joints, sweep, row)
    at = contents.leader[linked.content[row], device]
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    ready[at] = max(ready[at], sweep.done[0, device])
    missing[at] -= 1
    return ready[at] if missing[at] == 0 else _NEVER_NS


@inlined
def _place(contents: Contents, linked: Linked, sweep: Sweep, now: Now) -> int:
    """Place members of a row; return how many come too late."""
    head = contents.head[linked.content[now.row]]
    if head[_TYPE] == _COMPUTE:
        return _compute(contents, sweep, head, now)
    if head[_TYPE] == _COLLECTIVE:
        return _collect(contents, sweep, head, now)
    return _transfer(contents, sweep, head, now)


@inlined
def _queue(sweep: Sweep, num_queued: int, row: int, first_ns: int) -> int:
    """Queue a row if its first member is ready earlier than known; return the heap's size."""
    if first_ns >= sweep.key_ns[row]:
        return num_queued
    sweep.key_ns[row] = first_ns
    _push(sweep.heap, num_queued, (first_ns << ROW_BITS) | row)
    return num_queued + 1


@inlined
def _tell_all(
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, at: tuple[int, int]
) -> int:
    """Tell all followers of a row what was placed; return the heap's size.

    ``at`` are the row and the heap's size before.
    """
    row, num_queued = at
    for i in range(sweep.next_offsets[row], sweep.next_offsets[row + 1]):
        follower = sweep.following[i]
        if follower >= 0:
            if sweep.key_ns[follower] == -1:
                _begin(contents, linked, joints, sweep, follower)
            first_ns = _tell(contents, linked, sweep, follower)
        else:
            first_ns = _tell_waiting(contents, linked, joints, sweep, -1 - follower)
            follower = sweep.row_of_wait[-1 - follower]
        num_queued = _queue(sweep, num_queued, follower, first_ns)
    return num_queued


@kept_uncounted
def replay_rows(
    contents: Contents,
    linked: Linked,
    joints: Joints,
    sweep: Sweep,
    limits: tuple[int, int],
    is_exact: bool,
) -> int:
    """Replay all rows and return the makespan, or one of the negative numbers above.

    ``sweep`` is prepared. ``limits`` are the number of rows and the greatest makespan of
    interest. With ``is_exact`` nothing is placed ahead of time.
    """
    num_rows, limit_ns = limits
    num_queued = _clear(contents, linked, joints, sweep, num_rows)
    makespan_ns, num_late = 0, 0
    while num_queued > 0:
        key = _pop(sweep.heap, num_queued)
        num_queued -= 1
        row, now_ns = key & _ROW_MASK, key >> ROW_BITS
        if sweep.key_ns[row] != now_ns:
            continue
        if now_ns > sweep.above_ns[0] and num_late == 0:
            return ABOVE_LIMIT
        is_cautious = is_exact or sweep.is_cautious[sweep.site[row]] > 0
        now = Now(row, now_ns if is_cautious else _NEVER_NS, limit_ns)
        num_late += _place(contents, linked, sweep, now)
        for device in range(sweep.done.shape[1]):
            makespan_ns = max(makespan_ns, sweep.done[0, device])
        if makespan_ns >= _LONGEST_NS:
            return TOO_LONG
        sweep.key_ns[row] = _NEVER_NS
        next_ns = _next_key(sweep, row) if is_cautious else _NEVER_NS
        num_queued = _queue(sweep, num_queued, row, next_ns)
        num_queued = _tell_all(contents, linked, joints, sweep, (row, num_queued))
    if num_late > 0:
        return OUT_OF_ORDER
    return ABOVE_LIMIT if makespan_ns > limit_ns else int(makespan_ns)
