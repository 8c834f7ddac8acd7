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
from flexsim.task_graph.columns import Int64
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
    held: Int64
    """What a rank holds at most, by kind of memory."""
    tails_ns: Int64
    """By rank when what its update waits for ends."""
    sends_ns: Int64
    """By rank when all that it sent has arrived; without a rank where transfers do not block."""
    anchors_ns: Int64
    """When gradients are complete: by rank, then by shared weight."""
    free_ns: Int64
    """When every resource is free."""
    last_ready_ns: Int64
    """When the last task that took a resource became ready."""
    course: Course
    fullest: tuple[Int64, Int64, int]
    """By rank the action during which most is held (-1: none) and its piece; windows left out."""

    @property
    def is_held(self) -> NDArray[np.bool_]:
        """Whether a rank holds anything."""
        found: NDArray[np.bool_] = self.fullest[0] >= 0
        return found

    def action(self, rank: int) -> tuple[int, int, int]:
        """Return stage, kind and microbatch of what runs when a rank holds most, if anything."""
        actions, pieces, num_windows = self.fullest
        row, schedule, jump = actions[rank], self.course.order.schedule, self.course.order.jump
        microbatch = int(schedule.microbatch[row])
        if jump is not None:
            more = int(jump.drift[row]) + (int(jump.turn[row]) if pieces[rank] % 2 else 0)
            microbatch += num_windows * more
        return int(schedule.stage[row]), int(schedule.kind[row]), microbatch


def _split(ns: Int64, places: tuple[int, ...]) -> list[Int64]:
    """Return the runs of moments that begin at 0 and at places."""
    spans = zip((0, *places), (*places, len(ns)), strict=True)
    return [ns[begin:end] for begin, end in spans]


@dataclass(frozen=True, eq=False)
class Course:
    """What became of the passes of an order, however many windows it leaves out."""

    order: Order
    fullest: tuple[Int64, Int64, Int64]
    """By rank and piece when most is held, what, and what each window left out adds."""
    moments: Line
    """Of passes: when ranks end, tails, what is sent, anchors, free and last ready."""
    places: tuple[int, ...]
    """Where each of these but the first begins among the moments."""

    def passes(self, num_windows: int) -> Passes:
        """Return the passes of the order with so many windows left out of each run."""
        ns = self.moments.after(num_windows)
        ends, tails, sends, anchors, free, last_ready = _split(ns, self.places)
        action, piece, held = self._fullest(num_windows)
        fullest = action, piece, num_windows
        latest_ns = int(ends.max())
        moments = tails, sends, anchors, free, last_ready
        return Passes(latest_ns, held, *moments, self, fullest)

    def _fullest(self, num_windows: int) -> tuple[Int64, Int64, Int64]:
        """Return by rank the action during which most is held, its piece, and what is held."""
        actions, held, growth = self.fullest
        if actions.shape[1] == 1:
            return actions[:, 0], np.zeros(len(actions), np.int64), held[:, 0]
        held = held + num_windows * growth
        total, rank = held.sum(axis=2), np.arange(len(actions))
        total[actions < 0] = -1
        piece = total.argmax(axis=1)
        return actions[rank, piece], piece, held[rank, piece]


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
    shift = work.holdings[:, HOLDER + HIGH]
    lines = (
        Line(latest[:, 0], latest[:, 1]),
        ends,
        Line(work.holdings[:, FREE_NS], shift),
        Line(work.holdings[:, LAST_READY_NS], shift),
    )
    moments = Line(*(np.concatenate(each) for each in zip(*lines, strict=True)))
    return Course(order, fullest, moments, _places(ranks, len(ends.ns)))


def _places(ranks: Ranks, num_ends: int) -> tuple[int, ...]:
    """Return where tails, what is sent, anchors, free and last ready moments begin."""
    count, num_resources = ranks.num_ranks, ranks.num_ranks * ranks.resources_a_rank
    tails, anchors = count, count * (3 if ranks.kits[0].pattern.sends else 2)
    free = count + num_ends
    return tails, 2 * count, anchors, free, free + num_resources


def _ends(ranks: Ranks, lineup: Lineup, replayed: tuple[Work, Store]) -> Line | None:
    """Return when what updates wait for ends: tails, what is sent, and gradients.

    All are by rank (sent only where transfers block), and then gradients of shared weights. None
    where a rank ends otherwise than with the backward of its first stage.
    """
    work, store = replayed
    pattern, shared = ranks.kits[0].pattern, [at for at, _ in ranks.kits[0].pattern.shared]
    if not lineup.ends_backwards:
        return None
    stages = [0 if at == 0 else len(ranks.place) - 1 for at in shared]
    actions = [int(work.where[2 * each + B].max()) for each in stages]
    num_kinds, num_places = 3 if pattern.sends else 2, len(pattern.tails)
    place, last = ranks.place[: ranks.num_ranks], lineup.last - 1
    beyond = num_kinds * num_places
    kinds = [place + num_places * kind for kind in range(num_kinds)]
    rows = np.concatenate([*kinds, np.arange(beyond, beyond + len(shared))])
    asked = np.concatenate([*([last] * num_kinds), np.array(actions, np.int64)])
    if len(ranks.kits) == 1:
        return ends_of(work, store.values, pattern.watches, (asked, rows))
    own_stage = np.tile(np.arange(ranks.num_ranks), num_kinds)
    stage = np.concatenate([own_stage, np.array(stages, np.int64)])
    kit, found = ranks.kit_of_stage[stage], Line(*np.zeros((2, len(rows)), np.int64))
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
