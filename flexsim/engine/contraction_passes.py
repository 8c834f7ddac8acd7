"""The passes of a uniform pipeline, replayed by actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.engine.contraction_ends import CROSSING, Line, ends_of
from flexsim.engine.contraction_follow import FOLLOWED, follow_actions
from flexsim.engine.contraction_layout import (
    DONE,
    FREE_NS,
    HIGH,
    HOLDER,
    LAST_READY_NS,
    UNSTEADY,
)
from flexsim.engine.contraction_small import STUCK, TOO_EARLY, end_after
from flexsim.engine.contraction_store import Store
from flexsim.engine.contraction_uniform import Closing, Order, Ranks
from flexsim.engine.contraction_work import Lineup, Work, replay_steps
from flexsim.task_graph.columns import ActionTable, Int64
from flexsim.task_graph.rows import B

_UNSTEADY = "the pipeline has not become steady"


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
    sends_ns: Int64
    """By rank when all that it sent has arrived; without a rank where transfers do not block."""


@dataclass(frozen=True, eq=False)
class Course:
    """What became of the passes of an order, however many windows it leaves out."""

    order: Order
    fullest: tuple[Int64, Int64, Int64]
    """By rank and piece when most is held, what, and what each window left out adds."""
    latest: Line
    tails: Line
    anchors: Line
    free: Line
    last_ready: Line
    sends: Line

    def passes(self, num_windows: int) -> Passes:
        """Return the passes of the order with so many windows left out of each run."""
        actions, held, growth = self.fullest
        total = (held + num_windows * growth).sum(axis=2)
        rank = np.arange(len(actions))
        piece = np.where(actions < 0, -1, total).argmax(axis=1)
        action = actions[rank, piece]
        return Passes(
            int(self.latest.after(num_windows).max()),
            self._rows(action, piece, num_windows),
            action >= 0,
            held[rank, piece] + num_windows * growth[rank, piece],
            self.tails.after(num_windows),
            self.anchors.after(num_windows),
            self.free.after(num_windows),
            self.last_ready.after(num_windows),
            self.sends.after(num_windows),
        )

    def _rows(self, action: Int64, piece: Int64, num_windows: int) -> ActionTable:
        schedule, jump = self.order.schedule, self.order.jump
        microbatch = schedule.microbatch[action]
        if jump is not None:
            added = np.where(
                piece % 2 == 1, jump.drift[action] + jump.turn[action], jump.drift[action]
            )
            microbatch = microbatch + num_windows * added.astype(np.int32)
        return ActionTable(
            schedule.kind[action], schedule.stage[action], microbatch, schedule.rank[action]
        )


def replay_passes(ranks: Ranks, order: Order, held: Held, store: Store) -> Course | str:
    """Return what becomes of the passes of an order, or why contraction is not exact."""
    work = Work.of(order.lineup, ranks.outline(store), store)
    code = replay_steps(store, work)
    if code == UNSTEADY:
        return _UNSTEADY
    if code != DONE or len(work.waiting):
        return "tasks of actions do not follow one another"
    fullest, latest, code = _followed(ranks, order, held, (work, store))
    if code != FOLLOWED:
        return "actions of a rank overlap, or their order changes"
    ends = _ends(ranks, order.lineup, (work, store))
    if ends is None:
        return "a rank does not end with the backward of its first stage"
    if ends.shift.min() == CROSSING:
        return _UNSTEADY
    holdings, count = work.holdings, ranks.num_ranks
    shift, num_sends = holdings[:, HOLDER + HIGH].copy(), len(ranks.kits[0].pattern.sends) and count
    return Course(
        order,
        fullest,
        Line(latest[:, 0], latest[:, 1]),
        Line(ends.ns[:count], ends.shift[:count]),
        Line(ends.ns[count + num_sends :], ends.shift[count + num_sends :]),
        Line(holdings[:, FREE_NS].copy(), shift),
        Line(holdings[:, LAST_READY_NS].copy(), shift),
        Line(ends.ns[count : count + num_sends], ends.shift[count : count + num_sends]),
    )


def _ends(ranks: Ranks, lineup: Lineup, replayed: tuple[Work, Store]) -> Line | None:
    """Return when what updates wait for ends: tails, what is sent, and gradients.

    All are by rank (sent only where transfers block), and then gradients of shared weights. None
    where a rank ends otherwise than with the backward of its first stage.
    """
    work, store = replayed
    stage, pattern = np.arange(ranks.num_ranks), ranks.kits[0].pattern
    if (lineup.template[lineup.last - 1] != 2 * stage + B).any():
        return None
    shared = [0 if at == 0 else len(ranks.place) - 1 for at, _ in pattern.shared]
    actions = [work.where[2 * each + B].max() for each in shared]
    num_kinds, num_places = 3 if pattern.sends else 2, len(pattern.tails)
    row = num_places * np.arange(num_kinds)[:, None] + ranks.place[: ranks.num_ranks]
    rows = np.concatenate([row.reshape(-1), num_kinds * num_places + np.arange(len(shared))])
    asked = np.concatenate([np.tile(lineup.last - 1, num_kinds), np.array(actions, np.int64)])
    if len(ranks.kits) == 1:
        return ends_of(work, store.values, pattern.watches, (asked, rows))
    stages = np.concatenate([np.tile(stage, num_kinds), np.array(shared, np.int64)])
    kit, found = ranks.kit_of_stage[stages], Line(*np.zeros((2, len(rows)), np.int64))
    for number, each in enumerate(ranks.kits):
        own = np.flatnonzero(kit == number)
        some = ends_of(work, store.values, each.pattern.watches, (asked[own], rows[own]))
        found.ns[own], found.shift[own] = some
    return found


def _followed(
    ranks: Ranks, order: Order, held: Held, replayed: tuple[Work, Store]
) -> tuple[tuple[Int64, Int64, Int64], Int64, int]:
    """Return what ranks hold at most, when their last actions end, and what came of following."""
    work, store = replayed
    lineup, jump = order.lineup, order.jump
    num_runs = 0 if jump is None else jump.cut.shape[1]
    shape = ranks.num_ranks, 2 * num_runs + 1
    action, num_kinds = np.full(shape, -1), held.parts.shape[1]
    bytes_held, growth = np.zeros((2, *shape, num_kinds), np.int64)
    latest, none = np.zeros((ranks.num_ranks, 2), np.int64), np.zeros(0, np.int64)
    runs = np.zeros((ranks.num_ranks, 0), np.int64)
    code = follow_actions(
        (work.parts, store.values, ranks.column([kit.pattern.counts for kit in ranks.kits])),
        (lineup.template, lineup.first, lineup.last),
        (held.most, held.parts, held.left),
        (runs, runs, work.shifts, none, none)
        if jump is None
        else (jump.cut, jump.size, work.shifts, jump.roles.segment, jump.roles.window),
        (action, bytes_held, growth, latest),
    )
    return (action, bytes_held, growth), latest, code


def makespan_of(passes: Passes, closing: Closing) -> int | str:
    """Return when passes and updates end, or a sentence on why contraction is not exact."""
    moments = (
        passes.tails_ns,
        passes.anchors_ns,
        passes.free_ns,
        passes.last_ready_ns,
        passes.sends_ns,
    )
    end_ns = end_after(closing.tasks.columns, closing.columns, moments)
    if end_ns == STUCK:
        return "tasks of the update wait for each other"
    if end_ns == TOO_EARLY:
        return "a task of the update becomes ready before one of a backward"
    return max(passes.latest_ns, end_ns)
