"""The compiled inner loop of the replay: commit tasks in (ready, id) order.

A waiting task is one integer, its *key*: ``(ready_ns - base_ns) << shift | id``. Keys lie in a
heap of four children an entry. A task that becomes ready too late for its key to fit waits
outside the heap until the heap is empty, when ``base_ns`` moves up; so any time is exact. What
the heap's top will need is fetched ahead, since on large graphs the replay waits for memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64

_NO_KEY = 2**63 - 1
KEY_BITS = 62
"""Bits of a key at most, so that every key is less than ``_NO_KEY``."""
NEVER_NS = 2**62
"""When a resource becomes free that a task holds which can never start."""


class Replay(NamedTuple):
    """The columns of a task graph (see ``TaskGraph``) and the state of its replay."""

    duration_ns: Int64
    first_held: Int64
    held: Int32
    first_next: Int64
    following: Int32
    num_missing: Int32
    """Predecessors that have not been committed, a value a task."""
    start_ns: Int64
    """Start of a committed task; before, the latest end of its predecessors so far, or -1."""
    free_ns: Int64
    """When each resource becomes free."""
    heap: Int64
    """Keys, ``num_queued`` of them; one place more than there are tasks."""
    later: Int32
    """Tasks outside the heap."""
    state: Int64
    """``num_queued`` (in the heap), ``num_later``, ``base_ns``."""


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """Ask the processor to load ``array[index]`` into its cache, and do not wait for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        record = context.make_array(kind)(context, builder, arguments[0])
        item = cgutils.get_item_pointer(context, builder, kind, record, [arguments[1]])
        number = ir.IntType(32)
        address = builder.bitcast(item, ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], shape)
        builder.call(prefetch, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


@inlined
def _push(heap: Int64, num_queued: int, key: int) -> None:
    """Add a key to a heap of ``num_queued`` keys."""
    place = num_queued
    while place > 0:
        parent = (place - 1) >> 2
        if heap[parent] <= key:
            break
        heap[place] = heap[parent]
        place = parent
    heap[place] = key


@inlined
def _replace_first(heap: Int64, num_queued: int, key: int) -> None:
    """Put a key in the place of the lowest.

    The replay spends its time here: a loop over the four children would cost a tenth of it.
    """
    place = 0
    while True:
        child = 4 * place + 1
        if child >= num_queued:
            break
        lowest, best = heap[child], child
        if child + 3 < num_queued:
            if heap[child + 1] < lowest:
                lowest, best = heap[child + 1], child + 1
            if heap[child + 2] < lowest:
                lowest, best = heap[child + 2], child + 2
            if heap[child + 3] < lowest:
                lowest, best = heap[child + 3], child + 3
        else:
            for other in range(child + 1, num_queued):
                if heap[other] < lowest:
                    lowest, best = heap[other], other
        if lowest >= key:
            break
        heap[place] = lowest
        place = best
    heap[place] = key


@inlined
def _take(heap: Int64, num_queued: int, pending: int) -> tuple[int, int]:
    """Return the lowest of ``pending`` and the heap's keys, and how many stay in the heap."""
    if num_queued == 0 or pending < heap[0]:
        return pending, num_queued
    key = heap[0]
    if pending == _NO_KEY:
        num_queued -= 1
        pending = heap[num_queued]
    _replace_first(heap, num_queued, pending)
    return key, num_queued


@inlined
def _fetch_tasks(
    heap: Int64, mask: int, duration_ns: Int64, first_held: Int64, first_next: Int64
) -> None:
    """Prefetch the rows of the tasks next to the top of the heap."""
    for place in range(1, 5):
        task = heap[place] & mask
        _prefetch(duration_ns, task)
        _prefetch(first_held, task)
        _prefetch(first_next, task)


@inlined
def _fetch_followers(
    task: int, first_next: Int64, following: Int32, num_missing: Int32, start_ns: Int64
) -> None:
    """Prefetch what the end of a task changes in the rows of its successors."""
    for row in range(first_next[task], first_next[task + 1]):
        _prefetch(num_missing, np.int64(following[row]))
        _prefetch(start_ns, np.int64(following[row]))


@inlined
def _block(first: int, last: int, held: Int32, free_ns: Int64) -> None:
    """Let nothing run behind a task that can never start."""
    for row in range(first, last):
        free_ns[held[row]] = NEVER_NS


@inlined
def _release(task: np.int64, end_ns: int, num_missing: Int32, start_ns: Int64) -> int:
    """Tell a task that a predecessor ended; return when it is ready, 0 while it waits for more."""
    ready_ns = max(start_ns[task], end_ns)
    start_ns[task] = ready_ns
    still_missing = num_missing[task] - 1
    num_missing[task] = still_missing
    return ready_ns if still_missing == 0 else 0


@kept_on_disk
def advance(replay: Replay, limit: int, shift: int, window_ns: int) -> int:
    """Commit at most ``limit`` tasks and return how many: fewer where the heap is empty.

    ``shift`` is the number of bits of an id. Tasks that become ready ``window_ns`` or more after
    ``base_ns`` are put outside the heap.
    """
    # Numba counts references at each access to a field, so the loop has a name for each.
    duration_ns, first_held, held, first_next, following = replay[:5]
    num_missing, start_ns, free_ns, heap, later, state = replay[5:]
    num_queued, num_later, base_ns = state[0], state[1], state[2]
    pending = _NO_KEY  # the lowest key that became ready last: often the next, so not queued
    num_done, mask = 0, (1 << shift) - 1
    while num_done < limit and (num_queued > 0 or pending != _NO_KEY):
        key, num_queued = _take(heap, num_queued, pending)
        pending, num_done = _NO_KEY, num_done + 1
        if num_queued > 4:
            _fetch_tasks(heap, mask, duration_ns, first_held, first_next)
            _prefetch(held, first_held[heap[0] & mask])
            _fetch_followers(heap[0] & mask, first_next, following, num_missing, start_ns)
        task, begin_ns = key & mask, base_ns + (key >> shift)
        first, last = first_held[task], first_held[task + 1]
        for row in range(first, last):
            begin_ns = max(begin_ns, free_ns[held[row]])
        end_ns = begin_ns + duration_ns[task]
        is_stuck = begin_ns >= NEVER_NS
        for row in range(first, last):
            is_stuck |= free_ns[held[row]] == end_ns  # its own end: it holds a resource twice
            free_ns[held[row]] = end_ns
        if is_stuck:
            start_ns[task] = -1
            _block(first, last, held, free_ns)
            continue
        start_ns[task] = begin_ns
        for row in range(first_next[task], first_next[task + 1]):
            follower = np.int64(following[row])
            ready_ns = _release(follower, end_ns, num_missing, start_ns)
            if ready_ns == 0:
                continue
            if ready_ns - base_ns >= window_ns:
                later[num_later], num_later = follower, num_later + 1
                continue
            fresh = ((ready_ns - base_ns) << shift) | follower
            if fresh < pending:
                fresh, pending = pending, fresh
            if fresh != _NO_KEY:
                _push(heap, num_queued, fresh)
                num_queued += 1
    _push(heap, num_queued, pending)  # there is room for one key more than there are tasks
    state[0], state[1] = num_queued + (pending != _NO_KEY), num_later
    return num_done
