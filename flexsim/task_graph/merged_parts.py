"""The weights of a uniform pipeline with one part for all layers that lie alike.

Where sums do not depend on their order, a rank's equal weights count as one as large as all of
them together. Ranks of many layers then update for the work of a single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from flexsim.cost.profiles import SoftwareProfile
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.task_graph.fetches import shard_axes_of
from flexsim.task_graph.grown_update import (
    Layouts,
    Names,
    mesh_of,
    parts_of_stage,
    turns,
)
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.parts import WeightPart, bucket_bytes, gradient_bytes
from flexsim.task_graph.program import Program
from flexsim.task_graph.reductions import reductions
from flexsim.task_graph.rows import B
from flexsim.task_graph.uniform import Seed

_MOST = 2.0**52
"""Up to here whole numbers of 64 bits are counted exactly by floating-point numbers."""


class MergedParts(NamedTuple):
    """The parts of all ranks, the last rank's first; their rows are anchors, k as row -1 - k.

    Anchors are the ranks, then the weights that are ``shared`` among ranks: a stage of the small
    pipeline and the rows of its B strip for each.
    """

    parts: list[WeightPart]
    shared: tuple[tuple[int, tuple[int, ...]], ...]


def merged_parts(
    grown: Grown, whole: OperatorGraph, program: Program, software: SoftwareProfile
) -> MergedParts | str:
    """Return the parts of ``grown``, which has one stage a rank, or why they cannot be merged.

    Where gradients fill several buckets, parts of different buckets stay apart.
    """
    found = _found(_Merged(grown, whole, program))
    if _num_bytes(program, found, software) >= bucket_bytes(program, software):
        found = _found(_InBuckets(grown, whole, program, software))
    return _why_not(grown.seed, program, found, software) or found


def _found(merged: _Merged) -> MergedParts:
    return MergedParts(list(merged.parts()), tuple(merged.shared))


def _num_bytes(program: Program, found: MergedParts, software: SoftwareProfile) -> float:
    return sum(gradient_bytes(program, part, software) for part in found.parts)


def names_on_several(seed: Seed) -> frozenset[str]:
    """Return the weights that several stages of the small pipeline hold."""
    stages: dict[str, set[int]] = {}
    for stage, parts in enumerate(seed.parts):
        for part in parts:
            stages.setdefault(part.name, set()).add(stage)
    return frozenset(name for name, found in stages.items() if len(found) > 1)


class _Merged:
    """Merges the parts of ranks and notes those that are shared."""

    def __init__(self, grown: Grown, whole: OperatorGraph, program: Program) -> None:
        self.grown, self.program = grown, program
        self.names = Names(grown, whole)
        self.shared: list[tuple[int, tuple[int, ...]]] = []
        self._on_several = names_on_several(grown.seed)

    def parts(self) -> Iterator[WeightPart]:
        """Yield the parts of all ranks."""
        grown = self.grown
        ranks = range(grown.site.num_ranks)
        like = {stage: self._of_stage(stage) for stage in {grown.like(rank): 0 for rank in ranks}}
        for rank in reversed(ranks):
            layouts = Layouts(mesh_of(grown, rank))
            for part, copy, times in like[grown.like(rank)]:
                name = self.names.whole(part, rank, copy)
                yield self._on_rank(part, (name, times), rank, layouts)

    def _of_stage(self, stage: int) -> list[tuple[WeightPart, int, int]]:
        """Return parts of a stage of the small pipeline, of equal ones the first and how many.

        In the middle stands the repetition of the layer that a part is of.
        """
        found: dict[object, tuple[WeightPart, int]] = {}
        for part, times in parts_of_stage(self.grown, stage):
            key = self._key(part)
            first, before = found.get(key, (part, 0))
            found[key] = first, before + times
        return [(part, 0, times) for part, times in found.values()]

    def _key(self, part: WeightPart) -> object:
        """Return what is the same for parts that count as one."""
        if part.name in self._on_several:
            return part.name
        small = self.grown.seed.graph
        width, shape = small.bytes_per_element(part.name), small.shape(part.name)
        return part.layout, part.gradient, shape, width, part.num_parameters

    def _on_rank(
        self, part: WeightPart, named: tuple[str, int], rank: int, layouts: Layouts
    ) -> WeightPart:
        """Return a merged part of a rank; its row is the anchor that its gradients stand for.

        It has a name and counts so many times.
        """
        anchor, (name, times) = rank, named
        if part.name in self._on_several and not self.grown.seed.added_bytes_per_parameter:
            anchor = self.grown.site.num_ranks + len(self.shared)
            self.shared.append((self.grown.like(rank), part.rows))
        found = self._laid(part, name, rank, layouts)
        return replace(found, rows=(-1 - anchor,), num_parameters=part.num_parameters * times)

    def _laid(self, part: WeightPart, name: str, rank: int, layouts: Layouts) -> WeightPart:
        """Return a part on the devices of a rank, with no rows yet."""
        layout = layouts.of(part.layout)
        return WeightPart(
            name,
            layout,
            layouts.of(part.gradient),
            (),
            rank,
            part.num_parameters,
            shape=self.program.graph.shape(name),
            shard_axes=shard_axes_of(self.program, layout),
        )


class _InBuckets(_Merged):
    """Merges parts of equal layers as far as their gradients fill the same buckets."""

    def __init__(
        self, grown: Grown, whole: OperatorGraph, program: Program, software: SoftwareProfile
    ) -> None:
        super().__init__(grown, whole, program)
        self._software = software

    def _of_stage(self, stage: int) -> list[tuple[WeightPart, int, int]]:
        """Return merged parts in the order of their last ones; what opens a bucket stays apart.

        So buckets open in their order, and each gets the part that fills it last.
        """
        parts, steps = self.grown.seed.parts[stage], self._steps(stage)
        keys = [self._key(part) for part in parts]
        filling = _Filling(bucket_bytes(self.program, self._software))
        found: dict[object, tuple[WeightPart, int, int]] = {}
        for number, copy in turns(self.grown, stage):
            buckets, opens = filling.add(steps[number])
            key = (number, copy) if opens else (keys[number], buckets)
            part, first, times = found.pop(key, (parts[number], copy, 0))
            found[key] = part, first, times + 1
        return list(found.values())

    def _steps(self, stage: int) -> list[list[tuple[object, float]]]:
        """Return for every part the collectives that sum its gradient, and the bytes of each."""
        ranks = range(self.grown.site.num_ranks)
        rank = next(rank for rank in ranks if self.grown.like(rank) == stage)
        layouts = Layouts(mesh_of(self.grown, rank))
        found: list[list[tuple[object, float]]] = []
        for part in self.grown.seed.parts[stage]:
            laid = self._laid(part, self.names.whole(part, rank, 0), rank, layouts)
            num_bytes = gradient_bytes(self.program, laid, self._software)
            steps = reductions(self.program, laid)
            found.append([((s.mesh, s.kind, s.axes), num_bytes * s.share) for s in steps])
        return found


class _Filling:
    """Fills the buckets of one rank in turn, as an update does."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._filled: dict[object, tuple[int, float]] = {}

    def add(self, steps: list[tuple[object, float]]) -> tuple[tuple[int, ...], bool]:
        """Add a part; return the bucket of each of its collectives, and whether it opens one."""
        buckets, opens = [], False
        for key, num_bytes in steps:
            number, filled = self._filled.get(key, (-1, self._limit))
            if filled >= self._limit:
                number, filled, opens = number + 1, 0.0, True
            self._filled[key] = number, filled + num_bytes
            buckets.append(number)
        return tuple(buckets), opens


def _why_not(seed: Seed, program: Program, found: MergedParts, software: SoftwareProfile) -> str:
    """Return why sums would depend on their order, or tasks on the order of parts."""
    strategy = program.strategy
    if strategy.overlap_gradients or strategy.offload or software.factored_moment_bytes:
        return "updates start part by part"
    for part in found.parts:
        shares = part.num_shares
        if shares & (shares - 1) or part.num_parameters % shares:
            return "shares of weights are not whole"
    if _num_bytes(program, found, software) * 2**10 >= _MOST:
        return "there are too many gradients"
    return "" if _are_computed(seed) else "a gradient is completed by communication"


def _are_computed(seed: Seed) -> bool:
    """Whether all gradients are completed by kernels of their device."""
    return seed.added_bytes_per_parameter > 0 or all(
        seed.strips.of[stage, B].kind[row] < NUM_COMPUTE_KINDS
        for stage, parts in enumerate(seed.parts)
        for part in parts
        for row in part.rows
    )
