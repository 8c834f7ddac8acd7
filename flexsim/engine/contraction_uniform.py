"""Contracted replay of a uniform pipeline, whose stages share the content of a short one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from flexsim.engine.contraction_jump import Jump
from flexsim.engine.contraction_kit import Kit
from flexsim.engine.contraction_layout import (
    FIRST_GATE,
    HURRIES,
    NUM_EARLY,
    NUM_GATES,
    NUMBER,
    RANK,
    RANK_ROW_SIZE,
)
from flexsim.engine.contraction_outline import Outline
from flexsim.engine.contraction_small import Tasks
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_work import Lineup
from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.merged_update import MergedUpdate
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.rows import F
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.short import RESOURCES_A_RANK, stream_in_rank


@dataclass(frozen=True, eq=False)
class Ranks:
    """A long pipeline put together from kits: one of them and a stage of it for every stage."""

    kits: tuple[Kit, ...]
    kit_of_stage: Int64
    place: Int64
    num_ranks: int
    resources_a_rank: int

    @cached_property
    def _index(self) -> Int64:
        """Where every template is among those of all kits."""
        pair = np.arange(2)
        stage = len(self.kits[0].rows) * self.kit_of_stage + 2 * self.place
        found: Int64 = (stage[:, None] + pair).reshape(-1)
        return found

    def tables(self) -> tuple[Int64, Int64]:
        """Return the rows of all templates and of all ranks."""
        rows = self.column([kit.rows for kit in self.kits])
        number, rank = _numbers(len(rows), self.num_ranks)
        rows[:, NUMBER], rows[:, RANK] = number, rank
        ranks = np.empty((self.num_ranks, RANK_ROW_SIZE), np.int64)
        ranks[:, FIRST_GATE], ranks[:, NUM_GATES] = number[: self.num_ranks], 1
        ranks[:, HURRIES] = rows[:, NUM_EARLY].reshape(-1, self.num_ranks, 2).max(axis=(0, 2))
        return rows, ranks

    def column(self, values: Sequence[Int64]) -> Int64:
        """Return a value of every template from those of the kits' templates."""
        found: Int64 = (values[0] if len(values) == 1 else np.concatenate(values))[self._index]
        return found

    def outline(self, store: Store) -> Outline:
        """Lay the tables out in the store."""
        template_rows, rank_rows = store.lay_out(self.tables())
        outlines = [kit.pattern.outline for kit in self.kits]
        return Outline(
            outlines[0].bounds,
            template_rows,
            rank_rows,
            self.num_ranks,
            max(each.most_members for each in outlines),
            max(each.most_held for each in outlines),
            max(each.most_groups for each in outlines),
        )


@lru_cache(maxsize=256)
def _numbers(num_templates: int, num_ranks: int) -> tuple[Int64, Int64]:
    """Return numbers of templates and their ranks."""
    number = np.arange(num_templates)
    return number, number // 2 % num_ranks


def lineup_of(schedule: Schedule, resources_a_rank: int, jump: Jump | None = None) -> Lineup:
    """Return the forwards and backwards of a schedule without its updates."""
    return Lineup(
        2 * schedule.stage.astype(np.int64) + schedule.kind,
        schedule.microbatch,
        schedule.num_microbatches,
        2 * schedule.num_stages,
        schedule.rank_offsets[:-1],
        schedule.rank_offsets[1:],
        resources_a_rank * schedule.num_ranks,
        resources_a_rank,
        None if jump is None else jump.roles,
        _leads_until(schedule),
    )


def _leads_until(schedule: Schedule) -> Int64:
    """Return by rank one beyond its forwards where all ranks, of a stage each, begin with all.

    A backward of a later rank comes after its last forward, and so after the last of earlier
    ranks; elsewhere none lead.
    """
    first, count = schedule.rank_offsets[:-1].astype(np.int64), schedule.num_microbatches
    if schedule.num_stages != schedule.num_ranks or (np.diff(schedule.rank_offsets) < count).any():
        return first
    rows = ragged_ranges(first, np.full(len(first), count))
    own_stage = np.repeat(schedule.stage[first], count)
    begins = (schedule.kind[rows] == F) & (schedule.stage[rows] == own_stage)
    return first + count if begins.all() else first


@dataclass(frozen=True, eq=False)
class Order:
    """The actions of a schedule, or where it repeats those of a shorter one."""

    schedule: Schedule
    lineup: Lineup
    jump: Jump | None

    def stands_for(self, long: Schedule) -> bool:
        """Whether it may be replayed in place of a longer schedule."""
        return self.jump is not None and self.jump.stands_for(long)

    def of_later_runs(self, long: Schedule) -> Order | None:
        """Return the order that leaves windows out of all runs but the first, if there are more.

        It stands for the longer schedule alone.
        """
        jump = None if self.jump is None else self.jump.of_later_runs(long)
        if jump is None:
            return None
        return order_of(jump.schedule, jump, self.lineup.resources_a_rank)

    @property
    def leaves_out(self) -> int:
        """Return a number of the runs that it leaves windows out of."""
        return 0 if self.jump is None else (1 if self.jump.num_left_out is None else 2)

    def num_windows(self, num_microbatches: int) -> int:
        """Return how many windows of a longer iteration it leaves out of each run."""
        return 0 if self.jump is None else self.jump.num_windows(num_microbatches)


def order_of(schedule: Schedule, jump: Jump | None, resources_a_rank: int) -> Order:
    """Return the order of a schedule, or of the shorter one of a jump."""
    shown = schedule if jump is None else jump.schedule
    return Order(shown, lineup_of(shown, resources_a_rank, jump), jump)


@dataclass(frozen=True, eq=False)
class Closing:
    """The updates of all ranks as tasks; resources are numbered rank by rank."""

    tasks: Tasks
    rank: Int64
    heads: Int64
    """Tasks that wait for the tails of their rank's last backward."""
    waits: tuple[Int64, Int64]
    """Anchors, and the tasks that wait for them: one a rank, then the kits' shared weights."""
    entries: Int64
    """Tasks that wait for what their rank sends last, where transfers block."""

    @cached_property
    def columns(self) -> tuple[Int64, Int64, Int64, Int64, Int64]:
        """What tasks wait for, as :func:`end_after` takes it."""
        found = self.rank, self.heads, *self.waits, self.entries
        rank, heads, anchors, waiting, entries = (
            np.ascontiguousarray(each, np.int64) for each in found
        )
        return rank, heads, anchors, waiting, entries


def closing_of(update: MergedUpdate) -> Closing:
    """Return the updates of all ranks as tasks of their streams."""
    holds, count = update.holds, len(update.static_memory.device)
    stream = np.repeat(stream_in_rank(update.kind), holds.counts)
    resources = Csr(holds.offsets, (RESOURCES_A_RANK * holds.values + stream).astype(np.int32))
    tasks = Tasks.of(update.duration_ns, resources, RESOURCES_A_RANK * count, update.edges)
    return Closing(tasks, update.rank, update.heads, update.waits, update.entries)
