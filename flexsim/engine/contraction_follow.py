"""What ranks hold while their actions run: compiled, one pass over all actions.

Where a replay leaves out windows at *cuts*, an iteration falls into *pieces*: what comes before
the first cut, the windows left out there, what lies between two cuts, and so on. What a rank
holds at most is found for each piece, and how much it grows with every window left out of each
run. Actions have to follow one another as they do however many windows are left out.
"""

from __future__ import annotations

import numpy as np

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int64

FOLLOWED, OVERLAP, UNSTEADY = range(3)
"""What came of following actions."""
_NEVER_NS = 2**62
_START, _END, _MIDDLE, _LOW, _HIGH, _END_HIGH, _NUM_COLUMNS = range(7)
"""Of an action: its span; sums of the shifts of its start and its end, and the shift of its end."""


@inlined
def _span_of(parts: Int64, store: Int64, counts: Int64, row: Int64) -> None:
    """Write the first start and the last end of an action's tasks, and their middle."""
    start_ns, end_ns = _NEVER_NS, 0
    for part in range(3):
        if counts[part] > 0:
            base_ns, span = parts[part, 1], parts[part, 2]
            start_ns = min(start_ns, base_ns + store[span])
            end_ns = max(end_ns, base_ns + store[span + 1])
    row[_START], row[_END], row[_MIDDLE] = start_ns, end_ns, (start_ns + end_ns) // 2


@inlined
def _shifts_of(
    parts: Int64, shifts: Int64, action: int, part: int, role: tuple[int, int]
) -> tuple[int, int, bool]:
    """Return a part's own shift, that of what repeats it, and whether they are known.

    A part of the last window before a cut may belong to a step behind the cut. It has to repeat
    the one a window earlier all the same.
    """
    (segment, window), code = role, 3 * action + part
    low, high, own = shifts[code, 0], shifts[code, 1], shifts[code, 2]
    if own == segment:
        return (low if segment % 2 == 1 else high), high, True
    if segment % 2 == 0:
        return low, low, own == segment + 1
    before = code - 3 * window
    low = shifts[before, 0]
    repeats = parts[code, 0] == parts[before, 0]
    repeats = repeats and parts[code, 1] - parts[before, 1] == high - low
    return low, high, repeats and shifts[before, 1] == high and shifts[before, 2] == segment


@inlined
def _weigh(
    spans: tuple[Int64, Int64, Int64],
    shifts: Int64,
    action: int,
    role: tuple[int, int],
    row: Int64,
) -> bool:
    """Write the shifts of an action's start and end; return whether they are always these."""
    parts, store, counts = spans
    start_low, start_high, end_low, end_high = -1, -1, -1, -1
    least_low, least_high, most_low, most_high = _NEVER_NS, _NEVER_NS, 0, 0
    for part in range(3):
        if counts[part] > 0:
            low, high, known = _shifts_of(parts, shifts, action, part, role)
            if not known:
                return False
            base_ns, span = parts[3 * action + part, 1], parts[3 * action + part, 2]
            if base_ns + store[span] == row[_START]:
                start_low, start_high = low, high
            if base_ns + store[span + 1] == row[_END]:
                end_low, end_high = low, high
            least_low, least_high = min(least_low, low), min(least_high, high)
            most_low, most_high = max(most_low, low), max(most_high, high)
    row[_LOW], row[_HIGH], row[_END_HIGH] = start_low + end_low, start_high + end_high, end_high
    starts = start_low == least_low and start_high == least_high
    return starts and end_low == most_low and end_high == most_high


@inlined
def _in_order(rows: Int64, order: Int64, count: int) -> None:
    """Order actions by the middles of their spans, which most already are."""
    for place in range(1, count):
        action, at = order[place], place
        while at > 0 and rows[order[at - 1], _MIDDLE] > rows[action, _MIDDLE]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = action


@inlined
def _are_apart(rows: Int64, order: Int64, count: int) -> bool:
    """Whether every action lasts after it is cut off where its neighbours' middles lie."""
    begin_ns = rows[order[0], _START]
    for place in range(count):
        action, end_ns, next_ns = order[place], rows[order[place], _END], 0
        if place + 1 < count:
            after = order[place + 1]
            next_ns = rows[after, _START]
            if end_ns > next_ns:
                end_ns = next_ns = min(end_ns, rows[after, _MIDDLE])
        if begin_ns >= end_ns or rows[action, _END] == 0:
            return False
        begin_ns = next_ns
    return True


@inlined
def _stay_apart(rows: Int64, order: Int64, segments: Int64, count: int) -> bool:
    """Whether actions stay in this order, with other middles, however many windows there are."""
    for place in range(1, count):
        one, other = order[place - 1], order[place]
        first, second = rows[one, _HIGH], rows[other, _HIGH]
        if segments[other] % 2 == 1 and segments[one] != segments[other]:
            second = rows[other, _LOW]
        elif segments[other] % 2 == 1 and rows[one, _LOW] > rows[other, _LOW]:
            return False
        later_ns = rows[other, _START] + rows[other, _END] - rows[one, _START] - rows[one, _END]
        if first > second or later_ns < 2:
            return False
    return True


@inlined
def _latest(rows: Int64, count: int, found: Int64) -> bool:
    """Write when the last action ends and its shift; return whether it is always the last."""
    found[:], most = 0, 0
    for place in range(count):
        end_ns, shift = rows[place, _END], rows[place, _END_HIGH]
        most = max(most, shift)
        if end_ns > found[0] or (end_ns == found[0] and shift > found[1]):
            found[0], found[1] = end_ns, shift
    return bool(most == found[1])


@inlined
def _num_moved(order: Int64, cut: int, count: int) -> int:
    """Return how many actions are on another side of a cut in order of time than in their own."""
    found = 0
    for place in range(count):
        found += (place < cut) != (order[place] < cut)
    return found


@inlined
def _lay_out(
    spans: tuple[Int64, Int64, Int64], template: Int64, begin: int, rows: Int64, order: Int64
) -> None:
    """Write the spans of a rank's actions, and their order by the middles of these."""
    parts, store, counts = spans
    for place in range(len(template)):
        action = begin + place
        _span_of(parts[3 * action :], store, counts[template[place]], rows[place])
        order[place] = place
    _in_order(rows, order, len(template))


@inlined
def _is_steady(
    spans: tuple[Int64, Int64, Int64],
    leaps: tuple[Int64, Int64, Int64, Int64, Int64],
    template: Int64,
    at: tuple[int, int],
    rows: Int64,
    order: Int64,
) -> bool:
    """Whether a rank's actions follow one another so however many windows are left out."""
    parts, store, counts = spans
    cuts, sizes, shifts, segments, windows = leaps
    (rank, begin), count = at, len(template)
    for place in range(count):
        action = begin + place
        its, role = counts[template[place]], (segments[action], windows[action])
        if not _weigh((parts, store, its), shifts, action, role, rows[place]):
            return False
    num_moved = 0
    for run in range(cuts.shape[1]):
        cut = cuts[rank, run] - begin
        num_moved += _num_moved(order, cut, count)
        num_moved += _num_moved(order, cut - sizes[rank, run], count)
    return num_moved == 0 and _stay_apart(rows, order, segments[begin:], count)


@inlined
def _hold(
    bytes_held: tuple[Int64, Int64, Int64],
    windows: tuple[Int64, Int64],
    template: Int64,
    order: Int64,
    found: tuple[Int64, Int64, Int64, Int64],
) -> None:
    """Write for every piece of a rank when it holds most, how much of what, and how it grows.

    ``windows`` are cuts and sizes of windows, by place within the rank.
    """
    most, parts_most, parts_left = bytes_held
    (cuts, sizes), (actions, held_bytes, growth, best) = windows, found
    held_parts, more = np.zeros(parts_most.shape[1], np.int64), np.zeros_like(growth[0])
    actions[:], held_bytes[:], growth[:], best[:], held, run = -1, 0, 0, 0, 0, 0
    for place in range(len(template)):
        row = template[order[place]]
        if run < len(cuts) and place == cuts[run]:
            run += 1
            growth[2 * run - 1], growth[2 * run] = more, more
        is_last = run < len(cuts) and place >= cuts[run] - sizes[run]
        for piece in range(2 * run, 2 * run + 1 + is_last):
            if held + most[row] > best[piece]:
                best[piece], actions[piece] = held + most[row], order[place]
                held_bytes[piece] = held_parts + parts_most[row]
        if is_last:
            more += parts_left[row]
        held_parts += parts_left[row]
        held = held_parts.sum()


@kept_on_disk
def follow_actions(
    spans: tuple[Int64, Int64, Int64],
    lineup: tuple[Int64, Int64, Int64],
    bytes_held: tuple[Int64, Int64, Int64],
    leaps: tuple[Int64, Int64, Int64, Int64, Int64],
    found: tuple[Int64, Int64, Int64, Int64],
) -> int:
    """Write when each rank holds most and how much of what, and when its last action ends.

    ``spans`` are the parts of actions (END, BASE_NS, SPAN), the store, and members by template
    and part; ``lineup`` the template of every action and the first and last (and one beyond) of
    every rank; ``bytes_held`` what each template holds at most, and by kind of memory at most
    and at its end. ``leaps`` are cuts and sizes of windows by rank and run, shifts by part, and
    segments and windows by action. ``found`` takes action (-1: none), bytes and their growth by
    rank and piece, and ends of ranks with their shifts. Actions of a rank follow in the order of
    the middles of their spans, as in :mod:`flexsim.timeline.memory`. Return
    :data:`OVERLAP` where one is left no time so, :data:`UNSTEADY` where it depends on windows
    left out how they follow.
    """
    template, first, last = lineup
    cuts, sizes = leaps[0], leaps[1]
    actions, held_bytes, growth, latest = found
    longest = (last - first).max()
    rows, order = np.zeros((longest, _NUM_COLUMNS), np.int64), np.empty(longest, np.int64)
    best = np.zeros(actions.shape[1], np.int64)
    for rank in range(len(first)):
        begin, own = first[rank], template[first[rank] : last[rank]]
        _lay_out(spans, own, begin, rows, order)
        if not _are_apart(rows, order, len(own)):
            return OVERLAP
        if cuts.shape[1] > 0 and not _is_steady(spans, leaps, own, (rank, begin), rows, order):
            return UNSTEADY
        if not _latest(rows, len(own), latest[rank]):
            return UNSTEADY
        windows = cuts[rank] - begin, sizes[rank]
        pieces = actions[rank], held_bytes[rank], growth[rank], best
        _hold(bytes_held, windows, own, order, pieces)
        for piece in range(actions.shape[1]):
            actions[rank, piece] += begin * (actions[rank, piece] >= 0)
    return FOLLOWED
