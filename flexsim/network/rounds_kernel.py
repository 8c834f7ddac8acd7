"""The compiled replay of rounds: equal steps of flows that hold links, one flow a chain in flight.

It commits flows in (ready, id) order, as the replay of the lowered graph does, but keeps no
graph. After each step it looks whether what is left to do is what was left some steps ago, only
later: then all goes on as it did since, and the periods that are left are jumped over.
"""

from __future__ import annotations

from typing import NamedTuple

from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.columns import Int32, Int64


class Lanes(NamedTuple):
    """The flows of one step, a row each; flow (s, j) is number ``s * len(wire_ns) + j``.

    ``after[j]`` is the flow of the next step that starts when flow j has arrived, and
    ``before`` the other way round.
    """

    wire_ns: Int64
    latency_ns: Int64
    first_link: Int64
    link: Int32
    after: Int64
    before: Int64


class Queue(NamedTuple):
    """The flows that wait, as keys ``ready_ns << shift | number`` in a heap of four children."""

    heap: Int64
    free_ns: Int64
    """When each link becomes free."""
    num_left: Int64
    """Flows of each step that have not been committed."""


@inlined
def _sink(heap: Int64, length: int, key: int) -> None:
    """Put a key in the place of the lowest of a heap."""
    place = 0
    while True:
        child = 4 * place + 1
        if child >= length:
            break
        lowest, best = heap[child], child
        for other in range(child + 1, min(child + 4, length)):
            if heap[other] < lowest:
                lowest, best = heap[other], other
        if lowest >= key:
            break
        heap[place] = lowest
        place = best
    heap[place] = key


@inlined
def _look(lanes: Lanes, queue: Queue, shift: int, step: int, front: Int64) -> int:
    """Write down what is left to do from ``step`` on, and return the time that it counts from.

    A chain is known by its flow of that step: how many steps further it is, and then, for all
    chains, when the flow is ready; then when links become free. Times count from the first.
    """
    width = len(lanes.wire_ns)
    base_ns = int(queue.heap[0] >> shift)
    for place in range(width):
        key = queue.heap[place]
        number = key & ((1 << shift) - 1)
        ahead, lane = number // width - step, number % width
        for _ in range(ahead):
            lane = lanes.before[lane]
        front[lane], front[width + lane] = ahead, (key >> shift) - base_ns
    for link in range(len(queue.free_ns)):
        front[2 * width + link] = max(queue.free_ns[link] - base_ns, 0)
    return base_ns


@inlined
def _are_equal(one: Int64, other: Int64) -> bool:
    for place in range(len(one)):  # noqa: SIM110 - Numba makes no loop of a generator
        if one[place] != other[place]:
            return False
    return True


@inlined
def _jump(queue: Queue, length: int, shift: int, steps: int, delay_ns: int) -> None:
    """Let all that waits be so many steps further and ``delay_ns`` later."""
    num_steps = len(queue.num_left)
    for place in range(length):
        queue.heap[place] += (delay_ns << shift) + steps * length
    for link in range(len(queue.free_ns)):
        queue.free_ns[link] += delay_ns
    for step in range(num_steps - 1, steps - 1, -1):
        queue.num_left[step] = queue.num_left[step - steps]


@inlined
def _num_periods(
    front: Int64, width: int, period: int, delay_ns: int, left: tuple[int, int]
) -> int:
    """Return how many periods fit into the steps and the time that are left."""
    ahead, late_ns = 0, 0
    for lane in range(width):
        ahead, late_ns = max(ahead, front[lane]), max(late_ns, front[width + lane])
    times = (left[0] - 1 - ahead) // period
    return max(0, min(times, (left[1] - late_ns) // max(delay_ns, 1)))


@inlined
def _commit(lanes: Lanes, queue: Queue, lane: int, ready_ns: int) -> int:
    """Let a flow hold its links, and return when it has arrived."""
    first, last = lanes.first_link[lane], lanes.first_link[lane + 1]
    for place in range(first, last):
        ready_ns = max(ready_ns, queue.free_ns[lanes.link[place]])
    end_ns = ready_ns + lanes.wire_ns[lane]
    for place in range(first, last):
        queue.free_ns[lanes.link[place]] = end_ns
    return int(end_ns + lanes.latency_ns[lane])


@kept_uncounted
def replay_rounds(
    lanes: Lanes, queue: Queue, shift: int, fronts: Int64, jumps: bool
) -> tuple[int, int]:
    """Return when the last flow has arrived, and how many flows were committed one by one.

    The queue holds the flows of step 0; ``fronts`` has room for two fronts, a row each. A time
    that no key can hold gives (-1, 0).
    """
    width, num_steps, limit_ns = len(lanes.wire_ns), len(queue.num_left), 1 << (62 - shift)
    length, step, saved, saved_ns, last_ns, num_committed = width, 0, -1, 0, 0, 0
    while length > 0:
        key = queue.heap[0]
        number = key & ((1 << shift) - 1)
        at, lane = number // width, number % width
        arrived_ns = _commit(lanes, queue, lane, key >> shift)
        if arrived_ns >= limit_ns:
            return -1, 0
        num_committed += 1
        queue.num_left[at] -= 1
        if at + 1 < num_steps:
            follower = (at + 1) * width + lanes.after[lane]
            _sink(queue.heap, length, (arrived_ns << shift) | follower)
        else:
            last_ns, length = max(last_ns, arrived_ns), length - 1
            _sink(queue.heap, length, queue.heap[length])
        if not jumps or length < width or queue.num_left[step] > 0:
            continue
        while queue.num_left[step] == 0:
            step += 1
        base_ns = _look(lanes, queue, shift, step, fronts[0])
        if saved >= 0 and _are_equal(fronts[0], fronts[1]):
            period, delay_ns = step - saved, base_ns - saved_ns
            left = (num_steps - step, limit_ns - base_ns)
            times = _num_periods(fronts[0], width, period, delay_ns, left)
            _jump(queue, length, shift, times * period, times * delay_ns)
            jumps = False
        elif saved < 0 or step >= 2 * saved:
            for place in range(fronts.shape[1]):
                fronts[1, place] = fronts[0, place]
            saved, saved_ns = step, base_ns
    return last_ns, num_committed
