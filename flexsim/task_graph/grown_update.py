"""The update of a grown pipeline: all its weights synchronized, then the optimizer's step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.config import ParallelConfig
from flexsim.strategy.layout import Layout
from flexsim.strategy.mesh import Mesh
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.columns import Int64, StaticMemory
from flexsim.task_graph.folding import fold_rows
from flexsim.task_graph.growth import Grown
from flexsim.task_graph.issue import issued_rows
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.memory import static_memory
from flexsim.task_graph.parts import WeightPart
from flexsim.task_graph.places import ragged_ranges
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Notebook
from flexsim.task_graph.strips import BLOCKS
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.update import write_update_of


@dataclass(frozen=True, eq=False)
class GrownUpdate:
    """The templates of the updates, what they wait for, and what devices hold throughout.

    Edge k leads from anchor ``sources[k]`` (see :func:`anchors`) to task ``targets[k]``.
    """

    templates: Templates
    sources: Int64
    targets: Int64
    static_memory: StaticMemory
    num_tasks_unfolded: int
    operator_names: tuple[str, ...]


def build_update(
    grown: Grown, whole: OperatorGraph, devices: DeviceGraph, costs: Costs
) -> GrownUpdate | str:
    """Return the update of ``grown``, whose weights have the names of those of ``whole``."""
    long = long_strategy(grown)
    pricing = Pricing(whole, devices, costs)
    program = Program(whole, long, Notebook(), pricing)
    parts = _parts(grown, whole)
    write_update_of(program, parts, costs.software)
    rows = issued_rows(program.notebook.rows, costs.software)
    folding = fold_rows(rows, long, ())
    if len(folding.devices) != grown.site.num_ranks:
        return "the devices of a rank do not update alike"
    kept = [row._replace(needs=tuple(n for n in row.needs if n >= 0)) for row in folding.rows]
    templates = templates_of(kept, 0, grown.site.num_ranks)
    order = np.argsort([row.stage for row in kept], kind="stable")
    task = np.empty(len(kept), np.int64)
    task[order] = np.arange(len(kept))
    waits = [(-1 - n, task[i]) for i, row in enumerate(folding.rows) for n in row.needs if n < 0]
    sources, targets = np.array(waits, np.int64).reshape(-1, 2).T
    static = static_memory(program, parts, costs.software, folding.devices)
    return GrownUpdate(
        templates,
        sources,
        targets,
        replace(static, num_alike=folding.class_sizes),
        sum(row.places.num_members for row in rows),
        tuple(operator.name for operator in whole.operators),
    )


def anchors(grown: Grown) -> Int64:
    """Return the tasks that complete gradients, part by part in the order of completion.

    The parts of the last stage come first. Where gradients are added up it is one task a stage.
    """
    stages = [(stage, grown.like(stage)) for stage in reversed(range(grown.site.num_stages))]
    positions = {
        like: positions_of_parts(grown, like) for like in dict.fromkeys(like for _, like in stages)
    }
    return np.concatenate(
        [positions[like] + grown.offsets[2 * stage + B] for stage, like in stages]
    )


def positions_of_parts(grown: Grown, stage: int) -> Int64:
    """Return the rows of a stage's parts, part by part, as :func:`parts_in_turn` has them.

    Where gradients are added up it is the row that does so.
    """
    if grown.seed.added_bytes_per_parameter:
        return np.array([grown.strips[stage, B].num_tasks - 1])
    strip = grown.seed.strips.of[stage, B]
    rows, last, again = grown.seed.rows_of_parts(stage)
    length = strip.end - strip.begin
    copies = length * np.arange(1, grown.extra + 1)[:, None]
    moved = np.where(again, rows, strip.place(rows, grown.extra))
    order = np.where(again, last, strip.place(last, grown.extra))
    if grown.extra < 0:
        moved, order = moved[~again], order[~again]
    moved = np.concatenate([moved, (rows[again] + copies).reshape(-1)])
    order = np.concatenate([order, (last[again] + copies).reshape(-1)])
    sorted_rows: Int64 = moved[np.argsort(order, kind="stable")]
    return sorted_rows


def parts_of_stage(grown: Grown, stage: int) -> list[tuple[WeightPart, int]]:
    """Return the parts of a stage of the small pipeline, and how often each stands in the long one.

    They are in the order in which the first of their gradients are complete.
    """
    strip = grown.seed.strips.of[stage, B]
    found = []
    for part in grown.seed.parts[stage]:
        found.append((part, 1 + grown.extra if strip.repeats(part.rows) else 1))
    return [(part, times) for part, times in found if times]


def parts_in_turn(grown: Grown, stage: int) -> list[tuple[WeightPart, int]]:
    """Return the parts of a stage with all its layers, and the repetition that each is of."""
    strip = grown.seed.strips.of[stage, B]
    length = strip.end - strip.begin
    found = []
    for part in grown.seed.parts[stage]:
        if strip.repeats(part.rows):
            for copy in range(grown.extra + 1):
                rows = tuple(row + copy * length for row in part.rows)
                found.append((replace(part, rows=rows), copy))
        else:
            rows = tuple(strip.place(np.array(part.rows, np.int64), grown.extra).tolist())
            found.append((replace(part, rows=rows), 0))
    return sorted(found, key=lambda pair: max(pair[0].rows))


def turns(grown: Grown, stage: int) -> list[tuple[int, int]]:
    """Return the same as numbers of parts of the small pipeline, and repetitions."""
    strip, parts = grown.seed.strips.of[stage, B], grown.seed.parts[stage]
    copies = np.array([1 + grown.extra if strip.repeats(part.rows) else 1 for part in parts])
    length = (strip.end - strip.begin) * np.array([strip.repeats(part.rows) for part in parts])
    last = np.array([max(part.rows) for part in parts])
    last = np.where(length > 0, last, strip.place(last, grown.extra))
    number = np.repeat(np.arange(len(parts)), copies)
    copy = ragged_ranges(np.zeros_like(copies), copies)
    order = np.argsort(last[number] + copy * length[number], kind="stable")
    return list(zip(number[order].tolist(), copy[order].tolist(), strict=True))


def _parts(grown: Grown, whole: OperatorGraph) -> list[WeightPart]:
    """Return the parts of all stages, with anchors in place of rows: anchor k is row -1 - k."""
    names, found, count = Names(grown, whole), [], 0
    added = grown.seed.added_bytes_per_parameter > 0
    like = {s: parts_in_turn(grown, s) for s in range(grown.seed.num_stages)}
    on_rank = [Layouts(mesh_of(grown, rank)) for rank in range(grown.site.num_ranks)]
    for stage in reversed(range(grown.site.num_stages)):
        there = on_rank[grown.site.rank(stage)].of
        for part, copy in like[grown.like(stage)]:
            layouts = there(part.layout), there(part.gradient)
            rows = tuple(range(-1 - count, -1 - count - len(part.rows), -1))
            rows = (-1 - count,) if added else rows
            name = names.whole(part, stage, copy)
            found.append(WeightPart(name, *layouts, rows, stage, part.num_parameters))
            count += 0 if added else len(rows)
        count += added
    return found


class Layouts:
    """Layouts of the small pipeline on the devices of a rank, each made once."""

    def __init__(self, mesh: Mesh) -> None:
        """Take the mesh of the rank."""
        self._mesh = mesh
        self._found: dict[Layout, Layout] = {}

    def of(self, layout: Layout) -> Layout:
        """Return a layout on this rank."""
        if layout not in self._found:
            self._found[layout] = layout.on(self._mesh)
        return self._found[layout]


def mesh_of(grown: Grown, rank: int) -> Mesh:
    """Return the mesh of a rank's devices, with the axes of the small pipeline's."""
    small = grown.seed.parts[0][0].layout.mesh
    shape = (grown.site.num_replicas, *small.shape[1:])
    return Mesh(small.names, grown.site.devices[rank].reshape(shape))


def long_strategy(grown: Grown) -> Strategy:
    """Return what the update needs of a strategy: the device sets of ranks, and switches."""
    site = grown.site
    meshes = {f"rank{rank}": mesh_of(grown, rank) for rank in range(site.num_ranks)}
    return replace(
        grown.seed.strategy,
        configs={name: ParallelConfig(mesh, ()) for name, mesh in meshes.items()},
        stage_of={name: rank for rank, name in enumerate(meshes)},
        rank_of_stage=tuple(site.rank(stage) for stage in range(site.num_stages)),
        recompute=(),
    )


class Names:
    """Weights of the small model by the operator that reads them, and their like in the whole."""

    def __init__(self, grown: Grown, whole: OperatorGraph) -> None:
        """Take the grown pipeline and the model that it is of."""
        self.grown = grown
        self.whole_operators = whole.operators
        self.small = grown.seed.graph
        self.before, self.block_size = grown.seed.num_before, grown.seed.block_size

    @cached_property
    def place(self) -> dict[str, tuple[int, int]]:
        """Number of an operator that reads each weight, and the position among its inputs."""
        found: dict[str, tuple[int, int]] = {}
        for number, operator in enumerate(self.small.operators):
            for position, tensor in enumerate(operator.inputs):
                if tensor in self.small.weights:
                    found.setdefault(tensor, (number, position))
        return found

    def whole(self, part: WeightPart, stage: int, copy: int) -> str:
        """Return the weight's name in the whole model."""
        number, position = self.place[part.name]
        at = self._operator(number, stage, copy)
        return self.whole_operators[at].inputs[position]

    def _operator(self, number: int, stage: int, copy: int) -> int:
        if number < self.before:
            return number
        if not self.small.operators[number].block:
            return number + len(self.whole_operators) - len(self.small.operators)
        layer, inside = divmod(number - self.before, self.block_size)
        count = self.grown.seed.num_blocks
        layer = self._layer(layer % count, copy)
        layers_per_stage = count + self.grown.extra
        return self.before + (stage * layers_per_stage + layer) * self.block_size + inside

    def _layer(self, layer: int, copy: int) -> int:
        """Return a layer's place in its stage; repetitions are numbered in backward order."""
        if self.grown.seed.num_blocks < BLOCKS or layer == 0:
            return layer
        return self.grown.extra + layer - copy
