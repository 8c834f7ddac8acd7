"""The compiled inner loops of the contracted replay: parts of actions committed instead of tasks.

The tasks of an action fall into three *parts*, each a run of ids: its early part (communication
that waits for data only), its main part, and its late part (what ends after the next action of
the rank may begin). A part of action a has the code ``3 · a + part``; codes grow with ids.

A *step* commits a few parts of one rank that overlap, mostly the main part of an action alone.
What happens inside a step is an *entry*, simulated once and found again by its key. Times in it
are relative to the step's *base*: the moment when its first task becomes ready.

Everything that is compiled stands in this one file, since a compiled function kept on disk is
thrown away when its own file changes, not when a file that it calls does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from flexsim.numba_cache import kept_on_disk
from flexsim.task_graph.columns import Int32, Int64

_Function = TypeVar("_Function", bound=Callable[..., Any])

EARLY, MAIN, LATE = range(3)
DONE, GROW, STUCK, MISSING, OVERTAKEN, TOO_MANY, READY, BLOCKED, IDLE = range(9)
"""What came of a step, and why :func:`replay_actions` returned."""
DURATION, FIRST_HELD, LAST_HELD, FIRST_NEXT, LAST_NEXT, NUM_BEFORE, GROUP = range(7)
"""Columns of ``Classes.members``."""
FIRST_MEMBER, NUM_MEMBERS, NUM_RESOURCES, NUM_GROUPS = range(4)
"""Columns of ``Classes.kinds``."""
KIND, FIRST_RESOURCE, FIRST_GROUP = range(3)
"""Columns of ``Pipeline.units``."""
NUM_EARLY, NUM_LATE, FIRST_GATE, RANK = range(4)
"""Columns of ``Pipeline.templates``."""
SOURCE_TEMPLATE, SOURCE_PART, SOURCE_MEMBER, SOURCE_NS = range(4)
"""Columns of ``Pipeline.sources``."""
KEY, LENGTH, NEXT, RESULTS, SPANS, START, CLOSE = range(7)
"""Columns of ``Entries.rows``."""
FREE, FIRST_READY, FIRST_PART, LAST_READY, LAST_PART = range(5)
"""Rows of an entry's results, with a value a resource."""
HEIGHT, NUM_NEW, FAILED, RESOURCE, MOST_NEW, BLOCKER = range(6)
"""Places of ``Progress.state``."""
ENTRY, BASE, LAST, NUM_PARTS = range(4)
"""Columns of ``Progress.steps``."""
NUM_BUCKETS = 1 << 14
MOST_PARTS = 12
"""Parts of one step."""
_NEVER_NS = 2**62


class Classes(NamedTuple):
    """What may happen inside parts: parts of equal content are of one kind.

    ``members`` has a row a task; ``held`` and ``following`` are numbers inside the part.
    """

    kinds: Int64
    members: Int64
    held: Int64
    following: Int64


class Entries(NamedTuple):
    """Steps that have been simulated, a row each; what they consist of lies in ``values``.

    The key tells the kinds of the parts, what they hold, when each group of their heads becomes
    ready and when each resource becomes free. Then come the results by resource, the first start
    and the last end of every part, and the start of every task. ``buckets`` head lists of
    entries with one hash.
    """

    rows: Int64
    values: Int64
    buckets: Int32
    sizes: Int64
    """Rows used, values used."""


class Pipeline(NamedTuple):
    """How parts are joined: tables with a row a unit, a group of heads or a gate.

    Unit 3 · t + p is part p of template t; after them come units of early and main together.
    """

    units: Int64
    templates: Int64
    resources: Int64
    first_source: Int64
    sources: Int64
    """Tasks outside that a group waits for."""
    first_gate: Int64
    gates: Int64
    """Gates of the rank's previous action that a group waits for."""
    first_exit: Int64
    exits: Int64
    """Members of a main part that make one of its gates, and their durations."""
    gate_of_rank: Int64
    first_dependent: Int64
    dependents: Int64
    """Templates whose early part waits for a template."""
    hurries: Int64
    """Whether each rank has early parts, so that its steps need an order in time."""


class Order(NamedTuple):
    """The actions of a schedule."""

    template: Int64
    microbatch: Int64
    where: Int64
    """Action of every (template, microbatch), or -1."""
    last: Int64
    """One beyond the last action of every rank, updates not counted."""


class Progress(NamedTuple):
    """The state of a replay."""

    position: Int64
    """Next action of every rank."""
    start: Int64
    """Where the starts of every part lie in the entries' values; -1 until it is committed."""
    base_ns: Int64
    """Of every part."""
    span: Int64
    """Where the first start and last end of every part lie in the entries' values."""
    gate_ns: Int64
    """When each gate of the last action of a rank opens."""
    free_ns: Int64
    last_ready_ns: Int64
    """When the last committed task that holds a resource became ready, and its part."""
    last_code: Int64
    pending: Int64
    """Parts that are known but not committed, by rank, in order of (ready time, code)."""
    pending_ns: Int64
    first_pending: Int64
    """Two rows: where the pending parts of each rank begin and end."""
    steps: Int64
    """The next step of every rank: its entry (-1: not known), base, last ready time, parts."""
    parts: Int64
    lines: Int64
    """Codes and units of the parts of those steps."""
    stack: Int64
    """Ranks whose next step is to be found."""
    first_waiting: Int64
    """A rank that waits for an action, or -1."""
    next_waiting: Int64
    """Another rank that waits for the same action, or -1."""
    state: Int64


class Scratch(NamedTuple):
    """Room for one simulation."""

    waits: Int64
    """When each group of heads becomes ready, a row a part."""
    key: Int64
    resources: Int64
    """What a step holds."""
    numbers: Int64
    """Place in ``resources`` of what each part holds, a row a part."""
    tasks: Int64
    """Row in the classes, part, and number in the part of every task."""
    ready_ns: Int64
    missing: Int64
    start_ns: Int64
    heap: Int64
    results: Int64


class Machine(NamedTuple):
    """All that a replay works on."""

    classes: Classes
    entries: Entries
    pipeline: Pipeline
    order: Order
    progress: Progress
    scratch: Scratch


def _compiled(function: _Function) -> _Function:
    """Compile ``function`` together with those in this file that call it."""
    return cast(_Function, numba.njit(function))


@kept_on_disk
def inherit(own: Int64, sources: Int64, targets: Int64, before: Int64) -> None:
    """Set ``before`` to the bits in ``own`` of all tasks before each, edges sorted by target."""
    for edge in range(len(sources)):
        before[targets[edge]] |= before[sources[edge]] | own[sources[edge]]


@_compiled
def _push(heap: Int64, num_queued: int, task: int, ready_ns: Int64) -> None:
    """Add a task to a heap in order of (ready time, number)."""
    place = num_queued
    while place > 0:
        parent = (place - 1) >> 1
        other = heap[parent]
        if ready_ns[other] < ready_ns[task] or (ready_ns[other] == ready_ns[task] and other < task):
            break
        heap[place] = other
        place = parent
    heap[place] = task


@_compiled
def _pop(heap: Int64, num_queued: int, ready_ns: Int64) -> int:
    """Remove and return the first of ``num_queued`` tasks."""
    first, task = heap[0], heap[num_queued - 1]
    num_queued -= 1
    place = 0
    while 2 * place + 1 < num_queued:
        child = 2 * place + 1
        best = heap[child]
        if child + 1 < num_queued:
            other = heap[child + 1]
            if ready_ns[other] < ready_ns[best] or (
                ready_ns[other] == ready_ns[best] and other < best
            ):
                child, best = child + 1, other
        if ready_ns[task] < ready_ns[best] or (ready_ns[task] == ready_ns[best] and task < best):
            break
        heap[place] = best
        place = child
    heap[place] = task
    result: int = first
    return result


@kept_on_disk
def undisturbed_ready_ns(
    classes: Classes, ranges: Int64, num_resources: int, ready_ns: Int64
) -> None:
    """Set when members become ready where each template of ``ranges`` runs alone from 0.

    ``ranges`` has rows of (first member, one beyond the last); no two share a resource.
    """
    members, held, following = classes.members, classes.held, classes.following
    free_ns, heap = np.zeros(num_resources, np.int64), np.zeros(len(ready_ns) + 1, np.int64)
    missing, num_queued = members[:, NUM_BEFORE].copy(), 0
    for line in range(len(ranges)):
        for task in range(ranges[line, 0], ranges[line, 1]):
            if missing[task] == 0:
                _push(heap, num_queued, task, ready_ns)
                num_queued += 1
    while num_queued > 0:
        task = _pop(heap, num_queued, ready_ns)
        num_queued, end_ns = num_queued - 1, ready_ns[task]
        for place in range(members[task, FIRST_HELD], members[task, LAST_HELD]):
            end_ns = max(end_ns, free_ns[held[place]])
        end_ns += members[task, DURATION]
        for place in range(members[task, FIRST_HELD], members[task, LAST_HELD]):
            free_ns[held[place]] = end_ns
        for place in range(members[task, FIRST_NEXT], members[task, LAST_NEXT]):
            follower = following[place]
            ready_ns[follower] = max(ready_ns[follower], end_ns)
            missing[follower] -= 1
            if missing[follower] == 0:
                _push(heap, num_queued, follower, ready_ns)
                num_queued += 1


@_compiled
def _hold(task: int, machine: Machine) -> int:
    """Let a task hold its resources; return its end."""
    members, held, scratch = machine.classes.members, machine.classes.held, machine.scratch
    row, part = scratch.tasks[task, 0], scratch.tasks[task, 1]
    results, ready_ns = scratch.results, scratch.ready_ns[task]
    begin_ns = ready_ns
    for place in range(members[row, FIRST_HELD], members[row, LAST_HELD]):
        begin_ns = max(begin_ns, results[FREE, scratch.numbers[part, held[place]]])
    end_ns = begin_ns + members[row, DURATION]
    for place in range(members[row, FIRST_HELD], members[row, LAST_HELD]):
        resource = scratch.numbers[part, held[place]]
        results[FREE, resource] = end_ns
        if results[LAST_READY, resource] < 0:
            results[FIRST_READY, resource], results[FIRST_PART, resource] = ready_ns, part
        results[LAST_READY, resource], results[LAST_PART, resource] = ready_ns, part
    scratch.start_ns[task] = begin_ns
    result: int = end_ns
    return result


@_compiled
def _simulate(machine: Machine, num_tasks: int, num_resources: int) -> int:
    """Commit tasks in order of (ready time, number); return how many could be.

    ``scratch`` has what tasks are and wait for from outside and when resources become free.
    """
    members, following, scratch = machine.classes.members, machine.classes.following, machine.scratch
    tasks, ready_ns, missing, heap = scratch.tasks, scratch.ready_ns, scratch.missing, scratch.heap
    scratch.results[FIRST_READY, :num_resources] = _NEVER_NS
    scratch.results[LAST_READY, :num_resources] = -1
    num_queued, num_done = 0, 0
    for task in range(num_tasks):
        missing[task] = members[tasks[task, 0], NUM_BEFORE]
        if missing[task] == 0:
            _push(heap, num_queued, task, ready_ns)
            num_queued += 1
    while num_queued > 0:
        task = _pop(heap, num_queued, ready_ns)
        num_queued, num_done = num_queued - 1, num_done + 1
        end_ns = _hold(task, machine)
        row, first = tasks[task, 0], task - tasks[task, 2]
        for place in range(members[row, FIRST_NEXT], members[row, LAST_NEXT]):
            follower = first + following[place]
            ready_ns[follower] = max(ready_ns[follower], end_ns)
            missing[follower] -= 1
            if missing[follower] == 0:
                _push(heap, num_queued, follower, ready_ns)
                num_queued += 1
    return num_done


@_compiled
def _lay_out(machine: Machine, kind: int, part: int, num_tasks: int) -> int:
    """Append the tasks of a part to those that are to be simulated; return how many there are."""
    first, num_members = machine.classes.kinds[kind, FIRST_MEMBER], machine.classes.kinds[kind, 1]
    for member in range(num_members):
        row = machine.scratch.tasks[num_tasks + member]
        row[0], row[1], row[2] = first + member, part, member
    result: int = num_tasks + num_members
    return result


@kept_on_disk
def simulate_alone(machine: Machine, kind: int) -> int:
    """Simulate one part whose resources are numbered as in the plan, from time 0.

    ``ready_ns`` and the first row of ``results`` in scratch tell what it waits for and when
    resources become free. Return how many tasks were committed.
    """
    num_resources = machine.classes.kinds[kind, NUM_RESOURCES]
    num_tasks = _lay_out(machine, kind, 0, 0)
    for resource in range(num_resources):
        machine.scratch.numbers[0, resource] = resource
    result: int = _simulate(machine, num_tasks, num_resources)
    return result


@_compiled
def _wait(machine: Machine, line: int, code: int, skipped: int, waits: Int64) -> int:
    """Set when each group of a part's heads becomes ready and return the first of these times.

    What waits for part ``skipped`` is taken not to. Return -1 where it waits for an action that
    is not committed, which ``state`` then names (-1: one that the schedule lacks).
    """
    pipeline, progress = machine.pipeline, machine.progress
    first_ns = _NEVER_NS
    microbatch = machine.order.microbatch[code // 3]
    first_group = pipeline.units[line, FIRST_GROUP]
    for group in range(pipeline.units[line + 1, FIRST_GROUP] - first_group):
        row = first_group + group
        begin, end = pipeline.first_source[row], pipeline.first_source[row + 1]
        ready_ns, known = 0, begin == end
        for place in range(pipeline.first_gate[row], pipeline.first_gate[row + 1]):
            ready_ns, known = max(ready_ns, progress.gate_ns[pipeline.gates[place]]), True
        for place in range(begin, end):
            source = pipeline.sources[place]
            action = machine.order.where[source[SOURCE_TEMPLATE], microbatch]
            before = 3 * action + source[SOURCE_PART]
            if action >= 0 and before == skipped:
                continue
            if action < 0 or progress.start[before] < 0:
                progress.state[BLOCKER] = action
                return -1
            start_ns = machine.entries.values[progress.start[before] + source[SOURCE_MEMBER]]
            end_ns = progress.base_ns[before] + start_ns + source[SOURCE_NS]
            ready_ns, known = max(ready_ns, end_ns), True
        waits[group] = ready_ns
        if known:
            first_ns = min(first_ns, ready_ns)
    return first_ns


@_compiled
def _number(machine: Machine, rank: int, num_parts: int) -> int:
    """Number the resources of a step; return how many it holds."""
    pipeline, scratch = machine.pipeline, machine.scratch
    num_held = 0
    for part in range(num_parts):
        line = machine.progress.lines[rank, part]
        first = pipeline.units[line, FIRST_RESOURCE]
        for place in range(pipeline.units[line + 1, FIRST_RESOURCE] - first):
            resource, number = pipeline.resources[first + place], 0
            while number < num_held and scratch.resources[number] != resource:
                number += 1
            if number == num_held:
                scratch.resources[number] = resource
                num_held += 1
            scratch.numbers[part, place] = number
    return num_held


@_compiled
def _write_key(machine: Machine, rank: int, num_held: int) -> int:
    """Write the key of the rank's step with its hash behind it; return its length."""
    pipeline, progress, scratch = machine.pipeline, machine.progress, machine.scratch
    key, base_ns = scratch.key, progress.steps[rank, BASE]
    length = 0
    for part in range(progress.steps[rank, NUM_PARTS]):
        line = progress.lines[rank, part]
        key[length] = -1 - pipeline.units[line, KIND]
        length += 1
        for place in range(
            pipeline.units[line + 1, FIRST_RESOURCE] - pipeline.units[line, FIRST_RESOURCE]
        ):
            key[length] = scratch.numbers[part, place]
            length += 1
        for group in range(
            pipeline.units[line + 1, FIRST_GROUP] - pipeline.units[line, FIRST_GROUP]
        ):
            key[length] = scratch.waits[part, group] - base_ns
            length += 1
    for number in range(num_held):
        free_ns = progress.free_ns[scratch.resources[number]]
        key[length] = max(0, free_ns - base_ns)
        length += 1
    code = np.uint64(length)
    for place in range(length):
        code = (code ^ np.uint64(key[place])) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(29)
    key[length] = np.int64(code & np.uint64(NUM_BUCKETS - 1))
    return length


@_compiled
def _find(entries: Entries, key: Int64, length: int) -> int:
    """Return the entry with the key of this length (its hash stands behind it), or -1."""
    rows, values = entries.rows, entries.values
    entry = np.int64(entries.buckets[key[length]])
    while entry >= 0:
        offset, place = rows[entry, KEY], 0
        if rows[entry, LENGTH] == length:
            while place < length and values[offset + place] == key[place]:
                place += 1
            if place == length:
                result: int = entry
                return result
        entry = rows[entry, NEXT]
    return -1


@_compiled
def _keep(machine: Machine, sizes: tuple[int, int, int, int]) -> int:
    """Keep what was simulated as an entry; ``sizes`` are of key, resources, parts and tasks."""
    entries, scratch = machine.entries, machine.scratch
    length, num_held, num_parts, num_tasks = sizes
    values, entry, offset = entries.values, entries.sizes[0], entries.sizes[1]
    row, bucket = entries.rows[entry], scratch.key[length]
    row[KEY], row[LENGTH], row[NEXT] = offset, length, entries.buckets[bucket]
    entries.buckets[bucket] = entry
    values[offset : offset + length] = scratch.key[:length]
    offset += length
    row[RESULTS], row[CLOSE] = offset, 0
    for line in range(5):
        values[offset : offset + num_held] = scratch.results[line, :num_held]
        offset += num_held
    for number in range(num_held):
        row[CLOSE] = max(row[CLOSE], scratch.results[LAST_READY, number])
    row[SPANS] = offset
    for part in range(num_parts):
        values[offset + 2 * part], values[offset + 2 * part + 1] = _NEVER_NS, 0
    for task in range(num_tasks):
        place, start_ns = offset + 2 * scratch.tasks[task, 1], scratch.start_ns[task]
        end_ns = start_ns + machine.classes.members[scratch.tasks[task, 0], DURATION]
        values[place] = min(values[place], start_ns)
        values[place + 1] = max(values[place + 1], end_ns)
    offset += 2 * num_parts
    row[START] = offset
    values[offset : offset + num_tasks] = scratch.start_ns[:num_tasks]
    entries.sizes[0], entries.sizes[1] = entry + 1, offset + num_tasks
    result: int = entry
    return result


@_compiled
def _enter(machine: Machine, rank: int, length: int, num_held: int) -> tuple[int, int]:
    """Simulate the rank's step; return its entry and what came of it."""
    classes, progress, scratch = machine.classes, machine.progress, machine.scratch
    num_parts, base_ns = progress.steps[rank, NUM_PARTS], progress.steps[rank, BASE]
    num_tasks = 0
    for part in range(num_parts):
        kind = machine.pipeline.units[progress.lines[rank, part], KIND]
        first = num_tasks
        num_tasks = _lay_out(machine, kind, part, num_tasks)
        for task in range(first, num_tasks):
            group = classes.members[scratch.tasks[task, 0], GROUP]
            scratch.ready_ns[task] = scratch.waits[part, group] - base_ns if group >= 0 else 0
    needed = length + 5 * num_held + 2 * num_parts + num_tasks
    rows, values, sizes = machine.entries.rows, machine.entries.values, machine.entries.sizes
    if sizes[0] >= len(rows) or sizes[1] + needed > len(values):
        return -1, GROW
    if progress.state[NUM_NEW] >= progress.state[MOST_NEW]:
        return -1, TOO_MANY
    for number in range(num_held):
        scratch.results[FREE, number] = scratch.key[length - num_held + number]
    if _simulate(machine, num_tasks, num_held) < num_tasks:
        return -1, STUCK
    progress.state[NUM_NEW] += 1
    return _keep(machine, (length, num_held, num_parts, num_tasks)), READY


@_compiled
def _look_up(machine: Machine, rank: int) -> int:
    """Find what happens in the rank's step, or simulate it."""
    progress, scratch = machine.progress, machine.scratch
    step = progress.steps[rank]
    base_ns = _NEVER_NS
    for part in range(step[NUM_PARTS]):
        code, line = progress.parts[rank, part], progress.lines[rank, part]
        base_ns = min(base_ns, _wait(machine, line, code, -1, scratch.waits[part]))
    step[BASE] = base_ns
    num_held = _number(machine, rank, step[NUM_PARTS])
    length = _write_key(machine, rank, num_held)
    entry, outcome = _find(machine.entries, scratch.key, length), READY
    if entry < 0:
        entry, outcome = _enter(machine, rank, length, num_held)
    if outcome == READY:
        step[ENTRY], step[LAST] = entry, base_ns + machine.entries.rows[entry, CLOSE]
    return outcome


@_compiled
def _unit(machine: Machine, code: int) -> int:
    """Return the unit of a part."""
    result: int = 3 * machine.order.template[code // 3] + code % 3
    return result


@_compiled
def _join(machine: Machine, rank: int, code: int, line: int) -> None:
    """Add a part to the rank's step, in order."""
    progress = machine.progress
    parts, lines = progress.parts[rank], progress.lines[rank]
    place = progress.steps[rank, NUM_PARTS]
    while place > 0 and parts[place - 1] > code:
        parts[place], lines[place] = parts[place - 1], lines[place - 1]
        place -= 1
    parts[place], lines[place] = code, line
    progress.steps[rank, NUM_PARTS] += 1


@_compiled
def _is_in(machine: Machine, rank: int, code: int) -> bool:
    """Whether the rank's step has a part."""
    for part in range(machine.progress.steps[rank, NUM_PARTS]):
        if machine.progress.parts[rank, part] == code:
            return True
    return False


@_compiled
def _overlaps(machine: Machine, rank: int, code: int, ready_ns: int) -> bool:
    """Whether a pending part is to come before some task of the rank's step."""
    pipeline, progress, scratch = machine.pipeline, machine.progress, machine.scratch
    line, step = _unit(machine, code), progress.steps[rank]
    num_held = _number(machine, rank, step[NUM_PARTS])
    results = machine.entries.rows[step[ENTRY], RESULTS]
    for place in range(
        pipeline.units[line, FIRST_RESOURCE], pipeline.units[line + 1, FIRST_RESOURCE]
    ):
        for number in range(num_held):
            if scratch.resources[number] == pipeline.resources[place]:
                at = results + LAST_READY * num_held + number
                last_ns = step[BASE] + machine.entries.values[at]
                last_code = progress.parts[rank, machine.entries.values[at + num_held]]
                if ready_ns < last_ns or (ready_ns == last_ns and code < last_code):
                    return True
    return False


@_compiled
def _complete(machine: Machine, rank: int, own: int) -> int:
    """Look up the rank's step with all pending parts (but ``own``) that overlap it."""
    progress = machine.progress
    step = progress.steps[rank]
    while True:
        outcome = _look_up(machine, rank)
        if outcome != READY:
            return outcome
        size = step[NUM_PARTS]
        for place in range(progress.first_pending[0, rank], progress.first_pending[1, rank]):
            code, ready_ns = progress.pending[place], progress.pending_ns[place]
            if ready_ns > step[LAST] or step[NUM_PARTS] == MOST_PARTS:
                break
            if code == own or _is_in(machine, rank, code):
                continue
            if _overlaps(machine, rank, code, ready_ns):
                _join(machine, rank, code, _unit(machine, code))
                break
        if step[NUM_PARTS] == size:
            return READY


@_compiled
def _prepare(machine: Machine, rank: int) -> int:
    """Find the next step of a rank."""
    order, progress, templates = machine.order, machine.progress, machine.pipeline.templates
    action, step = progress.position[rank], progress.steps[rank]
    begin, end = progress.first_pending[0, rank], progress.first_pending[1, rank]
    code, line, own, base_ns = 3 * action + MAIN, -1, -1, _NEVER_NS
    if action < order.last[rank]:
        template = order.template[action]
        line, waits = 3 * template + MAIN, machine.scratch.waits
        if templates[template, NUM_EARLY] > 0 and progress.start[code - 1] < 0:
            own = code - 1
        base_ns = _wait(machine, line, code, own, waits[0])
        if base_ns < 0 or (own >= 0 and _wait(machine, line - 1, own, -1, waits[0]) < 0):
            return BLOCKED if progress.state[BLOCKER] >= 0 else MISSING
    elif begin == end:
        return IDLE
    step[NUM_PARTS] = 0
    if begin < end:
        first, ready_ns = progress.pending[begin], progress.pending_ns[begin]
        if ready_ns < base_ns or (ready_ns == base_ns and first < code):
            _join(machine, rank, first, _unit(machine, first))
            outcome = _complete(machine, rank, -1)
            if outcome != READY or step[LAST] < base_ns:
                return outcome
            if step[LAST] == base_ns and progress.parts[rank, step[NUM_PARTS] - 1] < code:
                return outcome
    step[NUM_PARTS] = 0
    if own >= 0:
        line = len(templates) * 3 + template
    _join(machine, rank, code, line)
    for place in range(begin, end):
        if progress.pending_ns[place] < base_ns and progress.pending[place] != own:
            if step[NUM_PARTS] == MOST_PARTS:
                break
            _join(machine, rank, progress.pending[place], _unit(machine, progress.pending[place]))
    return _complete(machine, rank, own)


@_compiled
def _call(progress: Progress, rank: int) -> None:
    """Let the next step of a rank be found anew."""
    progress.steps[rank, ENTRY] = -1
    progress.stack[progress.state[HEIGHT]] = rank
    progress.state[HEIGHT] += 1


@_compiled
def _expect(machine: Machine, code: int) -> None:
    """Put a part among the pending ones of its rank, if what it waits for is committed."""
    progress = machine.progress
    line = _unit(machine, code)
    ready_ns = _wait(machine, line, code, -1, machine.scratch.waits[0])
    if ready_ns < 0:
        return
    rank = machine.pipeline.templates[line // 3, RANK]
    begin, place = progress.first_pending[0, rank], progress.first_pending[1, rank]
    pending, pending_ns = progress.pending, progress.pending_ns
    while place > begin and (
        pending_ns[place - 1] > ready_ns
        or (pending_ns[place - 1] == ready_ns and pending[place - 1] > code)
    ):
        pending[place], pending_ns[place] = pending[place - 1], pending_ns[place - 1]
        place -= 1
    pending[place], pending_ns[place] = code, ready_ns
    progress.first_pending[1, rank] += 1
    if progress.steps[rank, ENTRY] >= 0 and ready_ns <= progress.steps[rank, LAST]:
        _call(progress, rank)


@_compiled
def _forget(progress: Progress, rank: int, code: int) -> None:
    """Take a part out of the pending ones."""
    begin, place = progress.first_pending[0, rank], progress.first_pending[0, rank]
    end = progress.first_pending[1, rank]
    while place < end and progress.pending[place] != code:
        place += 1
    if place == end:
        return
    while place > begin:
        progress.pending[place] = progress.pending[place - 1]
        progress.pending_ns[place] = progress.pending_ns[place - 1]
        place -= 1
    progress.first_pending[0, rank] += 1


@_compiled
def _take(machine: Machine, rank: int) -> int:
    """Give the rank's step what it holds, if nothing that came before should come after."""
    progress, values = machine.progress, machine.entries.values
    step = progress.steps[rank]
    num_held = _number(machine, rank, step[NUM_PARTS])
    place = machine.entries.rows[step[ENTRY], RESULTS]
    for number in range(num_held):
        resource, at = machine.scratch.resources[number], place + number
        ready_ns = step[BASE] + values[at + FIRST_READY * num_held]
        code = progress.parts[rank, values[at + FIRST_PART * num_held]]
        last_ns = progress.last_ready_ns[resource]
        if ready_ns < last_ns or (ready_ns == last_ns and code < progress.last_code[resource]):
            progress.state[FAILED], progress.state[RESOURCE] = code // 3, resource
            return OVERTAKEN
        progress.free_ns[resource] = step[BASE] + values[at]
        progress.last_ready_ns[resource] = step[BASE] + values[at + LAST_READY * num_held]
        last_part = values[at + LAST_PART * num_held]
        progress.last_code[resource] = progress.parts[rank, last_part]
    return READY


@_compiled
def _finish(machine: Machine, action: int) -> None:
    """Open the gates behind an action whose main part is committed, and tell who waits for it."""
    pipeline, order, progress = machine.pipeline, machine.order, machine.progress
    template, code = order.template[action], 3 * action + MAIN
    rank = pipeline.templates[template, RANK]
    gate, first_start = pipeline.gate_of_rank[rank], progress.start[code]
    for line in range(
        pipeline.templates[template, FIRST_GATE], pipeline.templates[template + 1, FIRST_GATE]
    ):
        open_ns = 0
        for place in range(pipeline.first_exit[line], pipeline.first_exit[line + 1]):
            start_ns = machine.entries.values[first_start + pipeline.exits[place, 0]]
            open_ns = max(open_ns, progress.base_ns[code] + start_ns + pipeline.exits[place, 1])
        progress.gate_ns[gate] = open_ns
        gate += 1
    progress.position[rank] = action + 1
    waiting = progress.first_waiting[action]
    while waiting >= 0:
        _call(progress, waiting)
        waiting = progress.next_waiting[waiting]
    if pipeline.templates[template, NUM_LATE] > 0:
        _expect(machine, code + 1)
    for place in range(pipeline.first_dependent[template], pipeline.first_dependent[template + 1]):
        after = order.where[pipeline.dependents[place], order.microbatch[action]]
        if after >= 0:
            _expect(machine, 3 * after + EARLY)


@_compiled
def _commit(machine: Machine, rank: int) -> int:
    """Commit the rank's step; return what came of it."""
    progress, pipeline = machine.progress, machine.pipeline
    step = progress.steps[rank]
    outcome = _take(machine, rank)
    if outcome != READY:
        return outcome
    row = machine.entries.rows[step[ENTRY]]
    start, finished = row[START], -1
    for part in range(step[NUM_PARTS]):
        code, line = progress.parts[rank, part], progress.lines[rank, part]
        size = machine.classes.kinds[pipeline.units[line, KIND], NUM_MEMBERS]
        if line >= 3 * len(pipeline.templates):
            num_early = pipeline.templates[machine.order.template[code // 3], NUM_EARLY]
            progress.start[code - 1], progress.base_ns[code - 1] = start, step[BASE]
            progress.span[code - 1] = row[SPANS] + 2 * part
            progress.start[code] = start + num_early
            _forget(progress, rank, code - 1)
        else:
            progress.start[code] = start
        progress.base_ns[code], progress.span[code] = step[BASE], row[SPANS] + 2 * part
        start += size
        if code % 3 == MAIN:
            finished = code // 3
        else:
            _forget(progress, rank, code)
    _call(progress, rank)
    if finished >= 0:
        _finish(machine, finished)
    return READY


@_compiled
def _first(machine: Machine) -> int:
    """Return the rank whose next step is over first, or -1."""
    steps, best = machine.progress.steps, -1
    for rank in range(len(steps)):
        if steps[rank, ENTRY] >= 0 and (best < 0 or steps[rank, LAST] < steps[best, LAST]):
            best = rank
    return best


@kept_on_disk
def replay_actions(machine: Machine) -> int:
    """Commit steps until all are done, and return why no more can be.

    :data:`GROW` asks for more room in ``entries``; call again then.
    """
    progress, hurries = machine.progress, machine.pipeline.hurries
    state = progress.state
    while True:
        while state[HEIGHT] > 0:
            rank = progress.stack[state[HEIGHT] - 1]
            outcome = _prepare(machine, rank)
            if outcome == READY and not hurries[rank]:
                state[HEIGHT] -= 1
                outcome = _commit(machine, rank)
                if outcome != READY:
                    return outcome
                continue
            if outcome in (READY, IDLE):
                state[HEIGHT] -= 1
            elif outcome == BLOCKED:
                state[HEIGHT] -= 1
                progress.next_waiting[rank] = progress.first_waiting[state[BLOCKER]]
                progress.first_waiting[state[BLOCKER]] = rank
            else:
                state[FAILED] = min(progress.position[rank], machine.order.last[rank] - 1)
                return outcome
            if outcome != READY:
                progress.steps[rank, ENTRY] = -1
        rank = _first(machine)
        if rank < 0:
            return DONE
        outcome = _commit(machine, rank)
        if outcome != READY:
            return outcome
