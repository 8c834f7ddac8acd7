"""The working room of one contracted replay: a flat array and views of its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexsim.engine.contraction_kernel import replay_actions
from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    CLOSES,
    CLOSINGS,
    END,
    ENTRY,
    FINGERPRINT,
    FIRST_RESOURCE,
    GATE_NS,
    GATE_SHIFTS,
    GROW,
    HEAD_SIZE,
    HEAP,
    HEIGHT,
    HOLDING_SIZE,
    HOLDINGS,
    LAST,
    LAST_READY_NS,
    LEADER,
    LEADS_UNTIL,
    LEAVES_OUT,
    MICROBATCH,
    MOST_NEW,
    MOST_PARTS,
    NEVER_NS,
    NUM_MICROBATCHES,
    NUM_RANKS,
    NUM_RESULTS,
    NUMBERS,
    NUMBERS_SIZE,
    PART_SIZE,
    PARTS,
    PENDING,
    PENDING_BEGIN,
    PENDING_END,
    PENDING_SIZE,
    POSITION,
    RANK_ROWS,
    RANK_SIZE,
    RANKS,
    RESULTS,
    ROLE,
    ROLE_SIZE,
    ROLES,
    RUN_ACTION,
    RUN_LAG,
    RUN_LATEST,
    RUN_SIZE,
    RUNS,
    SEGMENT,
    SHIFT_SIZE,
    SHIFTS,
    STACK,
    STEP_HELD,
    STEP_KEY,
    TASK_SIZE,
    TASKS,
    TEMPLATE,
    TEMPLATE_SIZE,
    WAITING,
    WAITS,
    WAITS_SIZE,
    WHERE,
    WINDOW,
    Machine,
)
from flexsim.engine.contraction_outline import Outline
from flexsim.engine.contraction_store import Store
from flexsim.numba_cache import inlined, kept_on_disk
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.rows import B

_FEW_ENTRIES = 1_000


@dataclass(frozen=True, eq=False)
class Roles:
    """What actions are to the windows that a replay leaves out; a value an action, but ``lag``."""

    segment: Int64
    role: Int64
    window: Int64
    lag: Int64
    """By rank, how many actions behind anything is that waits for it, if not within a window."""


@dataclass(frozen=True, eq=False)
class Lineup:
    """The actions of all ranks, one rank after the other, as a replay takes them."""

    template: Int64
    microbatch: Int32
    num_microbatches: int
    num_templates: int
    first: Int64
    """Of every rank its first action, and one beyond its last; the updates are left out."""
    last: Int64
    num_resources: int
    resources_a_rank: int = 0
    """0 where resources are not numbered rank by rank."""
    roles: Roles | None = None
    """Of actions where windows are left out."""
    leads_until: Int64 | None = None
    """Of every rank one beyond the actions during which nothing comes from later ranks."""

    @cached_property
    def ends_backwards(self) -> bool:
        """Whether every rank, of templates two a stage, ends with the backward of its stage."""
        expected = 2 * np.arange(len(self.last)) + B
        return bool((self.template[self.last - 1] == expected).all())

    @classmethod
    def of(cls, plan: Plan) -> Lineup:
        """Return the actions of a plan whose ranks update at their end."""
        offsets = plan.schedule.rank_offsets
        number = np.arange(plan.schedule.num_ranks)
        return cls(
            plan.actions.template,
            plan.actions.table.microbatch,
            plan.actions.num_microbatches,
            plan.templates.num_templates,
            offsets[:-1] + number,
            offsets[1:] + number,
            len(plan.templates.resource_table.kind),
        )


@dataclass(frozen=True, eq=False)
class Work:
    """The working room; the other fields are views of it."""

    values: Int64
    where: Int64
    """Action of every (template, microbatch), or -1."""
    ranks: Int64
    parts: Int64
    holdings: Int64
    shifts: Int64
    """By part; empty where no windows are left out."""

    @classmethod
    def of(cls, lineup: Lineup, outline: Outline, store: Store | None = None) -> Work:
        """Return the room for a replay that has not begun.

        That of a store lasts until the next replay takes it.
        """
        shapes = _shapes(lineup, outline)
        at, end = {}, HEAD_SIZE
        for table, (rows, columns) in shapes.items():
            at[table] = end
            end += rows * columns
        values = np.empty(end, np.int64) if store is None else store.workroom(end)
        values[: at[TASKS]] = 0
        _fill_head(values, at, lineup, outline)
        roles = lineup.roles or _NO_ROLES
        leads_until = lineup.first if lineup.leads_until is None else lineup.leads_until
        begin(
            values,
            (lineup.template, lineup.microbatch, lineup.first, lineup.last, leads_until),
            (roles.segment, roles.role, roles.window, roles.lag),
            (outline.first_template, lineup.resources_a_rank, lineup.num_resources),
        )
        views = (
            values[at[table] : at[table] + shapes[table][0] * shapes[table][1]].reshape(
                shapes[table]
            )
            for table in (WHERE, RANKS, PARTS, HOLDINGS, SHIFTS)
        )
        return cls(values, *views)

    @property
    def last(self) -> Int64:
        """One beyond the last action of every rank, updates not counted."""
        return self.ranks[:, LAST]

    @property
    def waiting(self) -> Int64:
        """The next action of every rank that has not finished."""
        position = self.ranks[:, POSITION]
        found: Int64 = position[position != self.last]
        return found


def replay_steps(store: Store, work: Work) -> int:
    """Commit all actions, steps that are new simulated; return why it stopped."""
    code = replay_actions(Machine(store.values, work.values))
    while code == GROW:
        store.grow()
        code = replay_actions(Machine(store.values, work.values))
    return code


def _shapes(lineup: Lineup, outline: Outline) -> dict[int, tuple[int, int]]:
    """Return rows and columns of all tables."""
    num_actions, num_ranks = len(lineup.template), len(lineup.first)
    most_held, some = MOST_PARTS * outline.most_held, int(lineup.roles is not None)
    return {
        ACTIONS: (num_actions, ACTION_SIZE),
        WHERE: (lineup.num_templates, lineup.num_microbatches),
        RANKS: (num_ranks, RANK_SIZE),
        PARTS: (3 * num_actions, PART_SIZE),
        HOLDINGS: (lineup.num_resources, HOLDING_SIZE),
        GATE_NS: (outline.num_gates, 1),
        PENDING: (2 * num_actions, PENDING_SIZE),
        STACK: (num_ranks, 1),
        CLOSINGS: (num_ranks, 1),
        WAITS: (MOST_PARTS, outline.most_groups),
        STEP_KEY: (MOST_PARTS * (1 + outline.most_groups) + 2 * most_held + 1, 1),
        STEP_HELD: (most_held, 1),
        NUMBERS: (MOST_PARTS, outline.most_held),
        RESULTS: (NUM_RESULTS, most_held),
        ROLES: (some * num_actions, ROLE_SIZE),
        SHIFTS: (some * 3 * num_actions, SHIFT_SIZE),
        GATE_SHIFTS: (some * outline.num_gates, SHIFT_SIZE),
        RUNS: (some * num_ranks, RUN_SIZE),
        TASKS: (outline.most_members, TASK_SIZE),  # these two are filled step by step
        HEAP: (outline.most_members, 1),
    }


def _fill_head(values: Int64, at: dict[int, int], lineup: Lineup, outline: Outline) -> None:
    head = [0] * HEAD_SIZE
    for table, address in at.items():
        head[table] = address
    head[NUM_MICROBATCHES] = lineup.num_microbatches
    head[NUM_RANKS] = head[HEIGHT] = len(lineup.first)
    head[RANK_ROWS] = outline.first_rank
    head[WAITS_SIZE], head[NUMBERS_SIZE] = outline.most_groups, outline.most_held
    head[MOST_NEW] = max(_FEW_ENTRIES, len(lineup.template) // 4)
    head[LEAVES_OUT] = int(lineup.roles is not None)
    values[:HEAD_SIZE] = head


@inlined
def _begin_roles(work: Int64, roles: tuple[Int64, Int64, Int64, Int64], first: Int64) -> None:
    """Fill what a replay needs that leaves out windows."""
    segment, role, window, lag = roles
    for action in range(len(segment)):
        at = work[ROLES] + ROLE_SIZE * action
        work[at + SEGMENT], work[at + ROLE] = segment[action], role[action]
        work[at + WINDOW] = window[action]
    for rank in range(len(lag)):
        at = work[RUNS] + RUN_SIZE * rank
        work[at + RUN_LAG], work[at + RUN_ACTION] = lag[rank], first[rank] - 1
        work[at + RUN_LATEST] = first[rank]


def _made(fingerprint: int) -> Callable[..., None]:
    """Return the function that fills a working room, compiled from files of one fingerprint."""

    @kept_on_disk
    def begin(
        work: Int64,
        columns: tuple[Int64, Int32, Int64, Int64, Int64],
        roles: tuple[Int64, Int64, Int64, Int64],
        numbers: tuple[int, int, int],
    ) -> None:
        """Fill the tables of a working room whose head is filled: nothing is committed.

        ``columns`` are templates and microbatches of actions, first and last (and one beyond) of
        ranks, and how far these lead; ``roles`` those of actions and the lag of ranks, empty
        where no windows are left out; ``numbers`` where templates are, resources a rank, and
        resources.
        """
        template, microbatch, first, last, leads_until = columns
        first_template, resources_a_rank, num_resources = numbers
        for place in range(work[WHERE], work[RANKS]):  # tables follow one another
            work[place] = -1 + 0 * fingerprint
        for action in range(len(template)):
            at, number = work[ACTIONS] + ACTION_SIZE * action, max(0, microbatch[action])
            work[at + TEMPLATE] = first_template + TEMPLATE_SIZE * template[action]
            work[at + WAITING], work[at + MICROBATCH] = -1, number
            work[work[WHERE] + template[action] * work[NUM_MICROBATCHES] + number] = action
            for part in range(3):
                work[work[PARTS] + PART_SIZE * (3 * action + part) + END] = -1
        for rank in range(len(first)):
            at = work[RANKS] + RANK_SIZE * rank
            work[at + POSITION], work[at + LAST], work[at + ENTRY] = first[rank], last[rank], -1
            work[at + FIRST_RESOURCE] = resources_a_rank * rank
            work[at + LEADS_UNTIL], work[at + LEADER] = leads_until[rank], -1
            work[at + PENDING_BEGIN] = work[PENDING] + 2 * PENDING_SIZE * first[rank]
            work[at + PENDING_END] = work[at + PENDING_BEGIN]
            work[at + CLOSES] = work[CLOSINGS] + rank
            work[work[CLOSINGS] + rank] = NEVER_NS
            work[work[STACK] + len(first) - 1 - rank] = at
        for resource in range(num_resources):
            work[work[HOLDINGS] + HOLDING_SIZE * resource + LAST_READY_NS] = -1
        _begin_roles(work, roles, first)

    return begin


begin = _made(FINGERPRINT)
_NO_ROLES = Roles(*np.zeros((4, 0), np.int64))
