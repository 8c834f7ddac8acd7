"""Copies of what a sketch has of its inner rank, for every inner rank of a long pipeline."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.ragged import Csr
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.update_sketch import UpdateSketch


class Series(NamedTuple):
    """Where things of a sketch stand in a long pipeline: first, and how far from copy to copy."""

    first: Int64
    step: Int64
    """0 for what stands once."""


class Copies:
    """A sketch with a copy of its inner rank for every inner rank of a long pipeline."""

    def __init__(self, sketch: UpdateSketch, num_ranks: int) -> None:
        more, rank = num_ranks - sketch.num_ranks, np.arange(sketch.num_ranks)
        is_inner = (rank == 1) & (len(rank) > 2)
        width = int(is_inner[sketch.rank].sum())
        self.sketch, self.more = sketch, more
        self.tasks = Series(
            np.arange(len(sketch.rank)) + more * width * (sketch.rank == 2),
            width * is_inner[sketch.rank],
        )
        self.ranks = Series(rank + more * (rank == 2), is_inner.astype(np.int64))
        shared = np.arange(len(sketch.shared))
        self.anchors = Series(
            np.concatenate([self.ranks.first, num_ranks + shared]),
            np.concatenate([self.ranks.step, 0 * shared]),
        )
        number = np.arange(len(sketch.rank))
        self.task = self._placed((self.tasks, _once(number)), (number, number))
        """What each task is in the sketch."""
        self.rank = self._placed((self.tasks, self.ranks), (number, sketch.rank))
        """The rank of each task."""
        self.like = self._placed((self.ranks, _once(rank)), (rank, rank))
        """What each rank is in the sketch."""

    def pairs(self, series: tuple[Series, Series], pairs: tuple[Int64, ...]) -> tuple[Int64, Int64]:
        """Return pairs of things of a sketch, with all copies."""
        first = [of.first[side] for of, side in zip(series, pairs, strict=True)]
        step = [of.step[side] for of, side in zip(series, pairs, strict=True)]
        again = (step[0] + step[1]) > 0
        left, right = (self._spread(*one, again) for one in zip(first, step, strict=True))
        return left, right

    def holds(self) -> Csr:
        """Return the ranks on which each task holds its stream, in order."""
        task, rank = self.pairs((self.tasks, self.ranks), np.nonzero(self.sketch.holds))
        order = np.argsort(rank, kind="stable")
        return Csr.from_pairs(len(self.task), task[order], rank[order].astype(np.int32))

    def places(self, task: int) -> Int64:
        """Return the tasks that stand for one of the sketch."""
        first, step = int(self.tasks.first[task]), int(self.tasks.step[task])
        return first + step * np.arange(self.more + 1 if step else 1)

    def _placed(self, series: tuple[Series, Series], pairs: tuple[Int64, Int64]) -> Int64:
        """Return what stands second in pairs, by what stands first."""
        place, value = self.pairs(series, pairs)
        found = np.empty(len(place), np.int64)
        found[place] = value
        return found

    def _spread(self, first: Int64, step: Int64, again: NDArray[np.bool_]) -> Int64:
        copies = first[again, None] + step[again, None] * np.arange(self.more + 1)
        return np.concatenate([first[~again], copies.reshape(-1)])


def _once(places: Int64) -> Series:
    """Return things that stand once each."""
    return Series(places, np.zeros_like(places))
