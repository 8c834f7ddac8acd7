"""The records of the contracted replay, as places in flat arrays of integers.

The tasks of an action fall into three *parts*, each a run of ids: its early part (communication
that waits for data only), its main part, and its late part (what ends after the next action of
the rank may begin). A part of action a has the code ``3 · a + part``; codes grow with ids.

A *step* commits a few parts of one rank that overlap, mostly the main part of an action alone.
What happens inside a step is an *entry*, simulated once and found again by its key. Times in it
are relative to the step's *base*: the moment when its first task becomes ready.

Records lie in two flat arrays and point to each other by address: passing many arrays to many
functions would take Numba a minute to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from zlib import crc32

import numba

from flexsim.task_graph.columns import Int64

_Function = TypeVar("_Function", bound=Callable[..., Any])


EARLY, MAIN, LATE = range(3)
READY, MISS, GROW, TOO_MANY, STUCK, MISSING, OVERTAKEN, BLOCKED, IDLE, DONE = range(10)
UNSTEADY = 10
"""What came of a step, and why a replay stopped."""
NEVER_NS = 2**62
MOST_PARTS = 12
"""Parts of one step."""

NUM_MEMBERS, NUM_HELD, NUM_GROUPS, MEMBERS = range(4)
"""A kind: the content of a part. Rows of its members follow, then what those point to."""
DURATION, HELD, HELD_END, FOLLOWING, FOLLOWING_END, NUM_BEFORE, GROUP, MEMBER_SIZE = range(8)
"""A member of a kind; addresses are relative to the kind's."""

NUM_VALUES, NUM_ENTRIES, BUCKETS = range(3)
"""The head of the store."""
NUM_BUCKETS = 1 << 14
NEXT, LENGTH, CLOSE, SPANS, ENDS, KEY = range(6)
"""An entry: the next one of its bucket, what its key has, when its last task becomes ready, and
where spans of parts and ends of tasks are. Its key follows, then results by resource."""
FREE, FIRST_READY, FIRST_PART, LAST_READY, LAST_PART, NUM_RESULTS = range(6)
"""Rows of results: when the resource becomes free; first and last ready time of those that hold
it, and their parts."""

KIND, RESOURCES, GROUPS, IS_JOINED, UNIT_SIZE = range(5)
"""A unit: what a part of a template is, or (1: joined) its early and main part together.
Resources and gates are numbered from the first of their rank, templates from the unit's own, so
that templates of equal content share their units."""
SOURCES, SOURCES_END, GATES, GATES_END, GROUP_SIZE = range(5)
"""A group of heads: tasks of other parts, and gates of the rank, that it waits for."""
SOURCE_TEMPLATE, SOURCE_PART, SOURCE_MEMBER, SOURCE_SIZE = range(4)
UNITS, BOTH, NUM_EARLY, NUM_LATE, RANK, NUMBER, EXIT_ROWS, DEPENDENTS, DEPENDENTS_END = range(9)
TEMPLATE_SIZE = 9
"""A template: its units (three, and one of early and main together), its rank and itself by
number, and the templates, numbered from it, whose early part waits for it."""
EXITS, EXITS_END, EXIT_ROW_SIZE = range(3)
"""What opens one gate of the rank: members of the main part."""
FIRST_GATE, NUM_GATES, HURRIES, RANK_ROW_SIZE = range(4)
"""What a schedule does not change of a rank; it hurries if its steps need an order in time."""

ACTIONS, WHERE, RANKS, CLOSINGS, PARTS, HOLDINGS, GATE_NS, PENDING, STACK = range(9)
"""The head of the working room: where its tables are."""
WAITS, STEP_KEY, STEP_HELD, NUMBERS, TASKS, HEAP, RESULTS = range(9, 16)
NUM_MICROBATCHES, NUM_RANKS, WAITS_SIZE, NUMBERS_SIZE, MOST_NEW = range(16, 21)
HEIGHT, NUM_NEW, FAILED, RESOURCE, BLOCKER, MISSED = range(21, 27)
KEY_LENGTH, NUM_STEP_HELD, RANK_ROWS = range(27, 30)
"""Of the pipeline: what a schedule does not change of ranks."""
ROLES, SHIFTS, GATE_SHIFTS, RUNS, LEAVES_OUT, STEP_LOW, STEP_HIGH, NUM_LED = range(30, 38)
"""Tables of a replay that leaves out windows (1: it does), shifts of the step at hand, and how
many actions were committed right behind one that led."""
HEAD_SIZE = NUM_LED + 1
TEMPLATE, MICROBATCH, WAITING, ACTION_SIZE = range(4)
"""An action: the address of its template; a rank that waits for it, or -1."""
POSITION, LAST, PENDING_BEGIN, PENDING_END, ENTRY, BASE, SIZE, NEXT_WAITING = range(8)
FIRST_RESOURCE, LEADS_UNTIL, LEADER, CODES = range(8, 12)
"""A rank: its next action, one beyond its last, its pending parts, its next step (no entry: -1),
another rank that waits for the same action, the resource that its are numbered from, one beyond
the actions that lead, and the one whose main part was its last step (another step: -1). Codes and
units of the step's parts follow, and where it is kept when the last task of the step becomes ready
(no step: never)."""
STEP_UNITS = CODES + MOST_PARTS
CLOSES = STEP_UNITS + MOST_PARTS
RANK_SIZE = CLOSES + 1
END, BASE_NS, SPAN, PART_SIZE = range(4)
"""A part: where its ends are (-1: not committed), their base, where its span is."""
FREE_NS, LAST_READY_NS, LAST_CODE, HOLDER, HOLDING_SIZE = 0, 1, 2, 3, 6
"""A resource: the last task that holds it, by ready time and part, and its step's shift."""
LOW, HIGH, SHIFT_SEGMENT, SHIFT_SIZE = range(4)
"""A shift: how much later, for every window left out of each run, something happens in the longer
iteration: itself, and the last of the windows that repeat it; and its segment."""
SEGMENT, ROLE, WINDOW, LATEST_NS, LATEST_SHIFT, ROLE_SIZE = range(6)
"""An action: its segment (2k + 1: the windows before cut k; 2k + 2: what follows them), its role
among these windows, actions of a window; when its parts end, and their shift."""
NO_ROLE, FIRST, MIDDLE, FINAL = range(4)
RUN_LAG, RUN_ACTION, RUN_NS, RUN_SHIFT, RUN_LATEST, RUN_SIZE = range(6)
"""A rank: an action, so many before the one at hand, and when all that are not after it end so
far, and their shift; the last action of which anything was committed."""
PENDING_CODE, PENDING_NS, PENDING_SIZE = range(3)
"""A part that is known but not committed; by rank, in order of (ready time, code)."""
ROW, PART, MEMBER, READY_NS, LEFT, START_NS, TASK_SIZE = range(7)
"""A task of a simulation: address in the kinds, part, number, predecessors that are left."""


class Machine(NamedTuple):
    """All that a replay works on."""

    store: Int64
    """Kinds, entries and pipelines."""
    work: Int64


def compiled(function: _Function) -> _Function:
    """Compile ``function`` into functions kept on disk that are made with :data:`FINGERPRINT`."""
    options = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(_Function, numba.njit(**options)(function))


def _fingerprint() -> int:
    """Return a number of the files that compiled code is made of.

    A function kept on disk that mentions it is thrown away when any of them changes.
    """
    code = 0
    for name in ("layout", "lookup", "kernel", "steps", "steady", "commit", "lead"):
        with suppress(OSError):
            code = crc32((Path(__file__).parent / f"contraction_{name}.py").read_bytes(), code)
    return code


FINGERPRINT = _fingerprint()
