"""Slots of repeated building blocks: weight gradients fill the free ones, the ends move up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from flexsim.task_graph.columns import Int64

Slots = list[list[int]]
"""For each stream of a rank the slot of every pass: F, F back, I back, I, then W's."""

_INPUTS = (2, 3)
_WEIGHT = 4


def squeezed(slots: Int64) -> list[Slots]:
    """Return the slots of six streams a rank, of ``slots`` (rank, stream, microbatch) of four.

    The ends move up twice: with weight gradients in their slots, then without, so that these
    fill what is free at last. Memory is never more than before.
    """
    ranks: list[Slots] = [table.tolist() for table in slots]
    ranks = _move_up([_with_weights(rank) for rank in ranks])
    ranks = _move_up([rank[:_WEIGHT] for rank in ranks])
    return [_with_weights_of_both(rank) for rank in ranks]


def peak(slots: Slots) -> int:
    """Return the most forwards that lack their W; W's without a slot take the first free ones."""
    return int(_held(slots).max())


def _held(slots: Slots) -> Int64:
    """Return how many forwards lack their W after every slot."""
    size = 1 + max(max(stream) for stream in slots)
    change = np.zeros(size, np.int64)
    change[slots[0]] += 1
    change[slots[1]] += 1
    if len(slots) > _WEIGHT:
        change[slots[_WEIGHT]] -= 1
    else:
        change -= _freed(slots, size)
    return np.cumsum(change)


def _freed(slots: Slots, size: int) -> Int64:
    """Return how many W's run in each slot where free slots take them as soon as they can."""
    made, free = np.zeros(size, np.int64), np.ones(size, np.int64)
    for number, column in enumerate(slots):
        free[column] = 0
        made[column] = number in _INPUTS
    waiting = np.cumsum(made - free)
    waiting -= np.minimum(np.minimum.accumulate(waiting), 0)
    return np.diff(waiting, prepend=0) * -1 + made


def _with_weights(slots: Slots) -> Slots:
    """Append one stream of W's, in the free slots behind the input gradients."""
    return [*slots[:_WEIGHT], [slot for slot, _ in _free_slots(slots)]]


def _with_weights_of_both(slots: Slots) -> Slots:
    """Append the W's of either stage, those of the way back first."""
    found: Slots = [[], []]
    for slot, stream in _free_slots(slots):
        found[stream - _INPUTS[0]].append(slot)
    return [*slots[:_WEIGHT], *found]


def _free_slots(slots: Slots) -> Iterator[tuple[int, int]]:
    """Yield the slot of every W, and the stream of its input gradient."""
    stream_at = {slot: number for number in range(_WEIGHT) for slot in slots[number]}
    waiting = dict.fromkeys(_INPUTS, 0)
    for slot in range(max(stream_at) + 1 + sum(map(len, slots))):
        stream = stream_at.get(slot)
        if stream in waiting:
            waiting[stream] += 1
        if stream is None and any(waiting.values()):
            first = next(number for number in _INPUTS if waiting[number])
            waiting[first] -= 1
            yield slot, first


def _move_up(ranks: list[Slots]) -> list[Slots]:
    """Return the slots with the passes of warm-up and drain as early as they can be."""
    return _Squeeze(ranks).run()


@dataclass
class _Squeeze:
    """Ranks whose passes move one after the other, by slot."""

    ranks: list[Slots]
    limit: int = field(init=False)
    held: list[Int64] = field(init=False)
    """By rank: forwards that lack their W, by slot, where W's have slots."""
    taken: list[set[int]] = field(init=False)

    def __post_init__(self) -> None:
        self.held = [_held(rank) for rank in self.ranks]
        self.limit = max(int(held.max()) for held in self.held)
        self.taken = [set() for _ in self.ranks]

    def run(self) -> list[Slots]:
        """Move what is before the first turn at rank 0, and after its last forward.

        Without W's only the drain moves.
        """
        begin = self.ranks[0][3][0]
        end = self.ranks[0][0][-1]
        with_weights = len(self.ranks[0]) > _WEIGHT
        steady = False
        for slot, rank, stream, number in self._passes():
            steady = steady or (slot, rank, stream) == (begin, 0, 3)
            if (slot, rank, stream) > (end, 0, 0) if steady else with_weights:
                self._move(rank, stream, number)
            self.taken[rank].add(self.ranks[rank][stream][number])
        return self.ranks

    def _passes(self) -> list[tuple[int, int, int, int]]:
        return sorted(
            (slot, rank, stream, number)
            for rank, streams in enumerate(self.ranks)
            for stream, column in enumerate(streams)
            for number, slot in enumerate(column)
        )

    def _move(self, rank: int, stream: int, number: int) -> None:
        column = self.ranks[rank][stream]
        now = column[number]
        for slot in range(self._earliest(rank, stream, number), now):
            if slot not in self.taken[rank]:
                column[number] = slot
                if self._fits(rank, stream, (slot, now)):
                    return
        column[number] = now

    def _fits(self, rank: int, stream: int, moved: tuple[int, int]) -> bool:
        """Whether a rank may hold what it does once a pass is moved from one slot to another."""
        if len(self.ranks[rank]) == _WEIGHT:
            return peak(self.ranks[rank]) <= self.limit
        more = {0: 1, 1: 1, _WEIGHT: -1}.get(stream, 0)
        between = self.held[rank][slice(*moved)]
        if int(between.max()) + more > self.limit:
            return False
        between += more
        return True

    def _earliest(self, rank: int, stream: int, number: int) -> int:
        """Return the slot after all that a pass waits for."""
        mine = self.ranks[rank]
        before = [mine[stream][number - 1]] if number else []
        if stream == _WEIGHT:
            before.append(sorted(mine[2] + mine[3])[number])
        else:
            neighbour = rank - 1 if stream in (0, 2) else rank + 1
            if 0 <= neighbour < len(self.ranks):
                before.append(self.ranks[neighbour][stream][number])
            if stream:
                before.append(mine[stream - 1][number])
        return max(before, default=-1) + 1
