"""The working room of one contracted replay: a flat array and views of its tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexsim.engine.contraction_layout import (
    ACTION_SIZE,
    ACTIONS,
    CLOSES,
    CLOSINGS,
    ENTRY,
    GATE_NS,
    HEAD_SIZE,
    HEAP,
    HEIGHT,
    HOLDING_SIZE,
    HOLDINGS,
    JOINED,
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
    START,
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
)
from flexsim.engine.contraction_outline import Outline
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.plan import Plan

_FEW_ENTRIES = 1_000


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
    def of(cls, plan: Plan, outline: Outline) -> Work:
        """Return the room for a replay that has not begun."""
        shapes = _shapes(plan, outline)
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
        _fill_head(values, plan, outline)
        _fill_actions(views[ACTIONS], work, plan, outline)
        _fill_ranks(views[STACK][:, 0], work, plan)
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


def _shapes(plan: Plan, outline: Outline) -> dict[int, tuple[int, int]]:
    """Return rows and columns of all tables."""
    templates, num_actions = plan.templates, len(plan.actions.template)
    num_ranks, most_held = plan.schedule.num_ranks, MOST_PARTS * outline.most_held
    return {
        ACTIONS: (num_actions, ACTION_SIZE),
        WHERE: (templates.num_templates, plan.actions.num_microbatches),
        RANKS: (num_ranks, RANK_SIZE),
        PARTS: (3 * num_actions, PART_SIZE),
        HOLDINGS: (len(templates.resource_table.kind), HOLDING_SIZE),
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


def _fill_head(values: Int64, plan: Plan, outline: Outline) -> None:
    num_ranks = plan.schedule.num_ranks
    values[NUM_MICROBATCHES] = plan.actions.num_microbatches
    values[NUM_RANKS] = values[HEIGHT] = num_ranks
    values[RANK_ROWS], values[JOINED] = outline.first_rank, outline.first_joined
    values[WAITS_SIZE], values[NUMBERS_SIZE] = outline.most_groups, outline.most_held
    values[MOST_NEW] = max(_FEW_ENTRIES, len(plan.actions.template) // 4)


def _fill_actions(rows: Int64, work: Work, plan: Plan, outline: Outline) -> None:
    template, microbatch = plan.actions.template, plan.actions.table.microbatch
    rows[:, TEMPLATE] = outline.first_template + TEMPLATE_SIZE * template
    rows[:, WAITING] = -1
    np.maximum(microbatch, 0, out=rows[:, MICROBATCH])
    work.where[:] = -1
    work.where[template, rows[:, MICROBATCH]] = np.arange(len(template))
    work.parts[:, START] = -1


def _fill_ranks(stack: Int64, work: Work, plan: Plan) -> None:
    ranks, offsets = work.ranks, plan.schedule.rank_offsets
    number = np.arange(len(ranks))
    ranks[:, POSITION], ranks[:, LAST] = offsets[:-1] + number, offsets[1:] + number
    pending = work.values[PENDING] + 2 * PENDING_SIZE * ranks[:, POSITION]
    ranks[:, PENDING_BEGIN] = ranks[:, PENDING_END] = pending
    ranks[:, ENTRY] = -1
    ranks[:, CLOSES] = work.values[CLOSINGS] + number
    work.values[work.values[CLOSINGS] + number] = NEVER_NS
    stack[:] = (work.values[RANKS] + RANK_SIZE * number)[::-1]
    work.holdings[:, LAST_READY_NS] = -1
