"""How a contracted replay finds the entry of a step: compiled, and called by its driver."""

from __future__ import annotations

from typing import cast

import numpy as np

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    BASE,
    BASE_NS,
    BLOCKER,
    BUCKETS,
    CLOSE,
    CLOSES,
    CODES,
    END,
    ENTRY,
    FIRST_GATE,
    FIRST_RESOURCE,
    FREE_NS,
    GATE_NS,
    GATES,
    GATES_END,
    GROUP_SIZE,
    GROUPS,
    HOLDING_SIZE,
    HOLDINGS,
    KEY,
    KEY_LENGTH,
    KIND,
    LAST_PART,
    LAST_READY,
    LENGTH,
    MICROBATCH,
    MISS,
    MISSED,
    MOST_PARTS,
    NEVER_NS,
    NEXT,
    NUM_BUCKETS,
    NUM_GROUPS,
    NUM_HELD,
    NUM_MICROBATCHES,
    NUM_STEP_HELD,
    NUMBER,
    NUMBERS,
    NUMBERS_SIZE,
    PART_SIZE,
    PARTS,
    PENDING_BEGIN,
    PENDING_CODE,
    PENDING_END,
    PENDING_NS,
    PENDING_SIZE,
    RANK,
    RANK_ROW_SIZE,
    RANK_ROWS,
    READY,
    RESOURCES,
    SIZE,
    SOURCE_MEMBER,
    SOURCE_PART,
    SOURCE_SIZE,
    SOURCE_TEMPLATE,
    SOURCES,
    SOURCES_END,
    STEP_HELD,
    STEP_KEY,
    STEP_UNITS,
    TEMPLATE,
    UNIT_SIZE,
    UNITS,
    WAITS,
    WAITS_SIZE,
    WHERE,
    Machine,
    compiled,
)
from flexsim.numba_cache import inlined
from flexsim.task_graph.columns import Int64

NONE = cast(int, np.int64(-1))
"""No part; of a type, as functions are compiled anew for a literal -1."""


@inlined
def unit_of(m: Machine, code: int) -> int:
    """Return the unit of a part."""
    template = m.work[m.work[ACTIONS] + ACTION_SIZE * (code // 3) + TEMPLATE]
    result: int = m.store[template + UNITS] + UNIT_SIZE * (code % 3)
    return result


@compiled
def wait(m: Machine, unit: int, code: int, skipped: int, waits: int) -> int:
    """Write when each group of a part's heads becomes ready; return the first of these times.

    What waits for part ``skipped`` is taken not to. Return -1 where it waits for an action that
    is not committed, which the head then names (-1: one that the schedule lacks).
    """
    store, work = m
    row, first_ns = store[unit + GROUPS], NEVER_NS
    action = work[ACTIONS] + ACTION_SIZE * (code // 3)
    template = work[action + TEMPLATE]
    where = work[WHERE] + work[action + MICROBATCH]
    where += store[template + NUMBER] * work[NUM_MICROBATCHES]
    rank = work[RANK_ROWS] + RANK_ROW_SIZE * store[template + RANK]
    gates = work[GATE_NS] + store[rank + FIRST_GATE]
    for group in range(store[store[unit + KIND] + NUM_GROUPS]):
        ready_ns = 0
        known = store[row + SOURCES] == store[row + SOURCES_END]
        for place in range(store[row + GATES], store[row + GATES_END]):
            ready_ns, known = max(ready_ns, work[gates + store[place]]), True
        for source in range(store[row + SOURCES], store[row + SOURCES_END], SOURCE_SIZE):
            action = work[where + store[source + SOURCE_TEMPLATE] * work[NUM_MICROBATCHES]]
            before = 3 * action + store[source + SOURCE_PART]
            if action >= 0 and before == skipped:
                continue
            part = work[PARTS] + PART_SIZE * before
            if action < 0 or work[part + END] < 0:
                work[BLOCKER] = action
                return -1
            end_ns = store[work[part + END] + store[source + SOURCE_MEMBER]]
            ready_ns, known = max(ready_ns, work[part + BASE_NS] + end_ns), True
        work[waits + group] = ready_ns
        if known:
            first_ns = min(first_ns, ready_ns)
        row += GROUP_SIZE
    return first_ns


@compiled
def number_held(m: Machine, rank: int) -> int:
    """Number the resources of a rank's step; return how many it holds."""
    store, work = m
    num_held, held = 0, work[STEP_HELD]
    for part in range(work[rank + SIZE]):
        unit = work[rank + STEP_UNITS + part]
        numbers = work[NUMBERS] + part * work[NUMBERS_SIZE]
        for place in range(store[store[unit + KIND] + NUM_HELD]):
            resource = work[rank + FIRST_RESOURCE] + store[store[unit + RESOURCES] + place]
            number = 0
            while number < num_held and work[held + number] != resource:
                number += 1
            if number == num_held:
                work[held + number] = resource
                num_held += 1
            work[numbers + place] = number
    return num_held


@inlined
def _write_key(m: Machine, rank: int, num_held: int) -> int:
    """Write the key of a rank's step with its bucket behind it; return its length."""
    store, work = m
    key, base_ns, at = work[STEP_KEY], work[rank + BASE], work[STEP_KEY]
    for part in range(work[rank + SIZE]):
        kind = store[work[rank + STEP_UNITS + part] + KIND]
        numbers = work[NUMBERS] + part * work[NUMBERS_SIZE]
        waits = work[WAITS] + part * work[WAITS_SIZE]
        work[at], at = kind, at + 1
        for place in range(numbers, numbers + store[kind + NUM_HELD]):
            work[at], at = work[place], at + 1
        for place in range(waits, waits + store[kind + NUM_GROUPS]):
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


@inlined
def _find(store: Int64, work: Int64, length: int) -> int:
    """Return the entry with the step's key, or -1."""
    key = work[STEP_KEY]
    entry: int = store[BUCKETS + work[key + length]]
    while entry >= 0:
        if store[entry + LENGTH] == length:
            place = 0
            while place < length and store[entry + KEY + place] == work[key + place]:
                place += 1
            if place == length:
                return entry
        entry = store[entry + NEXT]
    return -1


@inlined
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
            base_ns = min(base_ns, wait(m, unit, code, NONE, waits))
    work[rank + BASE] = base_ns
    work[NUM_STEP_HELD] = num_held = number_held(m, rank)
    length = _write_key(m, rank, num_held)
    entry = _find(m.store, work, length)
    if entry < 0:
        work[MISSED], work[KEY_LENGTH] = rank, length
        return MISS
    work[rank + ENTRY], work[work[rank + CLOSES]] = entry, base_ns + m.store[entry + CLOSE]
    return READY


@compiled
def join(work: Int64, rank: int, code: int, unit: int) -> None:
    """Add a part to a rank's step, in order of codes."""
    place = rank + CODES + work[rank + SIZE]
    while place > rank + CODES and work[place - 1] > code:
        work[place], work[place + MOST_PARTS] = work[place - 1], work[place - 1 + MOST_PARTS]
        place -= 1
    work[place], work[place + MOST_PARTS] = code, unit
    work[rank + SIZE] += 1


@compiled
def _overlaps(m: Machine, rank: int, code: int, ready_ns: int) -> bool:
    """Whether a pending part is not in the step just looked up, but before some task of it."""
    store, work = m
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        if work[place] == code:
            return False
    unit, entry, num_held = unit_of(m, code), work[rank + ENTRY], work[NUM_STEP_HELD]
    results = entry + KEY + store[entry + LENGTH]
    resources = store[unit + RESOURCES]
    for place in range(resources, resources + store[store[unit + KIND] + NUM_HELD]):
        resource = work[rank + FIRST_RESOURCE] + store[place]
        for number in range(num_held):
            if work[work[STEP_HELD] + number] == resource:
                last_ns = work[rank + BASE] + store[results + LAST_READY * num_held + number]
                part = store[results + LAST_PART * num_held + number]
                is_later = code > work[rank + CODES + part]
                if ready_ns < last_ns or (ready_ns == last_ns and not is_later):
                    return True
    return False


@compiled
def complete(m: Machine, rank: int, own: int, base_ns: int) -> int:
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
            join(work, rank, code, unit_of(m, code))
            outcome = _look_up(m, rank, NONE)
            at = work[rank + PENDING_BEGIN]
    return outcome
