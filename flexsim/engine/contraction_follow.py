"""What ranks hold while their actions run: compiled, one pass over all actions."""

from __future__ import annotations

import numpy as np

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int64

_NEVER_NS = 2**62


@inlined
def _span_of(parts: Int64, store: Int64, counts: Int64) -> tuple[int, int]:
    """Return the first start and the last end of an action's tasks."""
    start_ns, end_ns = _NEVER_NS, 0
    for part in range(3):
        if counts[part] > 0:
            base_ns, span = parts[part, 1], parts[part, 2]
            start_ns = min(start_ns, base_ns + store[span])
            end_ns = max(end_ns, base_ns + store[span + 1])
    return start_ns, end_ns


@inlined
def _in_order(spans_ns: Int64, order: Int64, count: int) -> None:
    """Order actions by the middles of their spans, which most already are."""
    for place in range(1, count):
        action, at = order[place], place
        while at > 0 and spans_ns[order[at - 1], 2] > spans_ns[action, 2]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = action


@inlined
def _are_apart(spans_ns: Int64, order: Int64, count: int) -> bool:
    """Whether every action lasts after it is cut off where its neighbours' middles lie."""
    begin_ns = spans_ns[order[0], 0]
    for place in range(count):
        action, end_ns, next_ns = order[place], spans_ns[order[place], 1], 0
        if place + 1 < count:
            after = order[place + 1]
            next_ns = spans_ns[after, 0]
            if end_ns > next_ns:
                end_ns = next_ns = min(end_ns, spans_ns[after, 2])
        if begin_ns >= end_ns or spans_ns[action, 1] == 0:
            return False
        begin_ns = next_ns
    return True


@kept_on_disk
def follow_actions(
    spans: tuple[Int64, Int64, Int64],
    lineup: tuple[Int64, Int64, Int64],
    bytes_held: tuple[Int64, Int64, Int64],
    found: tuple[Int64, Int64],
) -> int:
    """Write when each rank holds most and how much of what; return the end of the last action.

    ``spans`` are the parts of actions (END, BASE_NS, SPAN), the store, and members by template
    and part; ``lineup`` the template of every action and the first and last (and one beyond) of
    every rank; ``bytes_held`` what each template holds at most, and by kind of memory at most
    and at its end. ``found`` takes action (-1: none) and bytes by rank. Actions of a rank follow
    in the order of the middles of their spans, as in :mod:`flexsim.timeline.memory`. Return -1
    where one is left no time so.
    """
    parts, store, counts = spans
    template, first, last = lineup
    most, parts_most, parts_left = bytes_held
    action_of_rank, bytes_of_rank = found
    num_kinds, latest_ns = parts_most.shape[1], 0
    longest = (last - first).max()
    spans_ns, order = np.empty((longest, 3), np.int64), np.empty(longest, np.int64)
    held_parts = np.zeros(num_kinds, np.int64)
    for rank in range(len(first)):
        count = last[rank] - first[rank]
        for place in range(count):
            action = first[rank] + place
            start_ns, end_ns = _span_of(parts[3 * action :], store, counts[template[action]])
            spans_ns[place, 0], spans_ns[place, 1] = start_ns, end_ns
            spans_ns[place, 2], order[place] = (start_ns + end_ns) // 2, place
            latest_ns = max(latest_ns, end_ns)
        _in_order(spans_ns, order, count)
        if not _are_apart(spans_ns, order, count):
            return -1
        held_parts[:], held, best = 0, 0, 0
        action_of_rank[rank], bytes_of_rank[rank] = -1, 0
        for place in range(count):
            row = template[first[rank] + order[place]]
            if held + most[row] > best:
                best = held + most[row]
                action_of_rank[rank] = first[rank] + order[place]
                bytes_of_rank[rank] = held_parts + parts_most[row]
            held_parts += parts_left[row]
            held = held_parts.sum()
    return latest_ns
