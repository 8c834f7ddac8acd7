"""Whether a longer iteration runs as a replay with windows left out does: compiled.

For every window left out of each run, a step happens later in the longer iteration by its
*shift*. Windows before a cut have two: their own (low), and that of the last window which is put
in behind them and repeats them (high); it is more by what a window comes later than the one before
it. Shifts are known of these windows. All others follow: a step has the shift of what it
waits for to the end, and that has to stay the last that it waits for, however many windows are
left out. So with what its resources are taken by. For the final window before a cut this must
give what was seen.
"""

from __future__ import annotations

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BASE_NS,
    CODES,
    END,
    FINAL,
    FIRST,
    FIRST_GATE,
    FREE_NS,
    GATE_NS,
    GATE_SHIFTS,
    GATES,
    GATES_END,
    GROUP_SIZE,
    GROUPS,
    HIGH,
    HOLDER,
    HOLDING_SIZE,
    HOLDINGS,
    IS_JOINED,
    KIND,
    LATEST_NS,
    LATEST_SHIFT,
    LOW,
    MAIN,
    MICROBATCH,
    MOST_PARTS,
    NUM_GATES,
    NUM_GROUPS,
    NUM_MICROBATCHES,
    NUMBER,
    PART_SIZE,
    PARTS,
    RANK,
    RANK_ROW_SIZE,
    RANK_ROWS,
    RANK_SIZE,
    RANKS,
    READY,
    ROLE,
    ROLE_SIZE,
    ROLES,
    RUN_ACTION,
    RUN_LAG,
    RUN_LATEST,
    RUN_NS,
    RUN_SHIFT,
    RUN_SIZE,
    RUNS,
    SEGMENT,
    SHIFT_SEGMENT,
    SHIFT_SIZE,
    SHIFTS,
    SIZE,
    SOURCE_MEMBER,
    SOURCE_PART,
    SOURCE_SIZE,
    SOURCE_TEMPLATE,
    SOURCES,
    SOURCES_END,
    SPAN,
    STEP_HELD,
    STEP_HIGH,
    STEP_LOW,
    TEMPLATE,
    UNSTEADY,
    WHERE,
    WINDOW,
    Machine,
    compiled,
)
from flexsim.numba_cache import inlined
from flexsim.task_graph.columns import Int64

FAILS = -1
"""No shift: the longer iteration may run otherwise."""


@inlined
def _role_of(work: Int64, rank: int) -> int:
    """Return the row of the last action of which the rank's steps so far have had anything.

    So windows are runs of steps: what is left of an action when the next has begun belongs to
    that one's window.
    """
    run = work[RUNS] + RUN_SIZE * ((rank - work[RANKS]) // RANK_SIZE)
    result: int = work[ROLES] + ROLE_SIZE * work[run + RUN_LATEST]
    return result


@inlined
def _shift_of(work: Int64, at: int, segment: int, is_high: int) -> int:
    """Return a shift as a step of ``segment`` sees it."""
    if is_high == 0 and segment % 2 == 1 and work[at + SHIFT_SEGMENT] == segment:
        result: int = work[at + LOW]
    else:
        result = work[at + HIGH]
    return result


@inlined
def _may_wait(segment: int, before: int, is_near: bool, is_high: int) -> bool:
    """Whether what a step of ``segment`` waits for is of a segment that allows to follow it."""
    if before > segment:
        return False
    if is_near or segment == 0:
        return True
    if segment % 2 == 1:
        return before == segment or (is_high == 0 and before >= segment - 1)
    return before >= segment - 1


@compiled
def _run_of(m: Machine, template: int) -> int:
    """Return the run of a template's rank."""
    result: int = m.work[RUNS] + RUN_SIZE * m.store[template + RANK]
    return result


@inlined
def _later(known: tuple[int, int, int], end_ns: int, shift: int) -> tuple[int, int, int]:
    """Return the latest moment so far, its shift and the most of all shifts, with one more."""
    ready_ns, its, most = known
    if end_ns > ready_ns:
        its = shift
    elif end_ns == ready_ns:
        its = max(its, shift)
    return max(ready_ns, end_ns), its, max(most, shift)


@inlined
def _ends_before(work: Int64, role: int, run: int, known: tuple[int, int], is_high: int) -> bool:
    """Whether what the rank has run long ago always ends before a moment with its shift."""
    if work[run + RUN_NS] > known[0]:
        return False
    is_middle = work[role + SEGMENT] % 2 == 1 and is_high == 0 and work[role + ROLE] != FIRST
    return bool(is_middle or work[run + RUN_SHIFT] <= known[1])


@inlined
def _gates_of(m: Machine, row: int, rank: int, segment: int, is_high: int) -> tuple[int, int, int]:
    """Return when the last gate of a group opens, its shift, and the most of all shifts."""
    store, work = m
    gate = store[work[RANK_ROWS] + RANK_ROW_SIZE * rank + FIRST_GATE]
    known = (0, 0, 0)
    for place in range(store[row + GATES], store[row + GATES_END]):
        number = gate + store[place]
        shift = _shift_of(work, work[GATE_SHIFTS] + SHIFT_SIZE * number, segment, is_high)
        known = _later(known, work[work[GATE_NS] + number], shift)
    return known


@compiled
def _group_shift(m: Machine, role: int, code: int, row: int, is_high: int) -> int:
    """Return the shift of what a group of heads waits for to the end, or :data:`FAILS`.

    What its own rank ran a window ago or earlier must never be that: it has to end before.
    """
    store, work = m
    action, segment = work[ACTIONS] + ACTION_SIZE * (code // 3), work[role + SEGMENT]
    template = work[action + TEMPLATE]
    where = work[WHERE] + work[action + MICROBATCH]
    where += store[template + NUMBER] * work[NUM_MICROBATCHES]
    rank, run, is_behind = store[template + RANK], _run_of(m, template), False
    window = work[work[ROLES] + ROLE_SIZE * (code // 3) + WINDOW]
    known = _gates_of(m, row, rank, segment, is_high)
    for source in range(store[row + SOURCES], store[row + SOURCES_END], SOURCE_SIZE):
        before = work[where + store[source + SOURCE_TEMPLATE] * work[NUM_MICROBATCHES]]
        is_near = store[work[work[ACTIONS] + ACTION_SIZE * before + TEMPLATE] + RANK] == rank
        if is_near and code // 3 - before >= window:
            if code % 3 != MAIN or before > work[run + RUN_ACTION]:
                return FAILS
            is_behind = True
            continue
        part = 3 * before + store[source + SOURCE_PART]
        at, row_of_part = work[SHIFTS] + SHIFT_SIZE * part, work[PARTS] + PART_SIZE * part
        if not _may_wait(segment, work[at + SHIFT_SEGMENT], is_near, is_high):
            return FAILS
        end_ns = store[work[row_of_part + END] + store[source + SOURCE_MEMBER]]
        shift = _shift_of(work, at, segment, is_high)
        known = _later(known, work[row_of_part + BASE_NS] + end_ns, shift)
    if is_behind and not _ends_before(work, role, run, (known[0], known[1]), is_high):
        return FAILS
    return known[1] if known[2] <= known[1] else FAILS


@compiled
def _held_shift(m: Machine, rank: int, num_held: int, shift: int, is_high: int) -> int:
    """Return the shift of a step, or :data:`FAILS` where resources it takes have another one."""
    work = m.work
    base_ns, segment = work[rank + BASE], work[_role_of(work, rank) + SEGMENT]
    for number in range(num_held):
        holding = work[HOLDINGS] + HOLDING_SIZE * work[work[STEP_HELD] + number]
        if work[holding + HOLDER + SHIFT_SEGMENT] > segment:
            return FAILS
        other = _shift_of(work, holding + HOLDER, segment, is_high)
        if other > shift or (work[holding + FREE_NS] > base_ns and other < shift):
            return FAILS
    return shift


@compiled
def _step_shift(m: Machine, rank: int, num_held: int, is_high: int) -> int:
    """Return the shift that a rank's step has from what it waits for, or :data:`FAILS`."""
    store, work = m
    shift, role = FAILS, _role_of(work, rank)
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        code, unit = work[place], work[place + MOST_PARTS]
        row = store[unit + GROUPS]
        for _ in range(store[store[unit + KIND] + NUM_GROUPS]):
            other = _group_shift(m, role, code, row, is_high)
            if other < 0 or (shift >= 0 and other != shift):
                return FAILS
            shift, row = other, row + GROUP_SIZE
    return _held_shift(m, rank, num_held, shift, is_high)


@inlined
def _go_on(m: Machine, rank: int) -> None:
    """Let the run of a rank reach its step, and end a window before the main part of that."""
    work = m.work
    run = work[RUNS] + RUN_SIZE * ((rank - work[RANKS]) // RANK_SIZE)
    last = work[rank + CODES + work[rank + SIZE] - 1] // 3
    work[run + RUN_LATEST] = max(work[run + RUN_LATEST], last)
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        if work[place] % 3 == MAIN:
            action = work[place] // 3
            until = action - work[run + RUN_LAG]
            while work[run + RUN_ACTION] < until:
                work[run + RUN_ACTION] += 1
                row = work[ROLES] + ROLE_SIZE * work[run + RUN_ACTION]
                work[run + RUN_NS] = max(work[run + RUN_NS], work[row + LATEST_NS])
                work[run + RUN_SHIFT] = max(work[run + RUN_SHIFT], work[row + LATEST_SHIFT])


@compiled
def weigh(m: Machine, rank: int, num_held: int) -> int:
    """Find the shift of a rank's step before it is committed; return what came of it."""
    work = m.work
    _go_on(m, rank)
    row = _role_of(work, rank)
    segment = work[row + SEGMENT]
    work[STEP_LOW] = work[STEP_HIGH] = 0
    if segment <= 1:
        if _held_shift(m, rank, num_held, 0, 0) < 0:
            return UNSTEADY
    else:
        work[STEP_LOW] = _step_shift(m, rank, num_held, 0)
    if work[row + ROLE] == FINAL:
        work[STEP_HIGH] = _step_shift(m, rank, num_held, 1)
    elif segment % 2 == 0:
        work[STEP_HIGH] = work[STEP_LOW]
    return READY if work[STEP_LOW] >= 0 and work[STEP_HIGH] >= 0 else UNSTEADY


@inlined
def _rate_of(m: Machine, row: int, code: int) -> int:
    """Return how much later a part of a window comes than one window before; -1: unlike it."""
    work = m.work
    before = code - 3 * work[row + WINDOW]
    one, other = work[PARTS] + PART_SIZE * code, work[PARTS] + PART_SIZE * before
    if work[one + END] != work[other + END]:
        return FAILS
    result: int = work[one + BASE_NS] - work[other + BASE_NS]
    if work[row + ROLE] != FIRST:
        at = work[SHIFTS] + SHIFT_SIZE * before
        if work[at + LOW] != work[STEP_LOW] or work[at + HIGH] != work[STEP_LOW] + result:
            return FAILS
    return result


@inlined
def _note(m: Machine, rank: int, code: int, segment: int) -> None:
    """Note the shift and the end of a committed part."""
    store, work = m
    at = work[SHIFTS] + SHIFT_SIZE * code
    work[at + LOW], work[at + HIGH] = work[STEP_LOW], work[STEP_HIGH]
    work[at + SHIFT_SEGMENT] = segment
    part = work[PARTS] + PART_SIZE * code
    end_ns = work[part + BASE_NS] + store[work[part + SPAN] + 1]
    row = work[ROLES] + ROLE_SIZE * (code // 3)
    work[row + LATEST_NS] = max(work[row + LATEST_NS], end_ns)
    work[row + LATEST_SHIFT] = max(work[row + LATEST_SHIFT], work[STEP_HIGH])
    run = work[RUNS] + RUN_SIZE * ((rank - work[RANKS]) // RANK_SIZE)
    if code // 3 <= work[run + RUN_ACTION]:
        work[run + RUN_NS] = max(work[run + RUN_NS], end_ns)
        work[run + RUN_SHIFT] = max(work[run + RUN_SHIFT], work[STEP_HIGH])


@compiled
def settle(m: Machine, rank: int, num_held: int, is_finished: int) -> int:
    """Note the shift of a rank's step that was committed; return what came of it."""
    store, work = m
    row = _role_of(work, rank)
    segment, later = work[row + SEGMENT], FAILS
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE] * (segment % 2)):
        early = work[place] - store[work[place + MOST_PARTS] + IS_JOINED]
        for code in range(early, 1 + work[place]):
            other = _rate_of(m, row, code)
            if other < 0 or (later >= 0 and other != later):
                return UNSTEADY
            later = other
    if segment % 2 == 1:
        if work[row + ROLE] == FINAL and work[STEP_HIGH] != work[STEP_LOW] + later:
            return UNSTEADY
        work[STEP_HIGH] = work[STEP_LOW] + later
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        early = work[place] - store[work[place + MOST_PARTS] + IS_JOINED]
        for code in range(early, 1 + work[place]):
            _note(m, rank, code, segment)
    if segment > 0:  # before, nothing has a shift
        for number in range(num_held):
            holder = work[HOLDINGS] + HOLDING_SIZE * work[work[STEP_HELD] + number] + HOLDER
            work[holder + LOW], work[holder + HIGH] = work[STEP_LOW], work[STEP_HIGH]
            work[holder + SHIFT_SEGMENT] = segment
        if is_finished > 0:
            _note_gates(m, (rank - work[RANKS]) // RANK_SIZE, segment)
    return READY


@compiled
def _note_gates(m: Machine, number: int, segment: int) -> None:
    """Note the shift with which the gates of a rank open."""
    store, work = m
    row = work[RANK_ROWS] + RANK_ROW_SIZE * number
    for gate in range(store[row + FIRST_GATE], store[row + FIRST_GATE] + store[row + NUM_GATES]):
        at = work[GATE_SHIFTS] + SHIFT_SIZE * gate
        work[at + LOW], work[at + HIGH] = work[STEP_LOW], work[STEP_HIGH]
        work[at + SHIFT_SEGMENT] = segment
