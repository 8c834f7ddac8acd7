"""The compiled driver of the contracted replay: steps looked up and committed.

Where tasks wait in vain or one would overtake another that was committed, the replay stops and
says why; times are never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BASE_NS,
    BLOCKED,
    BLOCKER,
    BOTH,
    BUCKETS,
    CLOSE,
    CLOSES,
    CLOSINGS,
    CODES,
    DEPENDENTS,
    DEPENDENTS_END,
    DONE,
    EARLY,
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
    GATES,
    GATES_END,
    GROUP_SIZE,
    GROUPS,
    HEIGHT,
    HOLDING_SIZE,
    HOLDINGS,
    HURRIES,
    IDLE,
    JOINED,
    KEY,
    KEY_LENGTH,
    KIND,
    LAST,
    LAST_CODE,
    LAST_PART,
    LAST_READY,
    LAST_READY_NS,
    LATE,
    LENGTH,
    MAIN,
    MICROBATCH,
    MISS,
    MISSED,
    MISSING,
    MOST_PARTS,
    NEVER_NS,
    NEXT,
    NEXT_WAITING,
    NUM_BUCKETS,
    NUM_EARLY,
    NUM_GATES,
    NUM_GROUPS,
    NUM_HELD,
    NUM_LATE,
    NUM_MEMBERS,
    NUM_MICROBATCHES,
    NUM_RANKS,
    NUM_STEP_HELD,
    NUMBERS,
    NUMBERS_SIZE,
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
    RESOURCES,
    SIZE,
    SOURCE_MEMBER,
    SOURCE_NS,
    SOURCE_PART,
    SOURCE_SIZE,
    SOURCE_TEMPLATE,
    SOURCES,
    SOURCES_END,
    SPAN,
    SPANS,
    STACK,
    START,
    STARTS,
    STEP_HELD,
    STEP_KEY,
    STEP_UNITS,
    TEMPLATE,
    UNIT_SIZE,
    UNITS,
    WAITING,
    WAITS,
    WAITS_SIZE,
    WHERE,
    Machine,
)
from flexsim.numba_cache import kept_on_disk
from flexsim.task_graph.columns import Int64

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile ``function`` together with those in this file that call it."""
    return cast(_Function, numba.njit(function))


@_compiled
def _unit(m: Machine, code: int) -> int:
    """Return the unit of a part."""
    template = m.work[m.work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
    result: int = m.pipeline[template + UNITS] + UNIT_SIZE * (code % 3)
    return result


@_compiled
def _start(work: Int64, code: int) -> int:
    """Return where the starts of a part are, -1 until it is committed."""
    result: int = work[work[PARTS] + PART_SIZE * code + START]
    return result


@_compiled
def _wait(m: Machine, unit: int, code: int, skipped: int, waits: int) -> int:
    """Write when each group of a part's heads becomes ready; return the first of these times.

    What waits for part ``skipped`` is taken not to. Return -1 where it waits for an action that
    is not committed, which the head then names (-1: one that the schedule lacks).
    """
    kinds, entries, pipeline, work = m
    row, first_ns = pipeline[unit + GROUPS], NEVER_NS
    where = work[WHERE] + work[work[ACTIONS] + ACTION_SIZE * (code // 3) + MICROBATCH]
    for group in range(kinds[pipeline[unit + KIND] + NUM_GROUPS]):
        ready_ns = 0
        known = pipeline[row + SOURCES] == pipeline[row + SOURCES_END]
        for place in range(pipeline[row + GATES], pipeline[row + GATES_END]):
            ready_ns, known = max(ready_ns, work[work[GATE_NS] + pipeline[place]]), True
        for source in range(pipeline[row + SOURCES], pipeline[row + SOURCES_END], SOURCE_SIZE):
            action = work[where + pipeline[source + SOURCE_TEMPLATE] * work[NUM_MICROBATCHES]]
            before = 3 * action + pipeline[source + SOURCE_PART]
            if action >= 0 and before == skipped:
                continue
            part = work[PARTS] + PART_SIZE * before
            if action < 0 or work[part + START] < 0:
                work[BLOCKER] = action
                return -1
            end_ns = entries[work[part + START] + pipeline[source + SOURCE_MEMBER]]
            end_ns += work[part + BASE_NS] + pipeline[source + SOURCE_NS]
            ready_ns, known = max(ready_ns, end_ns), True
        work[waits + group] = ready_ns
        if known:
            first_ns = min(first_ns, ready_ns)
        row += GROUP_SIZE
    return first_ns


@_compiled
def _number(m: Machine, rank: int) -> int:
    """Number the resources of a rank's step; return how many it holds."""
    kinds, _, pipeline, work = m
    num_held, held = 0, work[STEP_HELD]
    for part in range(work[rank + SIZE]):
        unit = work[rank + STEP_UNITS + part]
        numbers = work[NUMBERS] + part * work[NUMBERS_SIZE]
        for place in range(kinds[pipeline[unit + KIND] + NUM_HELD]):
            resource, number = pipeline[pipeline[unit + RESOURCES] + place], 0
            while number < num_held and work[held + number] != resource:
                number += 1
            if number == num_held:
                work[held + number] = resource
                num_held += 1
            work[numbers + place] = number
    return num_held


@_compiled
def _write_key(m: Machine, rank: int, num_held: int) -> int:
    """Write the key of a rank's step with its bucket behind it; return its length."""
    kinds, _, pipeline, work = m
    key, base_ns, at = work[STEP_KEY], work[rank + BASE], work[STEP_KEY]
    for part in range(work[rank + SIZE]):
        kind = pipeline[work[rank + STEP_UNITS + part] + KIND]
        numbers = work[NUMBERS] + part * work[NUMBERS_SIZE]
        waits = work[WAITS] + part * work[WAITS_SIZE]
        work[at], at = kind, at + 1
        for place in range(numbers, numbers + kinds[kind + NUM_HELD]):
            work[at], at = work[place], at + 1
        for place in range(waits, waits + kinds[kind + NUM_GROUPS]):
            work[at], at = work[place] - base_ns, at + 1
    for place in range(work[STEP_HELD], work[STEP_HELD] + num_held):
        free_ns = work[work[HOLDINGS] + HOLDING_SIZE * work[place] + FREE_NS]
        work[at], at = max(0, free_ns - base_ns), at + 1
    code = np.uint64(at - key)
    for place in range(key, at):
        code = (code ^ np.uint64(work[place])) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(29)
    work[at] = np.int64(code & np.uint64(NUM_BUCKETS - 1))
    length: int = at - key
    return length


@_compiled
def _find(entries: Int64, work: Int64, length: int) -> int:
    """Return the entry with the step's key, or -1."""
    key = work[STEP_KEY]
    entry: int = entries[BUCKETS + work[key + length]]
    while entry >= 0:
        if entries[entry + LENGTH] == length:
            place = 0
            while place < length and entries[entry + KEY + place] == work[key + place]:
                place += 1
            if place == length:
                return entry
        entry = entries[entry + NEXT]
    return -1


@_compiled
def _look_up(m: Machine, rank: int, base_ns: int) -> int:
    """Find what happens in a rank's step; return whether it is known.

    Where it is one part, ``base_ns`` may say when it becomes ready (else it is -1).
    """
    work = m.work
    if base_ns < 0:
        base_ns = NEVER_NS
        for part in range(work[rank + SIZE]):
            waits = work[WAITS] + part * work[WAITS_SIZE]
            code, unit = work[rank + CODES + part], work[rank + STEP_UNITS + part]
            base_ns = min(base_ns, _wait(m, unit, code, -1, waits))
    work[rank + BASE] = base_ns
    num_held = _number(m, rank)
    length = _write_key(m, rank, num_held)
    entry = _find(m.entries, work, length)
    if entry < 0:
        work[MISSED], work[KEY_LENGTH], work[NUM_STEP_HELD] = rank, length, num_held
        return MISS
    work[rank + ENTRY], work[work[rank + CLOSES]] = entry, base_ns + m.entries[entry + CLOSE]
    return READY


@_compiled
def _join(work: Int64, rank: int, code: int, unit: int) -> None:
    """Add a part to a rank's step, in order of codes."""
    place = rank + CODES + work[rank + SIZE]
    while place > rank + CODES and work[place - 1] > code:
        work[place], work[place + MOST_PARTS] = work[place - 1], work[place - 1 + MOST_PARTS]
        place -= 1
    work[place], work[place + MOST_PARTS] = code, unit
    work[rank + SIZE] += 1


@_compiled
def _overlaps(m: Machine, rank: int, code: int, ready_ns: int) -> bool:
    """Whether a pending part is not in a rank's step but before some task of it."""
    kinds, entries, pipeline, work = m
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        if work[place] == code:
            return False
    unit, entry, num_held = _unit(m, code), work[rank + ENTRY], _number(m, rank)
    results = entry + KEY + entries[entry + LENGTH]
    resources = pipeline[unit + RESOURCES]
    for place in range(resources, resources + kinds[pipeline[unit + KIND] + NUM_HELD]):
        for number in range(num_held):
            if work[work[STEP_HELD] + number] == pipeline[place]:
                last_ns = work[rank + BASE] + entries[results + LAST_READY * num_held + number]
                part = entries[results + LAST_PART * num_held + number]
                is_later = code > work[rank + CODES + part]
                if ready_ns < last_ns or (ready_ns == last_ns and not is_later):
                    return True
    return False


@_compiled
def _complete(m: Machine, rank: int, own: int, base_ns: int) -> int:
    """Look up a rank's step together with all pending parts (but ``own``) that overlap it."""
    work = m.work
    outcome = _look_up(m, rank, base_ns)
    at = work[rank + PENDING_BEGIN]
    while outcome == READY and at < work[rank + PENDING_END]:
        code, ready_ns = work[at + PENDING_CODE], work[at + PENDING_NS]
        if ready_ns > work[work[rank + CLOSES]] or work[rank + SIZE] == MOST_PARTS:
            break
        at += PENDING_SIZE
        if code != own and _overlaps(m, rank, code, ready_ns):
            _join(work, rank, code, _unit(m, code))
            outcome = _look_up(m, rank, -1)
            at = work[rank + PENDING_BEGIN]
    return outcome


@_compiled
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
    _join(work, rank, pending, _unit(m, pending))
    outcome = _complete(m, rank, -1, -1)
    last, last_ns = work[rank + CODES + work[rank + SIZE] - 1], work[work[rank + CLOSES]]
    if outcome != READY or last_ns < base_ns or (last_ns == base_ns and last < code):
        return outcome
    return IDLE


@_compiled
def _prepare(m: Machine, rank: int) -> int:
    """Find the next step of a rank; return what came of it."""
    _, _, pipeline, work = m
    action, waits = work[rank + POSITION], work[WAITS]
    code, unit, own, base_ns = 3 * action + MAIN, -1, -1, NEVER_NS
    if action < work[rank + LAST]:
        unit, template = _unit(m, code), work[work[ACTIONS] + ACTION_SIZE * action + TEMPLATE]
        if pipeline[template + NUM_EARLY] > 0 and _start(work, code - 1) < 0:
            own, unit = code - 1, pipeline[template + BOTH]
            if _wait(m, _unit(m, own), own, -1, waits) < 0:
                return BLOCKED if work[BLOCKER] >= 0 else MISSING
        base_ns = _wait(m, _unit(m, code), code, own, waits)
        if base_ns < 0:
            return BLOCKED if work[BLOCKER] >= 0 else MISSING
    elif work[rank + PENDING_BEGIN] == work[rank + PENDING_END]:
        return IDLE
    outcome = _clear_way(m, rank, code, base_ns)
    if outcome != IDLE:
        return outcome
    known_ns = base_ns if own < 0 and work[rank + PENDING_BEGIN] == work[rank + PENDING_END] else -1
    work[rank + SIZE] = 0
    _join(work, rank, code, unit)
    for at in range(work[rank + PENDING_BEGIN], work[rank + PENDING_END], PENDING_SIZE):
        if work[at + PENDING_NS] >= base_ns or work[rank + SIZE] == MOST_PARTS:
            break
        if work[at + PENDING_CODE] != own:
            _join(work, rank, work[at + PENDING_CODE], _unit(m, work[at + PENDING_CODE]))
    return _complete(m, rank, own, known_ns)


@_compiled
def _call(work: Int64, rank: int) -> None:
    """Let the next step of a rank be found anew."""
    work[rank + ENTRY], work[work[rank + CLOSES]] = -1, NEVER_NS
    work[work[STACK] + work[HEIGHT]] = rank
    work[HEIGHT] += 1


@_compiled
def _expect(m: Machine, code: int) -> None:
    """Put a part among the pending ones of its rank, if what it waits for is committed."""
    work = m.work
    ready_ns = _wait(m, _unit(m, code), code, -1, work[WAITS])
    if ready_ns < 0:
        return
    template = work[work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
    rank = work[RANKS] + RANK_SIZE * m.pipeline[template + RANK]
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


@_compiled
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


@_compiled
def _take(m: Machine, rank: int) -> int:
    """Give a rank's step what it holds, if nothing that came before should come after."""
    _, entries, _, work = m
    num_held, entry, base_ns = _number(m, rank), work[rank + ENTRY], work[rank + BASE]
    for number in range(num_held):
        at = entry + KEY + entries[entry + LENGTH] + number
        resource = work[work[STEP_HELD] + number]
        holding = work[HOLDINGS] + HOLDING_SIZE * resource
        ready_ns = base_ns + entries[at + FIRST_READY * num_held]
        code = work[rank + CODES + entries[at + FIRST_PART * num_held]]
        last_ns = work[holding + LAST_READY_NS]
        if ready_ns < last_ns or (ready_ns == last_ns and code < work[holding + LAST_CODE]):
            work[FAILED], work[RESOURCE] = code // 3, resource
            return OVERTAKEN
        work[holding + FREE_NS] = base_ns + entries[at + FREE * num_held]
        work[holding + LAST_READY_NS] = base_ns + entries[at + LAST_READY * num_held]
        work[holding + LAST_CODE] = work[rank + CODES + entries[at + LAST_PART * num_held]]
    return READY


@_compiled
def _finish(m: Machine, rank: int, action: int) -> None:
    """Open the gates behind an action whose main part is committed, and tell who waits for it."""
    _, entries, pipeline, work = m
    at = work[ACTIONS] + ACTION_SIZE * action
    template, part = work[at + TEMPLATE], work[PARTS] + PART_SIZE * (3 * action + MAIN)
    row = pipeline[RANK_ROWS] + RANK_ROW_SIZE * pipeline[template + RANK]
    gate, exits = work[GATE_NS] + pipeline[row + FIRST_GATE], pipeline[template + EXIT_ROWS]
    for _ in range(pipeline[row + NUM_GATES]):
        work[gate] = 0
        for place in range(pipeline[exits + EXITS], pipeline[exits + EXITS_END], 2):
            end_ns = entries[work[part + START] + pipeline[place]] + pipeline[place + 1]
            work[gate] = max(work[gate], work[part + BASE_NS] + end_ns)
        gate, exits = gate + 1, exits + EXIT_ROW_SIZE
    work[rank + POSITION] = action + 1
    waiting = work[at + WAITING]
    while waiting >= 0:
        _call(work, waiting)
        waiting = work[waiting + NEXT_WAITING]
    if pipeline[template + NUM_LATE] > 0:
        _expect(m, 3 * action + LATE)
    where = work[WHERE] + work[at + MICROBATCH]
    for place in range(pipeline[template + DEPENDENTS], pipeline[template + DEPENDENTS_END]):
        after = work[where + pipeline[place] * work[NUM_MICROBATCHES]]
        if after >= 0:
            _expect(m, 3 * after + EARLY)


@_compiled
def _place(work: Int64, rank: int, code: int, start: int, span: int) -> None:
    """Note where the starts and the span of a committed part are."""
    part = work[PARTS] + PART_SIZE * code
    work[part + START], work[part + BASE_NS], work[part + SPAN] = start, work[rank + BASE], span
    if code % 3 != MAIN:
        _forget(work, rank, code)


@_compiled
def _commit(m: Machine, rank: int) -> int:
    """Commit a rank's step; return what came of it."""
    kinds, entries, pipeline, work = m
    outcome, entry, finished = _take(m, rank), work[rank + ENTRY], -1
    if outcome != READY:
        return outcome
    start, span = entries[entry + STARTS], entries[entry + SPANS]
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        code, unit, num_early = work[place], work[place + MOST_PARTS], 0
        if unit >= pipeline[JOINED]:
            template = work[work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
            num_early = pipeline[template + NUM_EARLY]
            _place(work, rank, code - 1, start, span)
        _place(work, rank, code, start + num_early, span)
        start += kinds[pipeline[unit + KIND] + NUM_MEMBERS]
        span += 2
        if code % 3 == MAIN:
            finished = code // 3
    _call(work, rank)
    if finished >= 0:
        _finish(m, rank, finished)
    return READY


@_compiled
def _advance(m: Machine, rank: int) -> int:
    """Find the next step of the rank on top of the stack, and commit it unless it has to wait."""
    _, _, pipeline, work = m
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
    hurries = pipeline[pipeline[RANK_ROWS] + RANK_ROW_SIZE * number + HURRIES]
    return _commit(m, rank) if outcome == READY and not hurries else READY


def _made(fingerprint: tuple[int, ...]) -> Callable[[Machine], int]:
    """Return :func:`replay_actions` as compiled for records of one layout."""

    @kept_on_disk
    def replay(m: Machine) -> int:
        """Commit steps until all are done; return why no more can be.

        :data:`MISS` asks for the rank's step that the head names to be simulated.
        """
        work = m.work
        best_ns = len(fingerprint)
        while best_ns < NEVER_NS:
            while work[HEIGHT] > 0:
                outcome = _advance(m, work[work[STACK] + work[HEIGHT] - 1])
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
