"""The compiled driver of the contracted replay: steps looked up and committed.

Where tasks wait in vain or one would overtake another that was committed, the replay stops and
says why; times are never guessed.
"""

from __future__ import annotations

from collections.abc import Callable

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BASE_NS,
    BLOCKED,
    BLOCKER,
    BOTH,
    CLOSES,
    CLOSINGS,
    CODES,
    DEPENDENTS,
    DEPENDENTS_END,
    DONE,
    EARLY,
    END,
    ENDS,
    ENTRY,
    EXIT_ROW_SIZE,
    EXIT_ROWS,
    EXITS,
    EXITS_END,
    FAILED,
    FINGERPRINT,
    FIRST_GATE,
    FIRST_PART,
    FIRST_READY,
    FREE,
    FREE_NS,
    GATE_NS,
    HEIGHT,
    HOLDING_SIZE,
    HOLDINGS,
    HURRIES,
    IDLE,
    IS_JOINED,
    KEY,
    KIND,
    LAST,
    LAST_CODE,
    LAST_PART,
    LAST_READY,
    LAST_READY_NS,
    LATE,
    LEAVES_OUT,
    LENGTH,
    MAIN,
    MICROBATCH,
    MISS,
    MISSING,
    MOST_PARTS,
    NEVER_NS,
    NEXT_WAITING,
    NUM_EARLY,
    NUM_GATES,
    NUM_LATE,
    NUM_MEMBERS,
    NUM_MICROBATCHES,
    NUM_RANKS,
    NUMBER,
    OVERTAKEN,
    PART_SIZE,
    PARTS,
    PENDING_BEGIN,
    PENDING_CODE,
    PENDING_END,
    PENDING_NS,
    PENDING_SIZE,
    POSITION,
    RANK,
    RANK_ROW_SIZE,
    RANK_ROWS,
    RANK_SIZE,
    RANKS,
    READY,
    RESOURCE,
    SIZE,
    SPAN,
    SPANS,
    STACK,
    STEP_HELD,
    TEMPLATE,
    WAITING,
    WAITS,
    WHERE,
    Machine,
    compiled,
)
from flexsim.engine.contraction_lookup import NONE, complete, join, number_held, unit_of, wait
from flexsim.engine.contraction_steady import settle, weigh
from flexsim.engine.contraction_steps import enter_step
from flexsim.numba_cache import inlined, kept_uncounted
from flexsim.task_graph.columns import Int64


@inlined
def _ends(work: Int64, code: int) -> int:
    """Return where the ends of a part are, -1 until it is committed."""
    result: int = work[work[PARTS] + PART_SIZE * code + END]
    return result


@inlined
def _clear_way(m: Machine, rank: int, code: int, base_ns: int) -> int:
    """Make a step of the first pending part, if all of it comes before a main part's base.

    Return what came of it, :data:`IDLE` where there is no such step.
    """
    work = m.work
    first = work[rank + PENDING_BEGIN]
    if first == work[rank + PENDING_END]:
        return IDLE
    pending, ready_ns = work[first + PENDING_CODE], work[first + PENDING_NS]
    if ready_ns > base_ns or (ready_ns == base_ns and pending > code):
        return IDLE
    work[rank + SIZE] = 0
    join(work, rank, pending, unit_of(m, pending))
    outcome = complete(m, rank, NONE, NONE)
    last, last_ns = work[rank + CODES + work[rank + SIZE] - 1], work[work[rank + CLOSES]]
    if outcome != READY or last_ns < base_ns or (last_ns == base_ns and last < code):
        return outcome
    return IDLE


@inlined
def _prepare(m: Machine, rank: int) -> int:
    """Find the next step of a rank; return what came of it."""
    store, work = m
    action, waits = work[rank + POSITION], work[WAITS]
    code, unit, own, base_ns = 3 * action + MAIN, NONE, NONE, NEVER_NS
    if action < work[rank + LAST]:
        unit, template = unit_of(m, code), work[work[ACTIONS] + ACTION_SIZE * action + TEMPLATE]
        if store[template + NUM_EARLY] > 0 and _ends(work, code - 1) < 0:
            own, unit = code - 1, store[template + BOTH]
            if wait(m, unit_of(m, own), own, NONE, waits) < 0:
                return BLOCKED if work[BLOCKER] >= 0 else MISSING
        base_ns = wait(m, unit_of(m, code), code, own, waits)
        if base_ns < 0:
            return BLOCKED if work[BLOCKER] >= 0 else MISSING
    elif work[rank + PENDING_BEGIN] == work[rank + PENDING_END]:
        return IDLE
    outcome = _clear_way(m, rank, code, base_ns)
    if outcome != IDLE:
        return outcome
    known_ns = base_ns if own < 0 and work[rank + PENDING_BEGIN] == work[rank + PENDING_END] else -1
    work[rank + SIZE] = 0
    join(work, rank, code, unit)
    for at in range(work[rank + PENDING_BEGIN], work[rank + PENDING_END], PENDING_SIZE):
        if work[at + PENDING_NS] >= base_ns or work[rank + SIZE] == MOST_PARTS:
            break
        if work[at + PENDING_CODE] != own:
            join(work, rank, work[at + PENDING_CODE], unit_of(m, work[at + PENDING_CODE]))
    return complete(m, rank, own, known_ns)


@compiled
def _call(work: Int64, rank: int) -> None:
    """Let the next step of a rank be found anew."""
    work[rank + ENTRY], work[work[rank + CLOSES]] = -1, NEVER_NS
    work[work[STACK] + work[HEIGHT]] = rank
    work[HEIGHT] += 1


@compiled
def _expect(m: Machine, code: int) -> None:
    """Put a part among the pending ones of its rank, if what it waits for is committed."""
    work = m.work
    ready_ns = wait(m, unit_of(m, code), code, NONE, work[WAITS])
    if ready_ns < 0:
        return
    template = work[work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
    rank = work[RANKS] + RANK_SIZE * m.store[template + RANK]
    at, begin = work[rank + PENDING_END], work[rank + PENDING_BEGIN]
    while at > begin:
        before, before_ns = work[at - PENDING_SIZE], work[at - PENDING_SIZE + PENDING_NS]
        if before_ns < ready_ns or (before_ns == ready_ns and before < code):
            break
        work[at + PENDING_CODE], work[at + PENDING_NS] = before, before_ns
        at -= PENDING_SIZE
    work[at + PENDING_CODE], work[at + PENDING_NS] = code, ready_ns
    work[rank + PENDING_END] += PENDING_SIZE
    if work[rank + ENTRY] >= 0 and ready_ns <= work[work[rank + CLOSES]]:
        _call(work, rank)


@compiled
def _forget(work: Int64, rank: int, code: int) -> None:
    """Take a part out of the pending ones."""
    at, end = work[rank + PENDING_BEGIN], work[rank + PENDING_END]
    while at < end and work[at + PENDING_CODE] != code:
        at += PENDING_SIZE
    if at == end:
        return
    for place in range(at + PENDING_SIZE - 1, work[rank + PENDING_BEGIN] + PENDING_SIZE - 1, -1):
        work[place] = work[place - PENDING_SIZE]
    work[rank + PENDING_BEGIN] += PENDING_SIZE


@inlined
def _take(m: Machine, rank: int, num_held: int) -> int:
    """Give a rank's step what it holds, if nothing that came before should come after."""
    store, work = m
    entry, base_ns = work[rank + ENTRY], work[rank + BASE]
    for number in range(num_held):
        at = entry + KEY + store[entry + LENGTH] + number
        resource = work[work[STEP_HELD] + number]
        holding = work[HOLDINGS] + HOLDING_SIZE * resource
        ready_ns = base_ns + store[at + FIRST_READY * num_held]
        code = work[rank + CODES + store[at + FIRST_PART * num_held]]
        last_ns = work[holding + LAST_READY_NS]
        if ready_ns < last_ns or (ready_ns == last_ns and code < work[holding + LAST_CODE]):
            work[FAILED], work[RESOURCE] = code // 3, resource
            return OVERTAKEN
        work[holding + FREE_NS] = base_ns + store[at + FREE * num_held]
        work[holding + LAST_READY_NS] = base_ns + store[at + LAST_READY * num_held]
        work[holding + LAST_CODE] = work[rank + CODES + store[at + LAST_PART * num_held]]
    return READY


@inlined
def _finish(m: Machine, rank: int, action: int) -> None:
    """Open the gates behind an action whose main part is committed, and tell who waits for it."""
    store, work = m
    at = work[ACTIONS] + ACTION_SIZE * action
    template, part = work[at + TEMPLATE], work[PARTS] + PART_SIZE * (3 * action + MAIN)
    row = work[RANK_ROWS] + RANK_ROW_SIZE * store[template + RANK]
    gate, exits = work[GATE_NS] + store[row + FIRST_GATE], store[template + EXIT_ROWS]
    for _ in range(store[row + NUM_GATES]):
        work[gate] = 0
        for place in range(store[exits + EXITS], store[exits + EXITS_END]):
            end_ns = store[work[part + END] + store[place]]
            work[gate] = max(work[gate], work[part + BASE_NS] + end_ns)
        gate, exits = gate + 1, exits + EXIT_ROW_SIZE
    work[rank + POSITION] = action + 1
    waiting = work[at + WAITING]
    while waiting >= 0:
        _call(work, waiting)
        waiting = work[waiting + NEXT_WAITING]
    if store[template + NUM_LATE] > 0:
        _expect(m, 3 * action + LATE)
    where = work[WHERE] + work[at + MICROBATCH]
    where += store[template + NUMBER] * work[NUM_MICROBATCHES]
    for place in range(store[template + DEPENDENTS], store[template + DEPENDENTS_END]):
        after = work[where + store[place] * work[NUM_MICROBATCHES]]
        if after >= 0:
            _expect(m, 3 * after + EARLY)


@inlined
def _place(work: Int64, rank: int, code: int, end: int, span: int) -> None:
    """Note where the ends and the span of a committed part are."""
    part = work[PARTS] + PART_SIZE * code
    work[part + END], work[part + BASE_NS], work[part + SPAN] = end, work[rank + BASE], span
    if code % 3 != MAIN:
        _forget(work, rank, code)


@compiled
def _commit(m: Machine, rank: int) -> int:
    """Commit a rank's step; return what came of it."""
    store, work = m
    outcome, entry, finished, num_held = READY, work[rank + ENTRY], NONE, number_held(m, rank)
    if work[LEAVES_OUT] > 0:
        outcome = weigh(m, rank, num_held)
    if outcome == READY:
        outcome = _take(m, rank, num_held)
    if outcome != READY:
        return outcome
    end, span = store[entry + ENDS], store[entry + SPANS]
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        code, unit, num_early = work[place], work[place + MOST_PARTS], 0
        if store[unit + IS_JOINED] > 0:
            template = work[work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
            num_early = store[template + NUM_EARLY]
            _place(work, rank, code - 1, end, span)
        _place(work, rank, code, end + num_early, span)
        end += store[store[unit + KIND] + NUM_MEMBERS]
        span += 2
        if code % 3 == MAIN:
            finished = code // 3
    if work[LEAVES_OUT] > 0:
        outcome = settle(m, rank, num_held, finished + 1)
    _call(work, rank)
    if finished >= 0:
        _finish(m, rank, finished)
    return outcome


@inlined
def _advance(m: Machine, rank: int) -> int:
    """Find the next step of the rank on top of the stack, and commit it unless it has to wait."""
    store, work = m
    outcome = _prepare(m, rank)
    if outcome not in (READY, IDLE, BLOCKED):
        work[FAILED] = min(work[rank + POSITION], work[rank + LAST] - 1)
        return outcome
    work[HEIGHT] -= 1
    if outcome != READY:
        work[rank + ENTRY], work[work[rank + CLOSES]] = -1, NEVER_NS
    if outcome == BLOCKED:
        action = work[ACTIONS] + ACTION_SIZE * work[BLOCKER]
        work[rank + NEXT_WAITING], work[action + WAITING] = work[action + WAITING], rank
    number = (rank - work[RANKS]) // RANK_SIZE
    hurries = store[work[RANK_ROWS] + RANK_ROW_SIZE * number + HURRIES]
    return _commit(m, rank) if outcome == READY and not hurries else READY


def _made(fingerprint: int) -> Callable[[Machine], int]:
    """Return :func:`replay_actions` as compiled from files of one fingerprint."""

    @kept_uncounted
    def replay(m: Machine) -> int:
        """Commit steps until all are done; return why no more can be.

        :data:`GROW` asks for a larger store.
        """
        work = m.work
        best_ns = 0 * fingerprint
        while best_ns < NEVER_NS:
            while work[HEIGHT] > 0:
                outcome = _advance(m, work[work[STACK] + work[HEIGHT] - 1])
                if outcome == MISS:
                    outcome = enter_step(m)
                if outcome != READY:
                    return outcome
            best, best_ns = 0, NEVER_NS
            for number in range(work[NUM_RANKS]):
                if work[work[CLOSINGS] + number] < best_ns:
                    best, best_ns = number, work[work[CLOSINGS] + number]
            if best_ns < NEVER_NS:
                outcome = _commit(m, work[RANKS] + RANK_SIZE * best)
                if outcome != READY:
                    return outcome
        return DONE

    return replay


replay_actions = _made(FINGERPRINT)
