"""Leaving out of a replay what repeats: steady states of a pipeline, each shown to be one.

Where an iteration has more microbatches, every rank runs more *windows* of actions, each as the
one before it with the next microbatches: one run of windows in 1F1B, interleaved or not; two in
GPipe, forwards and then backwards. A shorter iteration has fewer windows in each run. Which
these are is seen from two schedules, of which one has one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flexsim.engine.contraction_cuts import find_cuts
from flexsim.engine.contraction_layout import FINAL, FIRST, MIDDLE
from flexsim.engine.contraction_work import Roles
from flexsim.task_graph.columns import Int32, Int64
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.rows import F
from flexsim.task_graph.schedules import Schedule

_LEAST_WINDOWS = 2
"""Windows before each cut at least, from which it follows how those left out run."""
_MOST_RUNS, _MOST_ATTEMPTS = 16, 8
_SLACKS = (2, 1)
"""Actions that may begin beside one that comes before them on their rank; tried in this order."""
_FAR = 1 << 30


@dataclass(frozen=True, eq=False)
class Jump:
    """A shorter iteration in place of longer ones, with windows left out at cuts.

    Of ``cut`` and ``size``, rows are ranks and columns the runs of windows, in order.
    """

    schedule: Schedule
    step: int
    """Microbatches of a window."""
    cut: Int64
    """The first action after the windows before each cut."""
    size: Int64
    """Actions of a window."""
    reach: int
    """How many windows back an action of one rank waits for one of another, at most."""
    drift: Int32
    """By action: what a window left out adds to its microbatch."""
    num_left_out: int | None = None
    """Windows left out of each run, where only one number is stood for."""

    @property
    def num_known(self) -> int:
        """Windows before each cut from which those left out follow."""
        return max(_LEAST_WINDOWS, self.reach + 1)

    def num_windows(self, num_microbatches: int) -> int:
        """Return how many windows of a longer iteration are left out of each run."""
        if self.num_left_out is not None:
            return self.num_left_out
        return (num_microbatches - self.schedule.num_microbatches) // self.step

    def stands_for(self, long: Schedule) -> bool:
        """Whether a longer schedule is the shorter one with windows put in at the cuts."""
        short, more = self.schedule, self.num_windows(long.num_microbatches)
        if more < 1 or (long.num_microbatches - short.num_microbatches) % self.step:
            return False
        extra = more * self.size.sum(axis=1)
        if not np.array_equal(np.diff(long.rank_offsets), np.diff(short.rank_offsets) + extra):
            return False
        rows, number, _ = self._longer(more)
        microbatch = short.microbatch[rows] + np.where(
            number < 0, more * self.drift[rows], number * self.turn[rows]
        )
        return (
            np.array_equal(short.kind[rows], long.kind)
            and np.array_equal(short.stage[rows], long.stage)
            and np.array_equal(microbatch, long.microbatch)
        )

    def of_later_runs(self, long: Schedule) -> Jump | None:
        """Return the jump that leaves windows out of all runs but the first."""
        num_runs, more = self.cut.shape[1], self.num_windows(long.num_microbatches)
        if num_runs == 1:
            return None
        _, copy, run = self._longer(more)
        rows = np.flatnonzero((copy < 0) | (run == 0))
        own = np.flatnonzero(copy[rows] < 0)
        schedule = replace(
            long,
            kind=long.kind[rows],
            stage=long.stage[rows],
            microbatch=long.microbatch[rows],
            step=long.step[rows],
            rank_offsets=np.searchsorted(rows, long.rank_offsets),
        )
        return replace(
            self,
            schedule=schedule,
            cut=own[self.cut[:, 1:]],
            size=self.size[:, 1:],
            drift=np.zeros(len(rows), np.int32),
            num_left_out=more,
        )

    @cached_property
    def turn(self) -> Int32:
        """By action before a cut: how its microbatch differs from that one window earlier."""
        found = np.zeros(self.schedule.num_actions, np.int32)
        for place, size in self._places():
            rows = np.flatnonzero((place >= -size) & (place < 0))
            microbatch = self.schedule.microbatch
            found[rows] = microbatch[rows] - microbatch[rows - size[rows]]
        return found

    @cached_property
    def roles(self) -> Roles:
        """What actions are to the windows that are left out."""
        count = self.schedule.num_actions
        segment, role, window = (np.zeros(count, np.int64) for _ in range(3))
        for run, (place, size) in enumerate(self._places()):
            known = (place >= -self.num_known * size) & (place < 0)
            segment[known], segment[place >= 0] = 2 * run + 1, 2 * run + 2
            role[known] = MIDDLE
            role[known & (place < (1 - self.num_known) * size)] = FIRST
            role[known & (place >= -size)] = FINAL
            window[segment >= 2 * run] = size[segment >= 2 * run]
        return Roles(segment, role, window, self._lag(segment, role, window))

    def _places(self) -> Iterator[tuple[Int64, Int64]]:
        """Yield for every run where actions are to its cut, and actions of a window."""
        rank, number = self.schedule.rank, np.arange(self.schedule.num_actions)
        for run in range(self.cut.shape[1]):
            yield number - self.cut[rank, run], self.size[rank, run]

    def _lag(self, segment: Int64, role: Int64, window: Int64) -> Int64:
        """Return how far behind lies at least what an action of the same rank waits for.

        A window, where that repeats otherwise than windows before a cut do.
        """
        after, before = _waits(self.schedule, inside=True)
        far = after - before >= window[after]
        after, before = after[far], before[far]
        is_final = role[after] == FINAL
        changes = is_final | (self.drift[after] != self.drift[before])
        unknown = changes & (segment[before] % 2 == 0) & (is_final | (segment[before] == 0))
        last = self._last_alike(before[unknown], after[unknown] - window[after[unknown]])
        lag = np.full(self.schedule.num_ranks, self.schedule.num_actions, np.int64)
        np.minimum.at(lag, self.schedule.rank[after], after - before)
        np.minimum.at(lag, self.schedule.rank[after[unknown]], after[unknown] - last)
        return lag

    def _last_alike(self, actions: Int64, most: Int64) -> Int64:
        """Return the last action of the same kind and stage as each, up to ``most``."""
        count, codes = self.schedule.num_actions, _codes(self.schedule)
        order = np.argsort(codes, kind="stable")
        asked = codes[actions] * count + most
        place = np.searchsorted(codes[order] * count + order, asked, "right")
        last: Int64 = order[place - 1]
        return last

    def _longer(self, more: int) -> tuple[Int64, Int64, Int64]:
        """Return what makes up a longer schedule: rows, the how-manieth copy each is, its run."""
        cut, size = self.cut.reshape(-1, 1), self.size.reshape(-1, 1)
        begins = np.concatenate([np.zeros((1, 1), np.int64), cut])
        ends = np.concatenate([cut, [[self.schedule.num_actions]]])
        first = np.concatenate([begins[:-1], np.repeat(cut - size, more, axis=1)], axis=1)
        length = np.concatenate([(ends - begins)[:-1], np.repeat(size, more, axis=1)], axis=1)
        first = np.append(first, begins[-1])
        length = np.append(length, (ends - begins)[-1])
        copy = np.append(np.tile(np.append(-1, np.arange(1, more + 1)), len(cut)), -1)
        run = np.repeat(np.arange(len(cut)) % self.cut.shape[1], 1 + more)
        repeated = np.repeat(copy, length), np.repeat(np.append(run, 0), length)
        return ragged_ranges(first, length), *repeated


def jump_of(
    shorter: Callable[[int], Schedule], num_ranks: int, numbers: tuple[int, int, int]
) -> Jump | None:
    """Return the jump to a short iteration, or None where none is found.

    ``shorter`` makes the schedule for a number of microbatches. ``numbers`` are the microbatches
    of a window, what is left of numbers of microbatches divided by it, and how many windows a run
    may take to become steady. For which the jump stands, :meth:`Jump.stands_for` says.
    """
    step, remainder, patience = numbers
    num = step * (patience + _LEAST_WINDOWS + 2) + remainder
    round_trip = -(-num_ranks // step)
    for attempt in range(_MOST_ATTEMPTS):
        found = _jump(shorter(num), shorter(num + step), step)
        if found is None and attempt > 0:
            return None
        missing = round_trip if found is None else _missing(found, patience)
        if found is not None and missing == 0:
            return found[0]
        num += step * missing
    return None


def _missing(found: tuple[Jump, Int64], patience: int) -> int:
    """Return how many windows more a shorter iteration needs."""
    jump, begins = found
    needed = patience + 1 + jump.num_known
    return max(0, int((needed - (jump.cut - begins) // jump.size).max()))


def _jump(short: Schedule, longer: Schedule, step: int) -> tuple[Jump, Int64] | None:
    """Return the jump to the shorter of two schedules, of which one has one more window.

    And where its runs of windows begin.
    """
    places = np.zeros((3, short.num_ranks, _MOST_RUNS), np.int64)
    drift = np.zeros(short.num_actions, np.int64)
    num_runs = find_cuts(_columns(short), _columns(longer), step, (*places, drift))
    if num_runs < 1:
        return None
    cut, size, begins = places[:, :, :num_runs]
    jump = Jump(short, step, cut.copy(), size.copy(), 0, drift.astype(np.int32))
    waits = _waits(short, inside=False)
    for slack in _SLACKS if num_runs == 1 else ():
        loosened = _loosened(jump, waits, begins[:, 0], slack)
        if loosened is not None and (aligned := _aligned(loosened, waits)) is not None:
            return aligned, begins
    aligned = _aligned(jump, waits)
    return None if aligned is None else (aligned, begins)


def _loosened(jump: Jump, waits: tuple[Int64, Int64], begins: Int64, slack: int) -> Jump | None:
    """Return a jump with the cuts of its only run a little earlier, so that few steps cross them.

    An action may run together with the next ones of its rank, so what comes before a cut waits for
    nothing that lies less than ``slack`` actions before those of other ranks. None where cuts
    would be moved by more than a window. Of several runs, the later ones may stand alone
    (:meth:`Jump.of_later_runs`): there all ranks have to leave out the same microbatches.
    """
    rank, microbatch, drift = jump.schedule.rank, jump.schedule.microbatch, jump.drift.copy()
    cut, size = jump.cut[:, 0].copy(), jump.size[:, 0]
    least = np.maximum(cut - size, begins + size)
    after, before = waits
    near = (after < cut[rank[after]]) & (before + slack >= least[rank[before]])
    after, before = after[near], before[near] + slack
    its, other = rank[after], rank[before - slack]
    while (crosses := (after < cut[its]) & (before >= cut[other])).any():
        np.minimum.at(cut, its[crosses], after[crosses])
        if (cut < least).any():
            return None
    rows = ragged_ranges(cut, jump.cut[:, 0] - cut)
    drift[rows] += microbatch[rows] - microbatch[rows - size[rank[rows]]]
    return replace(jump, cut=cut[:, np.newaxis], drift=drift)


def _columns(schedule: Schedule) -> tuple[Int64, Int64, Int64]:
    """Return codes of what actions do, their microbatches, and offsets of ranks."""
    return _codes(schedule), schedule.microbatch.astype(np.int64), schedule.rank_offsets


def _codes(schedule: Schedule) -> Int64:
    codes: Int64 = schedule.kind.astype(np.int64) * schedule.num_stages + schedule.stage
    return codes


def _aligned(jump: Jump, waits: tuple[Int64, Int64]) -> Jump | None:
    """Return a jump with its reach, if nothing before a cut waits for what comes after one."""
    after, before = waits
    window = [_windows(jump, run) for run in range(jump.cut.shape[1])]
    if any((window[run][before] >= 0)[window[run][after] < 0].any() for run in range(len(window))):
        return None
    reach = 0
    for run, each in enumerate(window):
        late = each[after] >= -1
        reach = max(reach, int((np.minimum(each[after], 0) - each[before])[late].max(initial=0)))
        if not _is_carried(jump, waits, run, each):
            return None
    return replace(jump, reach=reach)


def _is_carried(jump: Jump, waits: tuple[Int64, Int64], run: int, window: Int64) -> bool:
    """Whether actions after a cut wait in the longer iteration for what they do in the shorter."""
    after, before = waits
    across = (window[after] >= 0) & (window[after] < _FAR) & (window[before] < 0)
    after, before = after[across], before[across]
    size = jump.size[jump.schedule.rank[before], run]
    in_last = before - (window[before] + 1) * size
    return bool((jump.drift[after] == jump.drift[before] + jump.turn[in_last]).all())


def _windows(jump: Jump, run: int) -> Int64:
    """Return how many windows actions are behind a cut of their rank; far ones count no more."""
    rank = jump.schedule.rank
    place = np.arange(jump.schedule.num_actions) - jump.cut[rank, run]
    found: Int64 = place // jump.size[rank, run]
    if run + 1 < jump.cut.shape[1]:
        late = place + jump.cut[rank, run] >= (jump.cut - jump.size)[rank, run + 1]
        found[late] = _FAR
    return found


def _waits(schedule: Schedule, inside: bool) -> tuple[Int64, Int64]:
    """Return pairs of actions, of which the first waits for the second, inside ranks or across."""
    kind, stage, microbatch = schedule.kind, schedule.stage.astype(np.int64), schedule.microbatch
    table = np.full((2, schedule.num_stages + 2, schedule.num_microbatches), -1, np.int64)
    table[kind, stage + 1, microbatch] = np.arange(schedule.num_actions)
    toward = table[kind, np.where(kind == F, stage, stage + 2), microbatch]
    forward = np.where(kind == F, -1, table[F, stage + 1, microbatch])
    before = np.concatenate([toward, forward])
    after = np.tile(np.arange(schedule.num_actions), 2)
    chosen = (before >= 0) & ((schedule.rank[before] == schedule.rank[after]) == inside)
    return after[chosen], before[chosen]
