"""The compiled replay of rows: many members of a row at once, on all devices side by side.

A heap holds one key a row: the first ready time of its members that wait for nothing and are not
yet placed. Taking (ready time, row) in order and placing all members of that row that are ready
just then is the order of (ready time, id) that every engine obeys: members of one row share no
resource. Members that are ready later are placed ahead of time. That is exact too if every
resource still gets its tasks in that order, which is checked: where not, the row that came too
early is remembered as *cautious*, and the replay begins anew.

When (t, row) is taken, all that is not yet placed is ready at t or later, so what was placed and
is ready before t is final: from it follows whether the makespan is above a limit.

What waits is counted by row and device; a collective's group is counted where its first device
is, its *leader*. Only devices where something ends are looked at: most rows end on few at a time.
"""

from __future__ import annotations

import numpy as np

from flexsim.engine.delta_join import Joints
from flexsim.engine.delta_sweep import ABOVE, LATE, MAKESPAN, NEXT, Now, Sweep
from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph import block_pool_kernel as pool
from flexsim.task_graph.block_kernel import Linked
from flexsim.task_graph.block_pool_kernel import Contents
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
_MANY = 2**30
_ROW_MASK = (1 << ROW_BITS) - 1
_COMPUTE, _COLLECTIVE = pool.COMPUTE, pool.COLLECTIVE
_TYPE, _KIND, _MEMBERS, _WIDTH = pool.HEAD_TYPE, pool.HEAD_KIND, pool.HEAD_MEMBERS, pool.HEAD_WIDTH
_DURATION, _DEVICE, _LEAST = pool.HEAD_DURATION, pool.HEAD_DEVICE, pool.HEAD_LEAST
_NEXT, _ABOVE, _MAKESPAN, _LATE = NEXT, ABOVE, MAKESPAN, LATE
_NONE, _ONE, _SHIFT = np.uint64(0), np.uint64(1), np.uint64(58)
_FACTOR = np.uint64(0x03F79D71B4CB0A89)
"""A power of two times this has in its highest six bits a number that tells it from others."""
_PLACE = np.zeros(64, np.int64)
_PLACE[[(0x03F79D71B4CB0A89 << bit) % 2**64 >> 58 for bit in range(64)]] = np.arange(64)


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
def _open(sweep: Sweep, row: int, device: int) -> None:
    """Note that a row's member at a device waits for nothing more."""
    sweep.open[row, device >> 6] |= _ONE << np.uint64(device & 63)


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
    sweep.open[row] = 0


@inlined
def _take(sweep: Sweep, now: Now) -> int:
    """List the devices of members that are placed now; return how many there are.

    Note when the next members are ready, of those that wait for nothing.
    """
    ready, open_ = sweep.ready_ns[now.row], sweep.open[now.row]
    count, next_ns = 0, _NEVER_NS
    for word in range(len(open_)):
        bits = open_[word]
        kept = bits
        while bits != _NONE:
            low = bits & (~bits + _ONE)
            bits ^= low
            device = (word << 6) + _PLACE[(low * _FACTOR) >> _SHIFT]
            if ready[device] <= now.until_ns:
                sweep.listed[count] = device
                count += 1
                kept ^= low
            else:
                next_ns = min(next_ns, ready[device])
        open_[word] = kept
    sweep.noted_ns[_NEXT] = next_ns
    return count


@inlined
def _check(sweep: Sweep, last_ns: Int64, last_row: Int64, at: tuple[int, int, int]) -> None:
    """Check that a resource gets its tasks in order; ``at`` are resource, row and ready time."""
    place, row, here = at
    if here < last_ns[place] or (here == last_ns[place] and row < last_row[place]):
        sweep.noted_ns[_LATE] += 1
        sweep.is_cautious[sweep.site[last_row[place]]] = 1
    last_ns[place], last_row[place] = here, row


@inlined
def _note(sweep: Sweep, now: Now, ready_ns: int, end_ns: int, least_ns: int) -> None:
    """Note the end of a task, and that the makespan is ``least_ns`` at least."""
    noted = sweep.noted_ns
    noted[_MAKESPAN] = max(noted[_MAKESPAN], end_ns)
    if least_ns > now.limit_ns:
        noted[_ABOVE] = min(noted[_ABOVE], ready_ns)


@inlined
def _compute(contents: Contents, sweep: Sweep, head: Int64, now: Now, count: int) -> int:
    """Place the listed members of a compute row; return on how many devices that ends."""
    ready, begin = sweep.ready_ns[now.row], sweep.start_ns[now.row]
    free, left = sweep.stream_free_ns[0], sweep.left_ns[0]
    ends, numbers = sweep.done[0], sweep.done[1]
    latest_ns, above_ns = 0, _NEVER_NS
    for i in range(count):
        device = sweep.listed[i]
        here = ready[device]
        if now.is_checked:
            at = (device, now.row, here)
            _check(sweep, sweep.stream_last_ns[0], sweep.stream_last_row[0], at)
        duration_ns = contents.duration_ns[head[_DURATION] + device]
        begin_ns = max(here, free[device])
        end_ns = begin_ns + duration_ns
        begin[device], free[device] = begin_ns, end_ns
        left[device] -= duration_ns
        ends[device], numbers[device] = end_ns, 1
        sweep.told[i] = device
        latest_ns = max(latest_ns, end_ns)
        above_ns = min(above_ns, here if end_ns + left[device] > now.limit_ns else _NEVER_NS)
    sweep.noted_ns[_MAKESPAN] = max(sweep.noted_ns[_MAKESPAN], latest_ns)
    sweep.noted_ns[_ABOVE] = min(sweep.noted_ns[_ABOVE], above_ns)
    return count


@inlined
def _collect(contents: Contents, sweep: Sweep, head: Int64, now: Now, count: int) -> int:
    """Place the listed members of a collective; return on how many devices that ends."""
    kind, width = head[_KIND], head[_WIDTH]
    free, left = sweep.stream_free_ns[kind], sweep.left_ns[kind]
    num_told = 0
    for i in range(count):
        first = sweep.listed[i]
        member = contents.first[now.content, first]
        begin_ns = here = sweep.ready_ns[now.row, first]
        duration_ns = contents.duration_ns[head[_DURATION] + member]
        at = head[_DEVICE] + member * width
        for place in range(at, at + width):
            begin_ns = max(begin_ns, free[contents.device[place]])
        end_ns = begin_ns + duration_ns
        for place in range(at, at + width):
            device = contents.device[place]
            if now.is_checked:
                which = (device, now.row, here)
                _check(sweep, sweep.stream_last_ns[kind], sweep.stream_last_row[kind], which)
            free[device] = end_ns
            left[device] -= duration_ns
            sweep.done[0, device], sweep.done[1, device] = end_ns, 1
            sweep.told[num_told] = device
            num_told += 1
            _note(sweep, now, here, end_ns, end_ns + left[device])
        sweep.start_ns[now.row, first] = begin_ns
    return num_told


@inlined
def _transfer(contents: Contents, sweep: Sweep, head: Int64, now: Now, count: int) -> int:
    """Place the listed members of a transfer; return on how many devices that ends."""
    members, at = head[_MEMBERS], head[_DEVICE]
    first, end, number = contents.first[now.content], sweep.done[0], sweep.done[1]
    num_told = 0
    for i in range(count):
        source = sweep.listed[i]
        here = sweep.ready_ns[now.row, source]
        for line in range(first[source], first[source + 1]):
            member = contents.device[at + 3 * members + line]
            target = contents.device[at + members + member]
            channel = contents.device[at + 2 * members + member]
            if now.is_checked:
                which = (channel, now.row, here)
                _check(sweep, sweep.channel_last_ns, sweep.channel_last_row, which)
            begin_ns = max(here, sweep.channel_free_ns[channel])
            end_ns = begin_ns + contents.duration_ns[head[_DURATION] + member]
            sweep.channel_free_ns[channel] = end_ns
            sweep.member_start_ns[sweep.first_task[now.row] + member] = begin_ns
            if number[target] == 0:
                sweep.told[num_told] = target
                num_told += 1
            end[target] = max(end[target], end_ns)
            number[target] += 1
            _note(sweep, now, here, end_ns, end_ns)
    return num_told


@inlined
def _tell(contents: Contents, linked: Linked, sweep: Sweep, row: int, num_told: int) -> int:
    """Tell a follower what was placed; return when its first member is ready by that, or never."""
    ready, missing = sweep.ready_ns[row], sweep.num_missing[row]
    leader = contents.leader[linked.content[row]]
    first_ns = _NEVER_NS
    for i in range(num_told):
        device = sweep.told[i]
        at = leader[device]
        if at >= 0:
            ready[at] = max(ready[at], sweep.done[0, device])
            missing[at] -= sweep.done[1, device]
            if missing[at] == 0:
                _open(sweep, row, at)
                first_ns = min(first_ns, ready[at])
    return first_ns


@inlined
def _clear(contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, num_rows: int) -> int:
    """Begin anew; rows of which a member waits for nothing are queued. Return how many."""
    sweep.stream_free_ns[:] = 0
    sweep.channel_free_ns[:] = 0
    sweep.stream_last_ns[:] = -1
    sweep.channel_last_ns[:] = -1
    sweep.done[:] = 0
    sweep.noted_ns[:] = 0
    sweep.noted_ns[_ABOVE] = _NEVER_NS
    num_queued, num_words = 0, contents.devices.shape[1] // 2
    for row in range(num_rows):
        sweep.key_ns[row] = -1
        covered = True
        for word in range(num_words):
            open_ = contents.devices[linked.content[row], word]
            for i in range(linked.need_offsets[row], linked.need_offsets[row + 1]):
                open_ &= ~contents.devices[linked.content[linked.needs[i]], num_words + word]
            covered &= open_ == _NONE
        if not covered:
            _begin(contents, linked, joints, sweep, row)
            for device in range(sweep.num_missing.shape[1]):
                if sweep.num_missing[row, device] == 0:
                    _open(sweep, row, device)
                    sweep.key_ns[row] = 0
            if sweep.key_ns[row] == 0:
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
    if missing[at] > 0:
        return _NEVER_NS
    _open(sweep, row, at)
    return int(ready[at])


@inlined
def _place(contents: Contents, sweep: Sweep, now: Now) -> int:
    """Place members of a row; return on how many devices they end."""
    count = _take(sweep, now)
    head = contents.head[now.content]
    if head[_TYPE] == _COMPUTE:
        return _compute(contents, sweep, head, now, count)
    if head[_TYPE] == _COLLECTIVE:
        return _collect(contents, sweep, head, now, count)
    return _transfer(contents, sweep, head, now, count)


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
    contents: Contents, linked: Linked, joints: Joints, sweep: Sweep, at: tuple[int, int, int]
) -> int:
    """Tell all followers of a row what was placed; return the heap's size.

    ``at`` are the row, on how many devices its members end, and the heap's size before.
    """
    row, num_told, num_queued = at
    for i in range(sweep.next_offsets[row], sweep.next_offsets[row + 1]):
        follower = sweep.following[i]
        if follower >= 0:
            if sweep.key_ns[follower] == -1:
                _begin(contents, linked, joints, sweep, follower)
            first_ns = _tell(contents, linked, sweep, follower, num_told)
        else:
            first_ns = _tell_waiting(contents, linked, joints, sweep, -1 - follower)
            follower = sweep.row_of_wait[-1 - follower]
        num_queued = _queue(sweep, num_queued, follower, first_ns)
    for i in range(num_told):
        sweep.done[0, sweep.told[i]], sweep.done[1, sweep.told[i]] = 0, 0
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
    noted = sweep.noted_ns
    while num_queued > 0:
        key = _pop(sweep.heap, num_queued)
        num_queued -= 1
        row, now_ns = key & _ROW_MASK, key >> ROW_BITS
        if sweep.key_ns[row] != now_ns:
            continue
        if now_ns > noted[_ABOVE] and noted[_LATE] == 0:
            return ABOVE_LIMIT
        is_cautious = is_exact or sweep.is_cautious[sweep.site[row]] > 0
        until_ns = _NEVER_NS
        if is_cautious:
            least_ns = contents.head[linked.content[row], _LEAST]
            next_ns = sweep.heap[0] >> ROW_BITS if num_queued > 0 else _NEVER_NS
            until_ns = max(now_ns, min(next_ns, now_ns + least_ns) - 1)
        now = Now(row, linked.content[row], until_ns, limit_ns, not is_exact)
        num_told = _place(contents, sweep, now)
        if noted[_MAKESPAN] >= _LONGEST_NS:
            return TOO_LONG
        sweep.key_ns[row] = _NEVER_NS
        num_queued = _queue(sweep, num_queued, row, noted[_NEXT])
        num_queued = _tell_all(contents, linked, joints, sweep, (row, num_told, num_queued))
    if noted[_LATE] > 0:
        return OUT_OF_ORDER
    return ABOVE_LIMIT if noted[_MAKESPAN] > limit_ns else int(noted[_MAKESPAN])
