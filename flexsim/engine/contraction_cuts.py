"""Where one schedule runs a window more than another: compiled, rank by rank."""

from __future__ import annotations

from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int64

NOT_ALIKE = -1


@inlined
def _is_same(
    short: tuple[Int64, Int64, int, int], longer: tuple[Int64, Int64, int, int], drift: int
) -> bool:
    """Whether orders go on alike where they are, but for the microbatch."""
    code, microbatch, at, end = short
    other, theirs, place, their_end = longer
    if at == end or place == their_end:
        return False
    return bool(other[place] == code[at] and theirs[place] == microbatch[at] + drift)


@inlined
def _size_of(
    short: tuple[Int64, Int64, int, int], longer: tuple[Int64, Int64, int, int], step: int
) -> int:
    """Return the size of the window that an order has more than another, or 0.

    Orders are codes and microbatches, where they differ and where the rank ends. A window repeats
    what runs before it with other microbatches; what follows is the other order again.
    """
    code, microbatch, at, end = short
    other, theirs, begin, their_end = longer
    for size in range(1, their_end - begin - (end - at) + 1):
        alike, follows = True, at == end
        if at < end:
            later = theirs[begin + size] - microbatch[at]
            follows = other[begin + size] == code[at] and later in (0, step)
        for row in range(begin, begin + size):
            turn = theirs[row] - theirs[row - size]
            alike = alike and other[row] == other[row - size] and turn in (-step, step)
        if follows and alike:
            return size
    return 0


@inlined
def _begin_of(columns: tuple[Int64, Int64], first: int, cut: int, size: int) -> int:
    """Return where the run of windows before a cut begins."""
    code, microbatch = columns
    for row in range(cut - 1, first + size - 1, -1):
        last = cut - 1 - (cut - 1 - row) % size
        turn = microbatch[last] - microbatch[last - size]
        if code[row] != code[row - size] or microbatch[row] - microbatch[row - size] != turn:
            return row - size + 1
    return first


@kept_on_disk
def find_cuts(
    short: tuple[Int64, Int64, Int64],
    longer: tuple[Int64, Int64, Int64],
    step: int,
    found: tuple[Int64, Int64, Int64, Int64],
) -> int:
    """Write where the longer of two schedules has windows more; return how many runs there are.

    Schedules are codes of what actions do, their microbatches, and offsets of ranks. ``found``
    takes by rank and run the cut, the actions of a window and where the run begins, and by action
    what a window more adds to its microbatch. Cuts are a window before schedules are seen to
    differ. Return :data:`NOT_ALIKE` where one is not the other with windows more.
    """
    (code, microbatch, offsets), (other, theirs, their_offsets) = short, longer
    cuts, sizes, begins, drifts = found
    num_runs = NOT_ALIKE
    for rank in range(len(offsets) - 1):
        at, end, run, drift = offsets[rank], offsets[rank + 1], 0, 0
        place, their_end, first = their_offsets[rank], their_offsets[rank + 1], offsets[rank]
        while at < end or place < their_end:
            if _is_same((code, microbatch, at, end), (other, theirs, place, their_end), drift):
                drifts[at] = drift
                at, place = at + 1, place + 1
                continue
            if run == cuts.shape[1] or place == their_offsets[rank]:
                return NOT_ALIKE
            size = _size_of((code, microbatch, at, end), (other, theirs, place, their_end), step)
            cut = at - size
            if size == 0 or cut - size < first:
                return NOT_ALIKE
            cuts[rank, run], sizes[rank, run] = cut, size
            begins[rank, run] = _begin_of((code, microbatch), first, cut, size)
            for row in range(cut, at):
                drifts[row] += microbatch[row] - microbatch[row - size]
            run, place, first = run + 1, place + size, cut
            drift = theirs[place] - microbatch[at] if at < end else 0
        if num_runs not in (NOT_ALIKE, run):
            return NOT_ALIKE
        num_runs = run
    return num_runs
