"""The working room of one contracted replay: a flat array and views of its tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_kernel import replay_actions
from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    CLOSES,
    CLOSINGS,
    END,
    ENTRY,
    FIRST_RESOURCE,
    GATE_NS,
    GROW,
    HEAD_SIZE,
    HEAP,
    HEIGHT,
    HOLDING_SIZE,
    HOLDINGS,
    LAST,
    LAST_READY_NS,
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
    Machine,
)
from flexsim.engine.contraction_outline import Outline
from flexsim.engine.contraction_store import Store
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.plan import Plan

_FEW_ENTRIES = 1_000


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

    @classmethod
    def of(cls, lineup: Lineup, outline: Outline) -> Work:
        """Return the room for a replay that has not begun."""
        shapes = _shapes(lineup, outline)
        begin = HEAD_SIZE
        at: dict[int, int] = {}
        for table, (rows, columns) in shapes.items():
            at[table] = begin
            begin += rows * columns
        values = np.zeros(begin, np.int64)
        values[list(at)] = list(at.values())
        views = {
            table: values[at[table] : at[table] + shape[0] * shape[1]].reshape(shape)
            for table, shape in shapes.items()
        }
        work = cls(values, views[WHERE], views[RANKS], views[PARTS], views[HOLDINGS])
        _fill_head(values, lineup, outline)
        _fill_actions(views[ACTIONS], work, lineup, outline)
        _fill_ranks(views[STACK][:, 0], work, lineup)
        return work

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
    most_held = MOST_PARTS * outline.most_held
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
        TASKS: (outline.most_members, TASK_SIZE),
        HEAP: (outline.most_members, 1),
        RESULTS: (NUM_RESULTS, most_held),
    }


def _fill_head(values: Int64, lineup: Lineup, outline: Outline) -> None:
    values[NUM_MICROBATCHES] = lineup.num_microbatches
    values[NUM_RANKS] = values[HEIGHT] = len(lineup.first)
    values[RANK_ROWS] = outline.first_rank
    values[WAITS_SIZE], values[NUMBERS_SIZE] = outline.most_groups, outline.most_held
    values[MOST_NEW] = max(_FEW_ENTRIES, len(lineup.template) // 4)


def _fill_actions(rows: Int64, work: Work, lineup: Lineup, outline: Outline) -> None:
    template, microbatch = lineup.template, lineup.microbatch
    rows[:, TEMPLATE] = outline.first_template + TEMPLATE_SIZE * template
    rows[:, WAITING] = -1
    np.maximum(microbatch, 0, out=rows[:, MICROBATCH])
    work.where[:] = -1
    work.where[template, rows[:, MICROBATCH]] = np.arange(len(template))
    work.parts[:, END] = -1


def _fill_ranks(stack: Int64, work: Work, lineup: Lineup) -> None:
    ranks = work.ranks
    number = np.arange(len(ranks))
    ranks[:, POSITION], ranks[:, LAST] = lineup.first, lineup.last
    ranks[:, FIRST_RESOURCE] = lineup.resources_a_rank * number
    pending = work.values[PENDING] + 2 * PENDING_SIZE * ranks[:, POSITION]
    ranks[:, PENDING_BEGIN] = ranks[:, PENDING_END] = pending
    ranks[:, ENTRY] = -1
    ranks[:, CLOSES] = work.values[CLOSINGS] + number
    work.values[work.values[CLOSINGS] + number] = NEVER_NS
    stack[:] = (work.values[RANKS] + RANK_SIZE * number)[::-1]
    work.holdings[:, LAST_READY_NS] = -1
