"""The compiled driver of the contracted replay: steps looked up and committed.

Where tasks wait in vain or one would overtake another that was committed, the replay stops and
says why; times are never guessed.
"""

from __future__ import annotations

from collections.abc import Callable

from flexsim.engine.contraction_commit import call, finish, note_part
from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BLOCKED,
    BLOCKER,
    BOTH,
    CLOSES,
    CLOSINGS,
    CODES,
    DONE,
    END,
    ENDS,
    ENTRY,
    FAILED,
    FINGERPRINT,
    FIRST_PART,
    FIRST_READY,
    FREE,
    FREE_NS,
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
    LEADER,
    LEAVES_OUT,
    LENGTH,
    MAIN,
    MISS,
    MISSING,
    MOST_PARTS,
    NEVER_NS,
    NEXT_WAITING,
    NUM_EARLY,
    NUM_MEMBERS,
    NUM_RANKS,
    OVERTAKEN,
    PART_SIZE,
    PARTS,
    PENDING_BEGIN,
    PENDING_CODE,
    PENDING_END,
    PENDING_NS,
    PENDING_SIZE,
    POSITION,
    RANK_ROW_SIZE,
    RANK_ROWS,
    RANK_SIZE,
    RANKS,
    READY,
    RESOURCE,
    SIZE,
    SPANS,
    STACK,
    STEP_HELD,
    TEMPLATE,
    WAITING,
    WAITS,
    Machine,
    compiled,
)
from flexsim.engine.contraction_lead import lead
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
            note_part(work, rank, code - 1, end, span)
        note_part(work, rank, code, end + num_early, span)
        end += store[store[unit + KIND] + NUM_MEMBERS]
        span += 2
        if code % 3 == MAIN:
            finished = code // 3
    if work[LEAVES_OUT] > 0:
        outcome = settle(m, rank, num_held, finished + 1)
    call(work, rank)
    if finished >= 0:
        finish(m, rank, finished)
    if outcome == READY and finished >= 0 and work[rank + SIZE] == 1:
        lead(m, rank, (finished, entry, num_held))
    else:
        work[rank + LEADER] = NONE
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
