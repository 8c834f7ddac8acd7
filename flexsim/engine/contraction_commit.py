"""What a committed part of a contracted replay changes for others: compiled."""

from __future__ import annotations

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BASE_NS,
    CLOSES,
    DEPENDENTS,
    DEPENDENTS_END,
    EARLY,
    END,
    ENTRY,
    EXIT_ROW_SIZE,
    EXIT_ROWS,
    EXITS,
    EXITS_END,
    FIRST_GATE,
    GATE_NS,
    HEIGHT,
    LATE,
    MAIN,
    MICROBATCH,
    NEVER_NS,
    NEXT_WAITING,
    NUM_GATES,
    NUM_LATE,
    NUM_MICROBATCHES,
    NUMBER,
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
    SPAN,
    STACK,
    TEMPLATE,
    WAITING,
    WAITS,
    WHERE,
    Machine,
    compiled,
)
from flexsim.engine.contraction_lookup import NONE, unit_of, wait
from flexsim.numba_cache import inlined
from flexsim.task_graph.columns import Int64


@compiled
def call(work: Int64, rank: int) -> None:
    """Let the next step of a rank be found anew."""
    work[rank + ENTRY], work[work[rank + CLOSES]] = -1, NEVER_NS
    work[work[STACK] + work[HEIGHT]] = rank
    work[HEIGHT] += 1


@compiled
def expect(m: Machine, code: int) -> None:
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
        call(work, rank)


@compiled
def forget(work: Int64, rank: int, code: int) -> None:
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
def finish(m: Machine, rank: int, action: int) -> None:
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
        call(work, waiting)
        waiting = work[waiting + NEXT_WAITING]
    if store[template + NUM_LATE] > 0:
        expect(m, 3 * action + LATE)
    where = work[WHERE] + work[at + MICROBATCH]
    where += store[template + NUMBER] * work[NUM_MICROBATCHES]
    for place in range(store[template + DEPENDENTS], store[template + DEPENDENTS_END]):
        after = work[where + store[place] * work[NUM_MICROBATCHES]]
        if after >= 0:
            expect(m, 3 * after + EARLY)


@inlined
def note_part(work: Int64, rank: int, code: int, end: int, span: int) -> None:
    """Note where the ends and the span of a committed part are."""
    part = work[PARTS] + PART_SIZE * code
    work[part + END], work[part + BASE_NS], work[part + SPAN] = end, work[rank + BASE], span
    if code % 3 != MAIN:
        forget(work, rank, code)
