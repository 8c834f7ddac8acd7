"""The compiled inner loops of the contracted replay: actions committed instead of tasks.

Everything that is compiled stands in this one file, since a compiled function kept on disk is
thrown away when its own file changes, not when a file that it calls does.

Times inside an entry (a schedule of one action that was simulated once) are relative to the
moment when the action's first tasks become ready, its *base*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from flexsim.numba_cache import kept_on_disk
from flexsim.task_graph.columns import Int32, Int64

_Function = TypeVar("_Function", bound=Callable[..., Any])

DONE, GROW, STUCK, MISSING, OVERTAKEN, TOO_MANY = range(6)
"""Why :func:`replay_actions` returned."""
DURATION, FIRST_HELD, LAST_HELD, FIRST_NEXT, LAST_NEXT, NUM_BEFORE, GROUP = range(7)
"""Columns of ``Classes.members``."""
KIND, FIRST_RESOURCE, FIRST_GROUP, FIRST_GATE, RANK = range(5)
"""Columns of ``Pipeline.templates``."""
FIRST_MEMBER, NUM_MEMBERS, NUM_RESOURCES, NUM_GROUPS = range(4)
"""Columns of ``Classes.kinds``."""
KEY, NEXT, START, FIRST_NS, LAST_NS = range(5)
"""Columns of ``Entries.rows``."""
_NEVER_NS = 2**62
NUM_BUCKETS = 1 << 14


class Classes(NamedTuple):
    """What may happen inside actions: templates of equal content are of one kind.

    ``members`` has a row a task; ``held`` and ``following`` are numbers inside the template.
    """

    kinds: Int64
    members: Int64
    held: Int64
    following: Int64


class Entries(NamedTuple):
    """Schedules of single actions that have been simulated.

    Row e of ``rows`` tells where its key and results lie in ``values``: the key (when each
    group of heads becomes ready, when each resource becomes free), then by resource when it
    becomes free, and the first and the last moment when a task that holds it becomes ready,
    then the start of every task. ``buckets`` heads lists of entries with one hash.
    """

    rows: Int64
    values: Int64
    buckets: Int32
    sizes: Int64
    """Rows used, values used."""


class Pipeline(NamedTuple):
    """How templates are joined: tables with a row a template, a group of heads or a gate."""

    templates: Int64
    resources: Int64
    first_source: Int64
    sources: Int64
    """Rows of (template, member) that a group waits for."""
    first_gate: Int64
    gates: Int64
    """Gates of the rank's previous action that a group waits for."""
    first_exit: Int64
    exits: Int64
    """Members of a template that make one of its gates."""
    gate_of_rank: Int64


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
    entry: Int64
    """Entry of every action; -1 until it is committed."""
    base_ns: Int64
    gate_ns: Int64
    """When each gate of the last action of a rank opens."""
    free_ns: Int64
    last_ready_ns: Int64
    """When the last committed task that holds a resource became ready."""
    stack: Int64
    """Ranks that can go on."""
    first_waiting: Int64
    """A rank that waits for an action, or -1."""
    next_waiting: Int64
    """Another rank that waits for the same action, or -1."""
    state: Int64
    """Ranks on the stack, entries made, and the action and resource of a failure."""


class Scratch(NamedTuple):
    """Room for one simulation."""

    key: Int64
    ready_ns: Int64
    missing: Int64
    start_ns: Int64
    heap: Int64
    results: Int64
    """Three rows: when a resource becomes free, its first and its last ready time."""


def _compiled(function: _Function) -> _Function:
    """Compile ``function`` together with those in this file that call it."""
    return cast(_Function, numba.njit(function))


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
    return first


@_compiled
def _simulate(classes: Classes, kind: int, scratch: Scratch) -> int:
    """Commit the tasks of a template in order of (ready time, number); return how many could be.

    ``scratch.ready_ns`` has what each task waits for from outside, ``scratch.results[0]`` when
    resources become free.
    """
    members, held, following = classes.members, classes.held, classes.following
    ready_ns, missing, start_ns = scratch.ready_ns, scratch.missing, scratch.start_ns
    heap, results = scratch.heap, scratch.results
    first, num_members, num_resources = classes.kinds[kind, :3]
    results[1, :num_resources] = _NEVER_NS
    results[2, :num_resources] = -1
    num_queued, num_done = 0, 0
    for task in range(num_members):
        missing[task] = members[first + task, NUM_BEFORE]
        if missing[task] == 0:
            _push(heap, num_queued, task, ready_ns)
            num_queued += 1
    while num_queued > 0:
        task = _pop(heap, num_queued, ready_ns)
        num_queued, num_done = num_queued - 1, num_done + 1
        row = first + task
        begin_ns = ready_ns[task]
        for place in range(members[row, FIRST_HELD], members[row, LAST_HELD]):
            begin_ns = max(begin_ns, results[0, held[place]])
        end_ns = begin_ns + members[row, DURATION]
        for place in range(members[row, FIRST_HELD], members[row, LAST_HELD]):
            resource = held[place]
            results[0, resource] = end_ns
            results[1, resource] = min(results[1, resource], ready_ns[task])
            results[2, resource] = max(results[2, resource], ready_ns[task])
        start_ns[task] = begin_ns
        for place in range(members[row, FIRST_NEXT], members[row, LAST_NEXT]):
            follower = following[place]
            ready_ns[follower] = max(ready_ns[follower], end_ns)
            missing[follower] -= 1
            if missing[follower] == 0:
                _push(heap, num_queued, follower, ready_ns)
                num_queued += 1
    return num_done


@kept_on_disk
def simulate(classes: Classes, kind: int, scratch: Scratch) -> int:
    """Simulate one template: see ``_simulate``."""
    return _simulate(classes, kind, scratch)


@kept_on_disk
def inherit(own: Int64, sources: Int64, targets: Int64, before: Int64) -> None:
    """Set ``before`` to the bits in ``own`` of all tasks before each, edges sorted by target."""
    for edge in range(len(sources)):
        before[targets[edge]] |= before[sources[edge]] | own[sources[edge]]


@_compiled
def _hash(key: Int64, length: int, kind: int) -> int:
    code = np.uint64(kind + 1)
    for place in range(length):
        code = (code ^ np.uint64(key[place])) * np.uint64(0x9E3779B97F4A7C15)
        code ^= code >> np.uint64(29)
    return np.int64(code & np.uint64(NUM_BUCKETS - 1))


@_compiled
def _find(entries: Entries, key: Int64, length: int) -> int:
    """Return the entry with the key of this length (its hash stands behind it), or -1."""
    entry = entries.buckets[key[length]]
    while entry >= 0:
        offset = entries.rows[entry, KEY]
        place = 0
        while place < length and entries.values[offset + place] == key[place]:
            place += 1
        if place == length:
            return entry
        entry = entries.rows[entry, NEXT]
    return -1


@_compiled
def _add(classes: Classes, kind: int, entries: Entries, scratch: Scratch, length: int) -> int:
    """Simulate an action and keep the result; return its entry, -1 if its tasks cannot end."""
    first, num_members, num_resources, num_groups = classes.kinds[kind]
    key, results = scratch.key, scratch.results
    for task in range(num_members):
        group = classes.members[first + task, GROUP]
        scratch.ready_ns[task] = key[1 + group] if group >= 0 else 0
    for resource in range(num_resources):
        results[0, resource] = key[1 + num_groups + resource]
    if _simulate(classes, kind, scratch) < num_members:
        return -1
    entry, offset = entries.sizes[0], entries.sizes[1]
    values, row = entries.values, entries.rows[entry]
    row[KEY], row[NEXT], row[START] = offset, entries.buckets[key[length]], offset
    entries.buckets[key[length]] = entry
    values[offset : offset + length] = key[:length]
    offset += length
    for line in range(3):
        values[offset : offset + num_resources] = results[line, :num_resources]
        offset += num_resources
    row[START] = offset
    values[offset : offset + num_members] = scratch.start_ns[:num_members]
    row[FIRST_NS], row[LAST_NS] = scratch.start_ns[:num_members].min(), 0
    for task in range(num_members):
        end_ns = scratch.start_ns[task] + classes.members[first + task, DURATION]
        row[LAST_NS] = max(row[LAST_NS], end_ns)
    entries.sizes[0], entries.sizes[1] = entry + 1, offset + num_members
    return entry


@kept_on_disk
def replay_actions(
    classes: Classes,
    entries: Entries,
    pipeline: Pipeline,
    schedule: tuple[Order, Progress],
    scratch: Scratch,
) -> int:
    """Commit actions until all are done, and return why no more can be.

    :data:`GROW` asks for more room in ``entries``; call again then.
    """
    kinds, members, _, _ = classes
    rows, values, _, sizes = entries
    templates, resources, first_source, sources, first_gate, gates = pipeline[:6]
    first_exit, exits, gate_of_rank = pipeline[6:]
    template_of, microbatch, where, last = schedule[0]
    position, entry_of, base_of, gate_ns, free_ns, last_ready_ns = schedule[1][:6]
    stack, first_waiting, next_waiting, state = schedule[1][6:]
    key = scratch.key
    height = state[0]
    while height > 0:
        rank = stack[height - 1]
        action = position[rank]
        if action == last[rank]:
            height -= 1
            continue
        template = template_of[action]
        kind = templates[template, KIND]
        num_members, num_resources = kinds[kind, NUM_MEMBERS], kinds[kind, NUM_RESOURCES]
        num_groups = kinds[kind, NUM_GROUPS]
        base_ns, blocker = _NEVER_NS, -1
        for group in range(num_groups):
            line = templates[template, FIRST_GROUP] + group
            ready_ns = 0
            for place in range(first_gate[line], first_gate[line + 1]):
                ready_ns = max(ready_ns, gate_ns[gates[place]])
            for place in range(first_source[line], first_source[line + 1]):
                source = where[sources[place, 0], microbatch[action]]
                if source < 0:
                    state[2] = action
                    return MISSING
                entry = entry_of[source]
                if entry < 0:
                    blocker = source
                    break
                member = sources[place, 1]
                source_row = kinds[templates[sources[place, 0], KIND], FIRST_MEMBER] + member
                end_ns = base_of[source] + values[rows[entry, START] + member]
                ready_ns = max(ready_ns, end_ns + members[source_row, DURATION])
            key[1 + group] = ready_ns
            base_ns = min(base_ns, ready_ns)
        if blocker >= 0:
            next_waiting[rank] = first_waiting[blocker]
            first_waiting[blocker] = rank
            height -= 1
            continue
        key[0] = kind
        for group in range(num_groups):
            key[1 + group] -= base_ns
        first_resource = templates[template, FIRST_RESOURCE]
        for place in range(num_resources):
            free = free_ns[resources[first_resource + place]]
            key[1 + num_groups + place] = max(0, free - base_ns)
        length = 1 + num_groups + num_resources
        key[length] = _hash(key, length, kind)
        entry = _find(entries, key, length)
        if entry < 0:
            needed = length + 3 * num_resources + num_members
            if sizes[0] >= len(rows) or sizes[1] + needed > len(values):
                state[0] = height
                return GROW
            if state[1] >= state[4]:
                return TOO_MANY
            state[1] += 1
            entry = _add(classes, kind, entries, scratch, length)
            if entry < 0:
                state[2] = action
                return STUCK
        offset = rows[entry, KEY] + length
        for place in range(num_resources):
            resource = resources[first_resource + place]
            if base_ns + values[offset + num_resources + place] < last_ready_ns[resource]:
                state[2], state[3] = action, resource
                return OVERTAKEN
            free_ns[resource] = base_ns + values[offset + place]
            last_ready_ns[resource] = base_ns + values[offset + 2 * num_resources + place]
        entry_of[action], base_of[action] = entry, base_ns
        gate = gate_of_rank[rank]
        first_member = kinds[kind, FIRST_MEMBER]
        first_start = rows[entry, START]
        for line in range(templates[template, FIRST_GATE], templates[template + 1, FIRST_GATE]):
            open_ns = 0
            for place in range(first_exit[line], first_exit[line + 1]):
                end_ns = values[first_start + exits[place]]
                end_ns += members[first_member + exits[place], DURATION]
                open_ns = max(open_ns, base_ns + end_ns)
            gate_ns[gate] = open_ns
            gate += 1
        position[rank] = action + 1
        waiting = first_waiting[action]
        while waiting >= 0:
            stack[height] = waiting
            height += 1
            waiting = next_waiting[waiting]
    state[0] = 0
    return DONE
