"""Contracted replay of a uniform pipeline, whose stages share the content of a short one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.contraction_follow import follow_actions
from flexsim.engine.contraction_jump import Jump, steady_ns
from flexsim.engine.contraction_kit import Kit, Watched
from flexsim.engine.contraction_layout import (
    DONE,
    END,
    FREE_NS,
    LAST_READY_NS,
    NUM_EARLY,
    NUMBER,
    RANK,
)
from flexsim.engine.contraction_outline import Outline
from flexsim.engine.contraction_small import Tasks
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_work import Lineup, Work, replay_steps
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, Int32, Int64
from flexsim.task_graph.merged_update import MergedUpdate
from flexsim.task_graph.rows import B
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

    def tables(self) -> tuple[Int64, Int64]:
        """Return the rows of all templates and of all ranks."""
        kit, place = np.repeat(self.kit_of_stage, 2), _templates(self.place)
        rows = np.stack([kit.rows for kit in self.kits])[kit, place]
        number = np.arange(len(rows))
        rows[:, NUMBER], rows[:, RANK] = number, number // 2 % self.num_ranks
        ranks = np.zeros((self.num_ranks, 3), np.int64)
        ranks[:, 0], ranks[:, 1] = np.arange(self.num_ranks), 1
        np.maximum.at(ranks[:, 2], rows[:, RANK], rows[:, NUM_EARLY])
        return rows, ranks

    def column(self, values: Sequence[Int64]) -> Int64:
        """Return a value of every template from those of the kits' templates."""
        found: Int64 = np.stack(values)[np.repeat(self.kit_of_stage, 2), _templates(self.place)]
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


def _templates(places: Int64) -> Int64:
    """Return forward and backward of every stage."""
    found: Int64 = (2 * places[:, None] + np.arange(2)).reshape(-1)
    return found


def lineup_of(schedule: Schedule, resources_a_rank: int) -> Lineup:
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
    )


@dataclass(frozen=True, eq=False)
class Order:
    """The actions of a schedule, or where it repeats those of a shorter one."""

    schedule: Schedule
    lineup: Lineup
    jump: Jump | None


def order_of(schedule: Schedule, jump: Jump | None, resources_a_rank: int) -> Order:
    """Return the order of a schedule, or of the shorter one of a jump."""
    shown = schedule if jump is None else jump.schedule
    return Order(shown, lineup_of(shown, resources_a_rank), jump)


@dataclass(frozen=True, eq=False)
class Closing:
    """The updates of all ranks as tasks; resources are numbered rank by rank."""

    tasks: Tasks
    rank: Int64
    heads: Int64
    """Tasks that wait for the tails of their rank's last backward."""
    waits: tuple[Int64, Int64]
    """Anchors, and the tasks that wait for them: one a rank, then the kits' shared weights."""


def closing_of(update: MergedUpdate, representatives: Int32) -> Closing | str:
    """Return the updates on ranks with these devices (sorted), or why they are not as expected."""
    templates = update.templates
    table, held = templates.resource_table, templates.held
    rank = np.searchsorted(representatives, table.device)
    own = (table.peer < 0).all() and (representatives[rank] == table.device).all()
    if not own or (np.diff(representatives) < 0).any():
        return "an update sends from one rank to another"
    stream = RESOURCES_A_RANK * rank + stream_in_rank(table.kind.astype(np.int64))
    resources = Csr(held.offsets, stream[held.values].astype(np.int32))
    count = RESOURCES_A_RANK * len(representatives)
    edges = templates.sources, templates.targets
    tasks = Tasks.of(templates.duration_ns, resources, count, edges)
    return Closing(tasks, templates.template_of_member, update.heads, update.waits)


class Held(NamedTuple):
    """What each template holds at most, and by kind of memory at most and when it ends."""

    most: Int64
    parts: Int64
    left: Int64


@dataclass(frozen=True, eq=False)
class Passes:
    """What became of all forwards and backwards, whatever updates come after them."""

    latest_ns: int
    """When the last of them ends."""
    later_ns: int
    """How much later each window is that was left out; 0 without a jump."""
    actions: ActionTable
    """By rank that during which most is held; without meaning where nothing is."""
    is_held: NDArray[np.bool_]
    """Whether a rank holds anything."""
    held: Int64
    """What a rank holds at most, by kind of memory."""
    tails_ns: Int64
    """By rank when what its update waits for ends."""
    anchors_ns: Int64
    """When gradients are complete: by rank, then by shared weight."""
    free_ns: Int64
    """When every resource is free."""
    last_ready_ns: Int64
    """When the last task that took a resource became ready."""


def replay_passes(ranks: Ranks, order: Order, held: Held, store: Store) -> Passes | str:
    """Return what becomes of the passes of an order, or why contraction is not exact."""
    lineup, jump = order.lineup, order.jump
    work = Work.of(lineup, ranks.outline(store))
    if replay_steps(store, work) != DONE or len(work.waiting):
        return "tasks of actions do not follow one another"
    action = np.zeros(ranks.num_ranks, np.int64)
    bytes_of_rank = np.zeros((ranks.num_ranks, held.parts.shape[1]), np.int64)
    counts = ranks.column([kit.pattern.counts for kit in ranks.kits])
    latest_ns = follow_actions(
        (work.parts, store.values, counts),
        (lineup.template, lineup.first, lineup.last),
        (held.most, held.parts, held.left),
        (action, bytes_of_rank),
    )
    if latest_ns < 0:
        return "actions of a rank overlap"
    tails_ns, anchors_ns = _ends_of_ranks(ranks, lineup, (work, store))
    if len(tails_ns) == 0:
        return "a rank does not end with the backward of its first stage"
    later_ns = 0 if jump is None else steady_ns(jump, work)
    if later_ns is None or (jump is not None and (action >= jump.cut).any()):
        return "the pipeline has not become steady"
    return Passes(
        latest_ns,
        later_ns,
        _rows(order.schedule, action),
        action >= 0,
        bytes_of_rank,
        tails_ns,
        np.concatenate([anchors_ns, _ends_of_shared(ranks, (work, store))]),
        work.holdings[:, FREE_NS].copy(),
        work.holdings[:, LAST_READY_NS].copy(),
    )


def _rows(schedule: Schedule, actions: Int64) -> ActionTable:
    return ActionTable(
        schedule.kind[actions],
        schedule.stage[actions],
        schedule.microbatch[actions],
        schedule.rank[actions],
    )


def makespan_of(passes: Passes, closing: Closing, num_windows: int) -> int | str:
    """Return when passes and updates end, or a sentence on why contraction is not exact.

    ``num_windows`` were left out of the passes.
    """
    end_ns = _close(passes, closing)
    if isinstance(end_ns, str):
        return end_ns
    return max(passes.latest_ns, end_ns) + num_windows * passes.later_ns


def _close(passes: Passes, closing: Closing) -> int | str:
    """Replay the updates; return when the last of them ends."""
    ready_ns = np.zeros(len(closing.rank), np.int64)
    ready_ns[closing.heads] = passes.tails_ns[closing.rank[closing.heads]]
    anchor, task = closing.waits
    np.maximum.at(ready_ns, task, passes.anchors_ns[anchor])
    done = closing.tasks.replay(ready_ns, passes.free_ns)
    if done is None:
        return "tasks of the update wait for each other or last too long"
    ready_ns, start_ns = done
    held = closing.tasks.held
    if (ready_ns[held.rows] <= passes.last_ready_ns[held.values]).any():
        return "a task of the update becomes ready before one of a backward"
    return int((start_ns + closing.tasks.duration_ns).max(initial=0))


def _ends_of_shared(ranks: Ranks, replayed: tuple[Work, Store]) -> Int64:
    """Return when the last gradient of every shared weight ends."""
    count = len(ranks.kits[0].pattern.shared)
    return np.array([_shared_ns(ranks, number, replayed) for number in range(count)], np.int64)


def _ends_of_ranks(
    ranks: Ranks, lineup: Lineup, replayed: tuple[Work, Store]
) -> tuple[Int64, Int64]:
    """Return when the tails, and the gradients, of every rank's last backward end."""
    none = np.zeros(0, np.int64)
    stage = np.arange(ranks.num_ranks)
    if (lineup.template[lineup.last - 1] != 2 * stage + B).any():
        return none, none
    found = np.zeros((2, ranks.num_ranks), np.int64)
    width = 1 + int(ranks.place.max())
    code = ranks.kit_of_stage[stage] * width + ranks.place[stage]
    for one in np.unique(code).tolist():
        kit, place = divmod(one, width)
        alike = np.flatnonzero(code == one)
        some = ranks.kits[kit].pattern
        for row, watched in enumerate((some.tails[place], some.anchors[place])):
            found[row, alike] = _last_ns(lineup.last[alike] - 1, watched, replayed)
    return found[0], found[1]


def _shared_ns(ranks: Ranks, number: int, replayed: tuple[Work, Store]) -> int:
    """Return when a stage's last gradient of a shared weight ends."""
    stage = 0 if ranks.kits[0].pattern.shared[number][0] == 0 else len(ranks.place) - 1
    _, watched = ranks.kits[ranks.kit_of_stage[stage]].pattern.shared[number]
    action = replayed[0].where[2 * stage + B].max()
    return int(_last_ns(np.array([action]), watched, replayed)[0])


def _last_ns(actions: Int64, watched: Watched, replayed: tuple[Work, Store]) -> Int64:
    """Return when the last of the watched members ends in each of some actions."""
    work, store = replayed
    rows = work.parts[3 * actions[:, None] + watched.part]
    ends_ns = rows[:, :, 1] + store.values[rows[:, :, END] + watched.local]
    last_ns: Int64 = ends_ns.max(axis=1, initial=0)
    return last_ns
