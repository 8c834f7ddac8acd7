"""The compiled inner loops of the contracted replay: parts of actions committed instead of tasks.

The tasks of an action fall into three *parts*, each a run of ids: its early part (communication
that waits for data only), its main part, and its late part (what ends after the next action of
the rank may begin). A part of action a has the code ``3 · a + part``; codes grow with ids.

A *step* commits a few parts of one rank that overlap, mostly the main part of an action alone.
What happens inside a step is an *entry*, simulated once and found again by its key. Times in it
are relative to the step's *base*: the moment when its first task becomes ready.

Records lie in four flat arrays of integers and point to each other by address, as passing many
arrays to many functions would take a minute to compile. Fields are named below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from flexsim.numba_cache import kept_on_disk
from flexsim.task_graph.columns import Int64

_Function = TypeVar("_Function", bound=Callable[..., Any])

EARLY, MAIN, LATE = range(3)
READY, GROW, TOO_MANY, STUCK, MISSING, OVERTAKEN, BLOCKED, IDLE, DONE = range(9)
"""What came of a step, and why :func:`replay_actions` returned."""
NEVER_NS = 2**62
MOST_PARTS = 12
"""Parts of one step."""

NUM_MEMBERS, NUM_HELD, NUM_GROUPS, MEMBERS = range(4)
"""A kind: the content of a part. Rows of its members follow, then what those point to."""
DURATION, HELD, HELD_END, FOLLOWING, FOLLOWING_END, NUM_BEFORE, GROUP, MEMBER_SIZE = range(8)
"""A member of a kind; addresses are relative to the kind's."""

NUM_VALUES, NUM_ENTRIES, BUCKETS = range(3)
"""The head of the entries."""
NUM_BUCKETS = 1 << 14
NEXT, LENGTH, NUM_RESOURCES, CLOSE, SPANS, STARTS, KEY = range(7)
"""An entry: the next one of its bucket, what its key has, when its last task becomes ready, and
where spans of parts and starts of tasks are. Its key follows, then results by resource."""
FREE, FIRST_READY, FIRST_PART, LAST_READY, LAST_PART, NUM_RESULTS = range(6)
"""Rows of results: when the resource becomes free; first and last ready time of those that hold
it, and their parts."""

UNITS, TEMPLATES, RANK_ROWS, JOINED = range(4)
"""The head of a pipeline: where its tables are, and the first unit of early and main together."""
KIND, RESOURCES, GROUPS, UNIT_SIZE = range(4)
"""A unit: part p of template t is unit 3 · t + p."""
SOURCES, SOURCES_END, GATES, GATES_END, GROUP_SIZE = range(5)
"""A group of heads: tasks of other parts, and gates of the rank, that it waits for."""
SOURCE_TEMPLATE, SOURCE_PART, SOURCE_MEMBER, SOURCE_NS, SOURCE_SIZE = range(5)
NUM_EARLY, NUM_LATE, RANK, EXIT_ROWS, DEPENDENTS, DEPENDENTS_END, TEMPLATE_SIZE = range(7)
"""A template; dependents are templates whose early part waits for it."""
EXITS, EXITS_END, EXIT_ROW_SIZE = range(3)
"""What opens one gate of the rank: pairs of a member of the main part and its duration."""
FIRST_GATE, NUM_GATES, HURRIES, RANK_ROW_SIZE = range(4)
"""What a schedule does not change of a rank; it hurries if its steps need an order in time."""

(ACTIONS, WHERE, NUM_MICROBATCHES, RANKS, NUM_RANKS, PARTS, HOLDINGS, GATE_NS, PENDING, STACK) = (
    range(10)
)
"""The head of the working room: where its tables are."""
WAITS, WAITS_SIZE, STEP_KEY, STEP_HELD, NUMBERS, NUMBERS_SIZE, TASKS, HEAP, RESULTS = range(10, 19)
HEIGHT, NUM_NEW, MOST_NEW, FAILED, RESOURCE, BLOCKER, HEAD_SIZE = range(19, 26)
TEMPLATE, MICROBATCH, WAITING, ACTION_SIZE = range(4)
"""An action; a rank that waits for it, or -1."""
POSITION, LAST, PENDING_BEGIN, PENDING_END, ENTRY, BASE, CLOSES, SIZE, NEXT_WAITING, CODES = range(
    10
)
"""A rank: its next action, one beyond its last, its pending parts, its next step (no entry: -1),
another rank that waits for the same action. Codes and units of the step's parts follow."""
LINES = CODES + MOST_PARTS
RANK_SIZE = LINES + MOST_PARTS
START, BASE_NS, SPAN, PART_SIZE = range(4)
"""A part: where its starts are (-1: not committed), their base, where its span is."""
FREE_NS, LAST_READY_NS, LAST_CODE, HOLDING_SIZE = range(4)
"""A resource: the last task that holds it, by ready time and part."""
PENDING_CODE, PENDING_NS, PENDING_SIZE = range(3)
"""A part that is known but not committed; by rank, in order of (ready time, code)."""
ROW, PART, MEMBER, READY_NS, LEFT, START_NS, TASK_SIZE = range(7)
"""A task of a simulation: address in the kinds, part, number, predecessors that are left."""


class Machine(NamedTuple):
    """All that a replay works on."""

    kinds: Int64
    entries: Int64
    pipeline: Int64
    work: Int64


def _compiled(function: _Function) -> _Function:
    """Compile ``function`` together with those in this file that call it."""
    return cast(_Function, numba.njit(function))


@_compiled
def _rank(work: Int64, rank: int) -> int:
    result: int = work[RANKS] + RANK_SIZE * rank
    return result


@_compiled
def _part(work: Int64, code: int) -> int:
    result: int = work[PARTS] + PART_SIZE * code
    return result


@_compiled
def _unit(pipeline: Int64, line: int) -> int:
    result: int = pipeline[UNITS] + UNIT_SIZE * line
    return result


@_compiled
def _template(pipeline: Int64, template: int) -> int:
    result: int = pipeline[TEMPLATES] + TEMPLATE_SIZE * template
    return result


@_compiled
def _action(work: Int64, action: int) -> int:
    result: int = work[ACTIONS] + ACTION_SIZE * action
    return result


@_compiled
def _line(work: Int64, code: int) -> int:
    """Return the unit of a part."""
    result: int = 3 * work[_action(work, code // 3) + TEMPLATE] + code % 3
    return result


@_compiled
def _is_before(work: Int64, one: int, other: int) -> bool:
    """Whether a task of a simulation goes before another: by ready time, then by number."""
    one_ns = work[work[TASKS] + TASK_SIZE * one + READY_NS]
    other_ns = work[work[TASKS] + TASK_SIZE * other + READY_NS]
    result: bool = one_ns < other_ns or (one_ns == other_ns and one < other)
    return result


@_compiled
def _push(work: Int64, num_queued: int, task: int) -> None:
    """Add a task to the heap."""
    heap, place = work[HEAP], num_queued
    while place > 0 and _is_before(work, task, work[heap + ((place - 1) >> 1)]):
        work[heap + place] = work[heap + ((place - 1) >> 1)]
        place = (place - 1) >> 1
    work[heap + place] = task


@_compiled
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


@_compiled
def _run_task(kinds: Int64, work: Int64, task: int, num_held: int) -> int:
    """Let a task hold its resources; return its end."""
    at = work[TASKS] + TASK_SIZE * task
    row, part, ready_ns = work[at + ROW], work[at + PART], work[at + READY_NS]
    kind = row - MEMBER_SIZE * work[at + MEMBER] - MEMBERS
    numbers, results = work[NUMBERS] + part * work[NUMBERS_SIZE], work[RESULTS]
    begin_ns = ready_ns
    for place in range(kind + kinds[row + HELD], kind + kinds[row + HELD_END]):
        begin_ns = max(begin_ns, work[results + work[numbers + kinds[place]]])
    end_ns: int = begin_ns + kinds[row + DURATION]
    for place in range(kind + kinds[row + HELD], kind + kinds[row + HELD_END]):
        result = results + work[numbers + kinds[place]]
        work[result + FREE * num_held] = end_ns
        if work[result + LAST_READY * num_held] < 0:
            work[result + FIRST_READY * num_held] = ready_ns
            work[result + FIRST_PART * num_held] = part
        work[result + LAST_READY * num_held] = ready_ns
        work[result + LAST_PART * num_held] = part
    work[at + START_NS] = begin_ns
    return end_ns


@_compiled
def _simulate(kinds: Int64, work: Int64, num_tasks: int, num_held: int) -> int:
    """Commit tasks in order of (ready time, number); return how many could be."""
    tasks, num_queued, num_done = work[TASKS], 0, 0
    for task in range(num_tasks):
        at = tasks + TASK_SIZE * task
        work[at + LEFT] = kinds[work[at + ROW] + NUM_BEFORE]
        if work[at + LEFT] == 0:
            _push(work, num_queued, task)
            num_queued += 1
    while num_queued > 0:
        task = _pop(work, num_queued)
        num_queued, num_done = num_queued - 1, num_done + 1
        end_ns = _run_task(kinds, work, task, num_held)
        at = tasks + TASK_SIZE * task
        row, member = work[at + ROW], work[at + MEMBER]
        kind = row - MEMBER_SIZE * member - MEMBERS
        for place in range(kind + kinds[row + FOLLOWING], kind + kinds[row + FOLLOWING_END]):
            follower = task - member + kinds[place]
            there = tasks + TASK_SIZE * follower
            work[there + READY_NS] = max(work[there + READY_NS], end_ns)
            work[there + LEFT] -= 1
            if work[there + LEFT] == 0:
                _push(work, num_queued, follower)
                num_queued += 1
    return num_done


@_compiled
def _wait(m: Machine, line: int, code: int, skipped: int, waits: int) -> int:
    """Write when each group of a part's heads becomes ready; return the first of these times.

    What waits for part ``skipped`` is taken not to. Return -1 where it waits for an action that
    is not committed, which the head then names (-1: one that the schedule lacks).
    """
    _, entries, pipeline, work = m
    unit, first_ns = _unit(pipeline, line), NEVER_NS
    where = work[WHERE] + work[_action(work, code // 3) + MICROBATCH]
    for group in range(m.kinds[pipeline[unit + KIND] + NUM_GROUPS]):
        row = pipeline[unit + GROUPS] + GROUP_SIZE * group
        ready_ns = 0
        known = pipeline[row + SOURCES] == pipeline[row + SOURCES_END]
        for place in range(pipeline[row + GATES], pipeline[row + GATES_END]):
            ready_ns, known = max(ready_ns, work[work[GATE_NS] + pipeline[place]]), True
        for source in range(pipeline[row + SOURCES], pipeline[row + SOURCES_END], SOURCE_SIZE):
            action = work[where + pipeline[source + SOURCE_TEMPLATE] * work[NUM_MICROBATCHES]]
            before = 3 * action + pipeline[source + SOURCE_PART]
            if action >= 0 and before == skipped:
                continue
            part = _part(work, before)
            if action < 0 or work[part + START] < 0:
                work[BLOCKER] = action
                return -1
            end_ns = entries[work[part + START] + pipeline[source + SOURCE_MEMBER]]
            end_ns += work[part + BASE_NS] + pipeline[source + SOURCE_NS]
            ready_ns, known = max(ready_ns, end_ns), True
        work[waits + group] = ready_ns
        if known:
            first_ns = min(first_ns, ready_ns)
    return first_ns


@_compiled
def _number(m: Machine, rank: int) -> int:
    """Number the resources of a rank's step; return how many it holds."""
    kinds, _, pipeline, work = m
    num_held, held = 0, work[STEP_HELD]
    for part in range(work[rank + SIZE]):
        unit = _unit(pipeline, work[rank + LINES + part])
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
    key, base_ns, length = work[STEP_KEY], work[rank + BASE], 0
    for part in range(work[rank + SIZE]):
        kind = pipeline[_unit(pipeline, work[rank + LINES + part]) + KIND]
        work[key + length] = kind
        length += 1
        for place in range(kinds[kind + NUM_HELD]):
            work[key + length] = work[work[NUMBERS] + part * work[NUMBERS_SIZE] + place]
            length += 1
        for group in range(kinds[kind + NUM_GROUPS]):
            ready_ns = work[work[WAITS] + part * work[WAITS_SIZE] + group]
            work[key + length] = ready_ns - base_ns
            length += 1
    for number in range(num_held):
        resource = work[work[STEP_HELD] + number]
        free_ns = work[work[HOLDINGS] + HOLDING_SIZE * resource + FREE_NS]
        work[key + length] = max(0, free_ns - base_ns)
        length += 1
    code = np.uint64(length)
    for place in range(key, key + length):
        code = (code ^ np.uint64(work[place])) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(29)
    work[key + length] = np.int64(code & np.uint64(NUM_BUCKETS - 1))
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
def _keep(m: Machine, rank: int, length: int, num_held: int) -> int:
    """Keep what was simulated as an entry and return it."""
    kinds, entries, _, work = m
    entry: int = entries[NUM_VALUES]
    bucket = BUCKETS + work[work[STEP_KEY] + length]
    entries[entry + NEXT], entries[bucket] = entries[bucket], entry
    entries[entry + LENGTH], entries[entry + NUM_RESOURCES] = length, num_held
    entries[entry + CLOSE] = 0
    entries[entry + KEY : entry + KEY + length] = work[work[STEP_KEY] : work[STEP_KEY] + length]
    at, size = entry + KEY + length, NUM_RESULTS * num_held
    entries[at : at + size] = work[work[RESULTS] : work[RESULTS] + size]
    for place in range(at + LAST_READY * num_held, at + LAST_PART * num_held):
        entries[entry + CLOSE] = max(entries[entry + CLOSE], entries[place])
    at += size
    entries[entry + SPANS] = at
    entries[entry + STARTS] = at + 2 * work[rank + SIZE]
    place = entries[entry + STARTS]
    task = work[TASKS]
    for part in range(work[rank + SIZE]):
        entries[at], entries[at + 1] = NEVER_NS, 0
        kind = m.pipeline[_unit(m.pipeline, work[rank + LINES + part]) + KIND]
        for _ in range(kinds[kind + NUM_MEMBERS]):
            start_ns = work[task + START_NS]
            entries[place] = start_ns
            entries[at] = min(entries[at], start_ns)
            entries[at + 1] = max(entries[at + 1], start_ns + kinds[work[task + ROW] + DURATION])
            place, task = place + 1, task + TASK_SIZE
        at += 2
    entries[NUM_VALUES], entries[NUM_ENTRIES] = place, entries[NUM_ENTRIES] + 1
    return entry


@_compiled
def _lay_out(m: Machine, rank: int) -> int:
    """Write the tasks of a rank's step; return how many there are."""
    kinds, _, pipeline, work = m
    num_tasks = 0
    for part in range(work[rank + SIZE]):
        kind = pipeline[_unit(pipeline, work[rank + LINES + part]) + KIND]
        waits = work[WAITS] + part * work[WAITS_SIZE]
        for member in range(kinds[kind + NUM_MEMBERS]):
            at, row = work[TASKS] + TASK_SIZE * num_tasks, kind + MEMBERS + MEMBER_SIZE * member
            work[at + ROW], work[at + PART], work[at + MEMBER] = row, part, member
            group, work[at + READY_NS] = kinds[row + GROUP], 0
            if group >= 0:
                work[at + READY_NS] = work[waits + group] - work[rank + BASE]
            num_tasks += 1
    return num_tasks


@_compiled
def _enter(m: Machine, rank: int, length: int, num_held: int) -> tuple[int, int]:
    """Simulate a rank's step; return its entry and what came of it."""
    kinds, entries, _, work = m
    num_tasks = _lay_out(m, rank)
    needed = KEY + length + NUM_RESULTS * num_held + 2 * work[rank + SIZE] + num_tasks
    if entries[NUM_VALUES] + needed > len(entries):
        return -1, GROW
    if work[NUM_NEW] >= work[MOST_NEW]:
        return -1, TOO_MANY
    results = work[RESULTS]
    free = work[STEP_KEY] + length - num_held
    for number in range(num_held):
        work[results + FREE * num_held + number] = work[free + number]
        work[results + LAST_READY * num_held + number] = -1
    if _simulate(kinds, work, num_tasks, num_held) < num_tasks:
        return -1, STUCK
    work[NUM_NEW] += 1
    return _keep(m, rank, length, num_held), READY


@_compiled
def _look_up(m: Machine, rank: int) -> int:
    """Find what happens in a rank's step, or simulate it; return what came of it."""
    work, base_ns = m.work, NEVER_NS
    for part in range(work[rank + SIZE]):
        waits = work[WAITS] + part * work[WAITS_SIZE]
        code, line = work[rank + CODES + part], work[rank + LINES + part]
        base_ns = min(base_ns, _wait(m, line, code, -1, waits))
    work[rank + BASE] = base_ns
    num_held = _number(m, rank)
    length = _write_key(m, rank, num_held)
    entry, outcome = _find(m.entries, work, length), READY
    if entry < 0:
        entry, outcome = _enter(m, rank, length, num_held)
    if outcome == READY:
        work[rank + ENTRY], work[rank + CLOSES] = entry, base_ns + m.entries[entry + CLOSE]
    return outcome


@_compiled
def _join(work: Int64, rank: int, code: int, line: int) -> None:
    """Add a part to a rank's step, in order of codes."""
    place = rank + CODES + work[rank + SIZE]
    while place > rank + CODES and work[place - 1] > code:
        work[place], work[place + MOST_PARTS] = work[place - 1], work[place - 1 + MOST_PARTS]
        place -= 1
    work[place], work[place + MOST_PARTS] = code, line
    work[rank + SIZE] += 1


@_compiled
def _overlaps(m: Machine, rank: int, code: int, ready_ns: int) -> bool:
    """Whether a pending part is not in a rank's step but before some task of it."""
    kinds, entries, pipeline, work = m
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        if work[place] == code:
            return False
    unit, entry, num_held = _unit(pipeline, _line(work, code)), work[rank + ENTRY], _number(m, rank)
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
def _complete(m: Machine, rank: int, own: int) -> int:
    """Look up a rank's step together with all pending parts (but ``own``) that overlap it."""
    work = m.work
    outcome = _look_up(m, rank)
    at = work[rank + PENDING_BEGIN]
    while outcome == READY and at < work[rank + PENDING_END]:
        code, ready_ns = work[at + PENDING_CODE], work[at + PENDING_NS]
        if ready_ns > work[rank + CLOSES] or work[rank + SIZE] == MOST_PARTS:
            break
        at += PENDING_SIZE
        if code != own and _overlaps(m, rank, code, ready_ns):
            _join(work, rank, code, _line(work, code))
            outcome = _look_up(m, rank)
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
    _join(work, rank, pending, _line(work, pending))
    outcome = _complete(m, rank, -1)
    last = work[rank + CODES + work[rank + SIZE] - 1]
    if outcome != READY or work[rank + CLOSES] < base_ns:
        return outcome
    return READY if work[rank + CLOSES] == base_ns and last < code else IDLE


@_compiled
def _prepare(m: Machine, rank: int) -> int:
    """Find the next step of a rank; return what came of it."""
    _, _, pipeline, work = m
    action, waits = work[rank + POSITION], work[WAITS]
    code, line, own, base_ns = 3 * action + MAIN, -1, -1, NEVER_NS
    if action < work[rank + LAST]:
        line = _line(work, code)
        template = _template(pipeline, line // 3)
        if pipeline[template + NUM_EARLY] > 0 and work[_part(work, code - 1) + START] < 0:
            own = code - 1
        base_ns = _wait(m, line, code, own, waits)
        if base_ns < 0 or (own >= 0 and _wait(m, line - 1, own, -1, waits) < 0):
            return BLOCKED if work[BLOCKER] >= 0 else MISSING
    elif work[rank + PENDING_BEGIN] == work[rank + PENDING_END]:
        return IDLE
    outcome = _clear_way(m, rank, code, base_ns)
    if outcome != IDLE:
        return outcome
    work[rank + SIZE] = 0
    if own >= 0:
        line = pipeline[JOINED] + line // 3
    _join(work, rank, code, line)
    for at in range(work[rank + PENDING_BEGIN], work[rank + PENDING_END], PENDING_SIZE):
        if work[at + PENDING_NS] >= base_ns or work[rank + SIZE] == MOST_PARTS:
            break
        if work[at + PENDING_CODE] != own:
            pending = work[at + PENDING_CODE]
            _join(work, rank, pending, _line(work, pending))
    return _complete(m, rank, own)


@_compiled
def _call(work: Int64, rank: int) -> None:
    """Let the next step of a rank be found anew."""
    work[rank + ENTRY] = -1
    work[work[STACK] + work[HEIGHT]] = rank
    work[HEIGHT] += 1


@_compiled
def _expect(m: Machine, code: int) -> None:
    """Put a part among the pending ones of its rank, if what it waits for is committed."""
    _, _, pipeline, work = m
    line = _line(work, code)
    ready_ns = _wait(m, line, code, -1, work[WAITS])
    if ready_ns < 0:
        return
    rank = _rank(work, pipeline[_template(pipeline, line // 3) + RANK])
    at, begin = work[rank + PENDING_END], work[rank + PENDING_BEGIN]
    while at > begin:
        before_ns, before = work[at - 1], work[at - 2]
        if before_ns < ready_ns or (before_ns == ready_ns and before < code):
            break
        work[at + PENDING_CODE], work[at + PENDING_NS] = before, before_ns
        at -= PENDING_SIZE
    work[at + PENDING_CODE], work[at + PENDING_NS] = code, ready_ns
    work[rank + PENDING_END] += PENDING_SIZE
    if work[rank + ENTRY] >= 0 and ready_ns <= work[rank + CLOSES]:
        _call(work, rank)


@_compiled
def _forget(work: Int64, rank: int, code: int) -> None:
    """Take a part out of the pending ones."""
    at, end = work[rank + PENDING_BEGIN], work[rank + PENDING_END]
    while at < end and work[at + PENDING_CODE] != code:
        at += PENDING_SIZE
    if at == end:
        return
    while at > work[rank + PENDING_BEGIN]:
        work[at], work[at + 1] = work[at - 2], work[at - 1]
        at -= PENDING_SIZE
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
        work[holding + FREE_NS] = base_ns + entries[at]
        work[holding + LAST_READY_NS] = base_ns + entries[at + LAST_READY * num_held]
        last_part = entries[at + LAST_PART * num_held]
        work[holding + LAST_CODE] = work[rank + CODES + last_part]
    return READY


@_compiled
def _finish(m: Machine, rank: int, action: int) -> None:
    """Open the gates behind an action whose main part is committed, and tell who waits for it."""
    _, entries, pipeline, work = m
    template = _template(pipeline, work[_action(work, action) + TEMPLATE])
    part = _part(work, 3 * action + MAIN)
    row = pipeline[RANK_ROWS] + RANK_ROW_SIZE * pipeline[template + RANK]
    gate, exits = work[GATE_NS] + pipeline[row + FIRST_GATE], pipeline[template + EXIT_ROWS]
    for _ in range(pipeline[row + NUM_GATES]):
        work[gate] = 0
        for place in range(pipeline[exits + EXITS], pipeline[exits + EXITS_END], 2):
            end_ns = entries[work[part + START] + pipeline[place]] + pipeline[place + 1]
            work[gate] = max(work[gate], work[part + BASE_NS] + end_ns)
        gate, exits = gate + 1, exits + EXIT_ROW_SIZE
    work[rank + POSITION] = action + 1
    waiting = work[_action(work, action) + WAITING]
    while waiting >= 0:
        _call(work, waiting)
        waiting = work[waiting + NEXT_WAITING]
    if pipeline[template + NUM_LATE] > 0:
        _expect(m, 3 * action + LATE)
    where = work[WHERE] + work[_action(work, action) + MICROBATCH]
    for place in range(pipeline[template + DEPENDENTS], pipeline[template + DEPENDENTS_END]):
        after = work[where + pipeline[place] * work[NUM_MICROBATCHES]]
        if after >= 0:
            _expect(m, 3 * after + EARLY)


@_compiled
def _commit(m: Machine, rank: int) -> int:
    """Commit a rank's step; return what came of it."""
    kinds, entries, pipeline, work = m
    outcome, entry, finished = _take(m, rank), work[rank + ENTRY], -1
    if outcome != READY:
        return outcome
    start, span = entries[entry + STARTS], entries[entry + SPANS]
    for place in range(rank + CODES, rank + CODES + work[rank + SIZE]):
        code, line = work[place], work[place + MOST_PARTS]
        num_early = 0
        if line >= pipeline[JOINED]:
            num_early = pipeline[_template(pipeline, line - pipeline[JOINED]) + NUM_EARLY]
            early = _part(work, code - 1)
            work[early + START], work[early + BASE_NS] = start, work[rank + BASE]
            work[early + SPAN] = span
            _forget(work, rank, code - 1)
        part = _part(work, code)
        work[part + START], work[part + BASE_NS] = start + num_early, work[rank + BASE]
        work[part + SPAN] = span
        start += kinds[pipeline[_unit(pipeline, line) + KIND] + NUM_MEMBERS]
        span += 2
        if code % 3 == MAIN:
            finished = code // 3
        else:
            _forget(work, rank, code)
    _call(work, rank)
    if finished >= 0:
        _finish(m, rank, finished)
    return READY


@_compiled
def _first(work: Int64) -> int:
    """Return the rank whose next step closes first, or -1."""
    best = -1
    for number in range(work[NUM_RANKS]):
        rank = _rank(work, number)
        if work[rank + ENTRY] >= 0 and (best < 0 or work[rank + CLOSES] < work[best + CLOSES]):
            best = rank
    return best


@kept_on_disk
def replay_actions(m: Machine) -> int:
    """Commit steps until all are done, and return why no more can be.

    :data:`GROW` asks for more room in ``entries``; call again then.
    """
    pipeline, work = m.pipeline, m.work
    while True:
        while work[HEIGHT] > 0:
            rank = work[work[STACK] + work[HEIGHT] - 1]
            outcome = _prepare(m, rank)
            if outcome not in (READY, IDLE, BLOCKED):
                work[FAILED] = min(work[rank + POSITION], work[rank + LAST] - 1)
                return outcome
            work[HEIGHT] -= 1
            if outcome != READY:
                work[rank + ENTRY] = -1
            if outcome == BLOCKED:
                action = _action(work, work[BLOCKER])
                work[rank + NEXT_WAITING] = work[action + WAITING]
                work[action + WAITING] = rank
            number = (rank - work[RANKS]) // RANK_SIZE
            hurries = pipeline[pipeline[RANK_ROWS] + RANK_ROW_SIZE * number + HURRIES]
            if outcome == READY and not hurries and _commit(m, rank) != READY:
                return OVERTAKEN
        rank = _first(work)
        if rank < 0:
            return DONE
        if _commit(m, rank) != READY:
            return OVERTAKEN
