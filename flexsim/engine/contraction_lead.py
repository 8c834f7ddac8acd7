"""Leading actions of a rank that run as the one before them did, committed at once: compiled.

Where every rank begins with all its forwards, nothing comes from behind meanwhile. A forward that
found its rank as the one before it did, and ran alone, leaves it so. The next one runs the same
if what it waits for comes as much later as it does itself and nothing else falls into it; and so
on, as far as what they wait for is committed.
"""

from __future__ import annotations

from flexsim.engine.contraction_commit import finish, forget
from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE_NS,
    CLOSE,
    CODES,
    EARLY,
    END,
    FREE_NS,
    GROUP_SIZE,
    GROUPS,
    HOLDING_SIZE,
    HOLDINGS,
    IS_JOINED,
    KIND,
    LAST_CODE,
    LAST_READY_NS,
    LATEST_NS,
    LEADER,
    LEADS_UNTIL,
    LEAVES_OUT,
    MAIN,
    MICROBATCH,
    MOST_PARTS,
    NUM_EARLY,
    NUM_GROUPS,
    NUM_LATE,
    NUM_LED,
    NUM_MICROBATCHES,
    NUMBER,
    PART_SIZE,
    PARTS,
    PENDING_BEGIN,
    PENDING_CODE,
    PENDING_END,
    PENDING_NS,
    PENDING_SIZE,
    ROLE_SIZE,
    ROLES,
    SEGMENT,
    SOURCE_PART,
    SOURCE_SIZE,
    SOURCE_TEMPLATE,
    SOURCES,
    SOURCES_END,
    SPAN,
    STEP_HELD,
    TEMPLATE,
    WHERE,
    Machine,
    compiled,
)
from flexsim.numba_cache import inlined
from flexsim.task_graph.columns import Int64


@inlined
def _part(work: Int64, code: int) -> int:
    """Return the row of a part."""
    result: int = work[PARTS] + PART_SIZE * code
    return result


@inlined
def _is_later(work: Int64, one: int, other: int, later_ns: int) -> bool:
    """Whether a part ran as another did, so much later."""
    first, second = _part(work, one), _part(work, other)
    if work[first + END] < 0 or work[first + END] != work[second + END]:
        return False
    return bool(work[second + BASE_NS] - work[first + BASE_NS] == later_ns)


@compiled
def _waits_alike(m: Machine, unit: int, one: int, other: int, later_ns: int) -> bool:
    """Whether all that an action waits for from elsewhere comes so much later than another's."""
    store, work = m
    at, there = work[ACTIONS] + ACTION_SIZE * one, work[ACTIONS] + ACTION_SIZE * other
    template, row = work[at + TEMPLATE], store[unit + GROUPS]
    if work[there + TEMPLATE] != template:
        return False
    where = work[WHERE] + store[template + NUMBER] * work[NUM_MICROBATCHES]
    for _ in range(store[store[unit + KIND] + NUM_GROUPS]):
        for source in range(store[row + SOURCES], store[row + SOURCES_END], SOURCE_SIZE):
            column = where + store[source + SOURCE_TEMPLATE] * work[NUM_MICROBATCHES]
            before = work[column + work[at + MICROBATCH]]
            after = work[column + work[there + MICROBATCH]]
            if before == one and after == other:
                continue
            if before < 0 or after < 0:
                return False
            part = store[source + SOURCE_PART]
            if not _is_later(work, 3 * before + part, 3 * after + part, later_ns):
                return False
        row += GROUP_SIZE
    return True


@inlined
def _is_alone(m: Machine, rank: int, unit: int, action: int, closes_ns: int) -> bool:
    """Whether nothing but its own early part, if it is joined, falls into an action's step."""
    store, work = m
    at, end, follows = work[rank + PENDING_BEGIN], work[rank + PENDING_END], False
    if store[unit + IS_JOINED] > 0:
        if at == end or work[at + PENDING_CODE] != 3 * action + EARLY:
            return False
        at, follows = at + PENDING_SIZE, action + 1 < work[rank + LEADS_UNTIL]
    if at == end:
        return not follows
    if follows and work[at + PENDING_CODE] != 3 * (action + 1) + EARLY:
        return False
    return bool(work[at + PENDING_NS] > closes_ns)


@inlined
def _leads(m: Machine, rank: int, action: int) -> bool:
    """Whether an action that ran alone may lead others: the one before it did so and ran the same.

    All of it has to be that one step: no part of it comes before it or after it.
    """
    store, work = m
    if work[rank + LEADER] != action - 1 or action + 1 >= work[rank + LEADS_UNTIL]:
        return False
    template = work[work[ACTIONS] + ACTION_SIZE * action + TEMPLATE]
    is_apart = store[work[rank + CODES + MOST_PARTS] + IS_JOINED] == 0
    if store[template + NUM_LATE] > 0 or (is_apart and store[template + NUM_EARLY] > 0):
        return False
    one, other = _part(work, 3 * action - 3 + MAIN), _part(work, 3 * action + MAIN)
    return bool(work[one + END] == work[other + END])


@inlined
def _follows(m: Machine, rank: int, action: int, after: int, times: tuple[int, int]) -> bool:
    """Whether an action runs as another did, so much later; it would close at the other time."""
    work, (later_ns, closes_ns) = m.work, times
    if after >= work[rank + LEADS_UNTIL]:
        return False
    if work[LEAVES_OUT] > 0 and work[work[ROLES] + ROLE_SIZE * after + SEGMENT] > 0:
        return False
    unit = work[rank + CODES + MOST_PARTS]
    alone = _is_alone(m, rank, unit, after, closes_ns)
    return bool(alone and _waits_alike(m, unit, action, after, later_ns))


@inlined
def _repeat(m: Machine, rank: int, action: int, after: int, later_ns: int) -> None:
    """Commit an action that runs as another did, so much later, but for resources that it takes."""
    store, work = m
    is_joined = store[work[rank + CODES + MOST_PARTS] + IS_JOINED]
    for part in range(MAIN - is_joined, MAIN + 1):
        one, other = _part(work, 3 * action + part), _part(work, 3 * after + part)
        work[other + END], work[other + SPAN] = work[one + END], work[one + SPAN]
        work[other + BASE_NS] = work[one + BASE_NS] + later_ns
    if is_joined > 0:
        forget(work, rank, 3 * after + EARLY)
    if work[LEAVES_OUT] > 0:
        row = work[ROLES] + LATEST_NS
        work[row + ROLE_SIZE * after] = work[row + ROLE_SIZE * action] + later_ns
    finish(m, rank, after)


@compiled
def lead(m: Machine, rank: int, step: tuple[int, int, int]) -> None:
    """Commit what repeats a rank's step, which was the main part of an action alone.

    ``step`` is the action, its entry and how many resources it holds.
    """
    store, work = m
    action, entry, num_held = step
    number = 0
    if _leads(m, rank, action):
        base_ns = work[_part(work, 3 * action + MAIN) + BASE_NS]
        rate_ns = base_ns - work[_part(work, 3 * action - 3 + MAIN) + BASE_NS]
        closes_ns, later_ns = base_ns + store[entry + CLOSE] + rate_ns, rate_ns
        while _follows(m, rank, action, action + number + 1, (later_ns, closes_ns)):
            number += 1
            _repeat(m, rank, action, action + number, later_ns)
            closes_ns, later_ns = closes_ns + rate_ns, later_ns + rate_ns
        for place in range(num_held):
            holding = work[HOLDINGS] + HOLDING_SIZE * work[work[STEP_HELD] + place]
            work[holding + FREE_NS] += number * rate_ns
            work[holding + LAST_READY_NS] += number * rate_ns
            work[holding + LAST_CODE] += 3 * number
    work[rank + LEADER] = action + number
    work[NUM_LED] += number
