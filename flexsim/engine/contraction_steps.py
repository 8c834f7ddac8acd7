"""The compiled simulation of one step of a contracted replay: tasks in (ready, id) order."""

from __future__ import annotations

from flexsim.engine.contraction_layout import (
    BASE,
    BUCKETS,
    CLOSE,
    DURATION,
    ENDS,
    FIRST_PART,
    FIRST_READY,
    FOLLOWING,
    FOLLOWING_END,
    FREE,
    GROUP,
    GROW,
    HEAP,
    HELD,
    HELD_END,
    KEY,
    KEY_LENGTH,
    KIND,
    LAST_PART,
    LAST_READY,
    LEFT,
    LENGTH,
    MEMBER,
    MEMBER_SIZE,
    MEMBERS,
    MISSED,
    MOST_NEW,
    NEVER_NS,
    NEXT,
    NUM_BEFORE,
    NUM_ENTRIES,
    NUM_MEMBERS,
    NUM_NEW,
    NUM_RESULTS,
    NUM_STEP_HELD,
    NUM_VALUES,
    NUMBERS,
    NUMBERS_SIZE,
    PART,
    READY,
    READY_NS,
    RESULTS,
    ROW,
    SIZE,
    SPANS,
    START_NS,
    STEP_KEY,
    STEP_UNITS,
    STUCK,
    TASK_SIZE,
    TASKS,
    TOO_MANY,
    WAITS,
    WAITS_SIZE,
    Machine,
    compiled,
)
from flexsim.task_graph.columns import Int64


@compiled
def _is_before(work: Int64, one: int, other: int) -> bool:
    """Whether a task of a simulation goes before another: by ready time, then by number."""
    one_ns = work[work[TASKS] + TASK_SIZE * one + READY_NS]
    other_ns = work[work[TASKS] + TASK_SIZE * other + READY_NS]
    result: bool = one_ns < other_ns or (one_ns == other_ns and one < other)
    return result


@compiled
def _push(work: Int64, num_queued: int, task: int) -> None:
    """Add a task to the heap."""
    heap, place = work[HEAP], num_queued
    while place > 0 and _is_before(work, task, work[heap + ((place - 1) >> 1)]):
        work[heap + place] = work[heap + ((place - 1) >> 1)]
        place = (place - 1) >> 1
    work[heap + place] = task


@compiled
def _pop(work: Int64, num_queued: int) -> int:
    """Remove and return the first of ``num_queued`` tasks."""
    heap, place, last = work[HEAP], 0, num_queued - 1
    first: int = work[heap]
    task = work[heap + last]
    while 2 * place + 1 < last:
        child = 2 * place + 1
        if child + 1 < last and _is_before(work, work[heap + child + 1], work[heap + child]):
            child += 1
        if _is_before(work, task, work[heap + child]):
            break
        work[heap + place] = work[heap + child]
        place = child
    work[heap + place] = task
    return first


@compiled
def _run_task(store: Int64, work: Int64, task: int, num_held: int) -> int:
    """Let a task hold its resources; return its end."""
    at = work[TASKS] + TASK_SIZE * task
    row, part, ready_ns = work[at + ROW], work[at + PART], work[at + READY_NS]
    kind = row - MEMBER_SIZE * work[at + MEMBER] - MEMBERS
    numbers, results = work[NUMBERS] + part * work[NUMBERS_SIZE], work[RESULTS]
    begin_ns = ready_ns
    for place in range(kind + store[row + HELD], kind + store[row + HELD_END]):
        begin_ns = max(begin_ns, work[results + work[numbers + store[place]]])
    end_ns: int = begin_ns + store[row + DURATION]
    for place in range(kind + store[row + HELD], kind + store[row + HELD_END]):
        result = results + work[numbers + store[place]]
        work[result + FREE * num_held] = end_ns
        if work[result + LAST_READY * num_held] < 0:
            work[result + FIRST_READY * num_held] = ready_ns
            work[result + FIRST_PART * num_held] = part
        work[result + LAST_READY * num_held] = ready_ns
        work[result + LAST_PART * num_held] = part
    work[at + START_NS] = begin_ns
    return end_ns


@compiled
def _simulate(store: Int64, work: Int64, num_tasks: int, num_held: int) -> int:
    """Commit tasks in order of (ready time, number); return how many could be."""
    tasks, num_queued, num_done = work[TASKS], 0, 0
    for task in range(num_tasks):
        at = tasks + TASK_SIZE * task
        work[at + LEFT] = store[work[at + ROW] + NUM_BEFORE]
        if work[at + LEFT] == 0:
            _push(work, num_queued, task)
            num_queued += 1
    while num_queued > 0:
        task = _pop(work, num_queued)
        num_queued, num_done = num_queued - 1, num_done + 1
        end_ns = _run_task(store, work, task, num_held)
        at = tasks + TASK_SIZE * task
        row, member = work[at + ROW], work[at + MEMBER]
        kind = row - MEMBER_SIZE * member - MEMBERS
        for place in range(kind + store[row + FOLLOWING], kind + store[row + FOLLOWING_END]):
            follower = task - member + store[place]
            there = tasks + TASK_SIZE * follower
            work[there + READY_NS] = max(work[there + READY_NS], end_ns)
            work[there + LEFT] -= 1
            if work[there + LEFT] == 0:
                _push(work, num_queued, follower)
                num_queued += 1
    return num_done


@compiled
def _keep(m: Machine, rank: int, length: int, num_held: int) -> None:
    """Keep what was simulated as an entry."""
    store, work = m
    entry, bucket = store[NUM_VALUES], BUCKETS + work[work[STEP_KEY] + length]
    store[entry + NEXT], store[bucket] = store[bucket], entry
    store[entry + LENGTH], store[entry + CLOSE] = length, 0
    for place in range(length):
        store[entry + KEY + place] = work[work[STEP_KEY] + place]
    results = entry + KEY + length
    for place in range(NUM_RESULTS * num_held):
        store[results + place] = work[work[RESULTS] + place]
    for place in range(results + LAST_READY * num_held, results + LAST_PART * num_held):
        store[entry + CLOSE] = max(store[entry + CLOSE], store[place])
    store[entry + SPANS] = results + NUM_RESULTS * num_held
    store[entry + ENDS] = store[entry + SPANS] + 2 * work[rank + SIZE]
    store[NUM_VALUES] = _keep_ends(m, rank, store[entry + SPANS], store[entry + ENDS])
    store[NUM_ENTRIES] += 1


@compiled
def _keep_ends(m: Machine, rank: int, span: int, end: int) -> int:
    """Keep the ends of all tasks and the span of every part; return where the entry ends."""
    store, work = m
    task = work[TASKS]
    for part in range(work[rank + SIZE]):
        store[span], store[span + 1] = NEVER_NS, 0
        for _ in range(store[store[work[rank + STEP_UNITS + part] + KIND] + NUM_MEMBERS]):
            start_ns = work[task + START_NS]
            end_ns = start_ns + store[work[task + ROW] + DURATION]
            store[end], store[span] = end_ns, min(store[span], start_ns)
            store[span + 1] = max(store[span + 1], end_ns)
            end, task = end + 1, task + TASK_SIZE
        span += 2
    return end


@compiled
def _lay_out(m: Machine, rank: int) -> int:
    """Write the tasks of a rank's step; return how many there are."""
    store, work = m
    num_tasks = 0
    for part in range(work[rank + SIZE]):
        kind = store[work[rank + STEP_UNITS + part] + KIND]
        waits = work[WAITS] + part * work[WAITS_SIZE]
        for member in range(store[kind + NUM_MEMBERS]):
            at, row = work[TASKS] + TASK_SIZE * num_tasks, kind + MEMBERS + MEMBER_SIZE * member
            work[at + ROW], work[at + PART], work[at + MEMBER] = row, part, member
            group, work[at + READY_NS] = store[row + GROUP], 0
            if group >= 0:
                work[at + READY_NS] = work[waits + group] - work[rank + BASE]
            num_tasks += 1
    return num_tasks


@compiled
def enter_step(m: Machine) -> int:
    """Simulate the step of rank ``work[MISSED]`` and keep it; return what came of it."""
    store, work = m
    rank, length = work[MISSED], work[KEY_LENGTH]
    num_held, num_tasks = work[NUM_STEP_HELD], _lay_out(m, rank)
    needed = KEY + length + NUM_RESULTS * num_held + 2 * work[rank + SIZE] + num_tasks
    if store[NUM_VALUES] + needed > len(store):
        return GROW
    if work[NUM_NEW] >= work[MOST_NEW]:
        return TOO_MANY
    results, free = work[RESULTS], work[STEP_KEY] + length - num_held
    for number in range(num_held):
        work[results + FREE * num_held + number] = work[free + number]
        work[results + LAST_READY * num_held + number] = -1
    if _simulate(store, work, num_tasks, num_held) < num_tasks:
        return STUCK
    work[NUM_NEW] += 1
    _keep(m, rank, length, num_held)
    return READY
