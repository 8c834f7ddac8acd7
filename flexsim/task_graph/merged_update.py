"""The update of a uniform pipeline with one part for all layers that lie alike.

Where sums do not depend on their order, a rank's equal weights count as one as large as all of
them together. Ranks of many layers then update for the work of a single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.sharding import Sharding
from flexsim.task_graph.columns import Int64, StaticMemory
from flexsim.task_graph.fetches import shard_axes_of
from flexsim.task_graph.folding import fold_rows
from flexsim.task_graph.grown_update import Layouts, Names, long_strategy, mesh_of, parts_of_stage
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.memory import static_memory
from flexsim.task_graph.parts import WeightPart, bucket_bytes, gradient_bytes
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import Notebook
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.uniform import Seed
from flexsim.task_graph.update import write_update_of

_MOST = 2.0**52
"""Up to here whole numbers of 64 bits are counted exactly by floating-point numbers."""


@dataclass(frozen=True, eq=False)
class MergedUpdate:
    """The tasks of all ranks' updates, in order of ids, what they wait for, and static memory.

    ``heads`` wait for all of the last backward of their rank, ``waits`` for weight gradients:
    those of a rank, or (from ``num_ranks`` on) those of ``shared`` part k - num_ranks.
    """

    templates: Templates
    heads: Int64
    waits: tuple[Int64, Int64]
    """Anchors, and the tasks that wait for them."""
    shared: tuple[tuple[int, tuple[int, ...]], ...]
    """Stage (of the small pipeline) and rows (of its B strip) of weights on several ranks."""
    static_memory: StaticMemory
    num_tasks_unfolded: int


def build_merged_update(
    grown: Grown, whole: OperatorGraph, devices: DeviceGraph, costs: Costs, sharding: Sharding
) -> MergedUpdate | str:
    """Return the update of ``grown``, which has one stage a rank, or why parts cannot be merged.

    ``sharding`` says what replicas keep shares of.
    """
    long = replace(long_strategy(grown), sharding=sharding)
    program = Program(whole, long, Notebook(), Pricing(whole, devices, costs))
    merged = _Merged(grown, whole, program, costs.software)
    if merged.reason:
        return merged.reason
    write_update_of(program, merged.parts, costs.software)
    rows = program.notebook.rows
    folding = fold_rows(rows, long, ())
    num_ranks = grown.site.num_ranks
    if len(folding.devices) != num_ranks:
        return "the devices of a rank do not update alike"
    kept = [row._replace(needs=tuple(n for n in row.needs if n >= 0)) for row in folding.rows]
    templates = templates_of(kept, 0, num_ranks)
    order = np.argsort([row.stage for row in kept], kind="stable")
    task = np.empty(len(kept), np.int64)
    task[order] = np.arange(len(kept))
    waits = [(-1 - n, task[i]) for i, row in enumerate(folding.rows) for n in row.needs if n < 0]
    anchors, waiting = np.array(waits, np.int64).reshape(-1, 2).T
    static = static_memory(program, merged.parts, costs.software, folding.devices)
    return MergedUpdate(
        templates,
        _heads(templates, grown),
        (anchors, waiting),
        tuple(merged.shared),
        replace(static, num_alike=folding.class_sizes),
        sum(row.places.num_members for row in rows),
    )


def _heads(templates: Templates, grown: Grown) -> Int64:
    """Return the tasks that follow what ends last on their rank's representative."""
    found = []
    for rank, ends in enumerate(templates.ends):
        here = ends.heads.devices == grown.site.representatives[rank]
        found.append(ends.heads.members[here] + templates.offsets[rank])
    return np.concatenate([np.zeros(0, np.int64), *found])


class _Merged:
    """The parts of all ranks, merged; ``reason`` says why they cannot be."""

    def __init__(
        self, grown: Grown, whole: OperatorGraph, program: Program, software: SoftwareProfile
    ) -> None:
        self.grown, self.whole, self.program = grown, whole, program
        self.names = Names(grown, whole)
        self.shared: list[tuple[int, tuple[int, ...]]] = []
        self._on_several = names_on_several(grown.seed)
        self.parts = list(self._parts())
        self.reason = self._why_not(software)

    def _parts(self) -> Iterator[WeightPart]:
        grown = self.grown
        like = {s: self._merged(s) for s in range(grown.seed.num_stages)}
        for rank in reversed(range(grown.site.num_ranks)):
            layouts = Layouts(mesh_of(grown, rank))
            for part, times in like[grown.like(rank)]:
                yield self._on_rank(part, times, rank, layouts)

    def _merged(self, stage: int) -> list[tuple[WeightPart, int]]:
        """Return parts of a stage of the small pipeline, of equal ones the first, and how many."""
        found: dict[object, tuple[WeightPart, int]] = {}
        small = self.grown.seed.graph
        for part, times in parts_of_stage(self.grown, stage):
            width, shape = small.bytes_per_element(part.name), small.shape(part.name)
            key: object = part.layout, part.gradient, shape, width, part.num_parameters
            if part.name in self._on_several:
                key = part.name
            first, before = found.get(key, (part, 0))
            found[key] = first, before + times
        return list(found.values())

    def _on_rank(self, part: WeightPart, times: int, rank: int, layouts: Layouts) -> WeightPart:
        """Return a merged part of a rank; its row is the anchor that its gradients stand for."""
        name = self.names.whole(part, rank, 0)
        anchor = rank
        if part.name in self._on_several:
            anchor = self.grown.site.num_ranks + len(self.shared)
            self.shared.append((self.grown.like(rank), part.rows))
        layout = layouts.of(part.layout)
        return WeightPart(
            name,
            layout,
            layouts.of(part.gradient),
            (-1 - anchor,),
            rank,
            part.num_parameters * times,
            shape=self.program.graph.shape(name),
            shard_axes=shard_axes_of(self.program, layout),
        )

    def _why_not(self, software: SoftwareProfile) -> str:
        """Return why sums would depend on their order, or tasks on the order of parts."""
        program = self.program
        if program.strategy.overlap_gradients or software.factored_moment_bytes:
            return "updates start part by part"
        for part in self.parts:
            shares = part.num_shares
            if shares & (shares - 1) or part.num_parameters % shares:
                return "shares of weights are not whole"
        total = sum(gradient_bytes(program, part, software) for part in self.parts)
        if total >= bucket_bytes(program, software) or total * 2**10 >= _MOST:
            return "gradients are reduced in several buckets"
        if not self._are_computed():
            return "a gradient is completed by communication"
        return ""

    def _are_computed(self) -> bool:
        """Whether all gradients are completed by kernels of their device."""
        seed = self.grown.seed
        return all(
            seed.strips.of[stage, 1].kind[row] < NUM_COMPUTE_KINDS
            for stage, parts in enumerate(seed.parts)
            for part in parts
            for row in part.rows
        )


def names_on_several(seed: Seed) -> frozenset[str]:
    """Return the weights that several stages of the small pipeline hold."""
    stages: dict[str, set[int]] = {}
    for stage, parts in enumerate(seed.parts):
        for part in parts:
            stages.setdefault(part.name, set()).add(stage)
    return frozenset(name for name, found in stages.items() if len(found) > 1)
