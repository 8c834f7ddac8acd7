"""A uniform pipeline: built with few layers, stages and replicas, then grown by arithmetic.

Stages of equal layers differ only where the pipeline begins and ends, layers only where a stage
begins and ends, and replicas not at all. So three stages of three layers tell all of them; what
depends on where devices lie, the price of communication, is asked when it is grown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import Costs
from flexsim.cost.profiles import SoftwareProfile
from flexsim.cost.work import CostModel
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.strategy import Strategy
from flexsim.task_graph.backward import BackwardPass
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.enquiry import KERNEL, Answers, Enquiry, Question, answers
from flexsim.task_graph.forward import ForwardPass
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.liveness import changes_of
from flexsim.task_graph.memory import received_bytes
from flexsim.task_graph.memory_curves import Curve
from flexsim.task_graph.parts import WeightPart, weight_parts
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Notebook
from flexsim.task_graph.split import WHOLE
from flexsim.task_graph.strips import BLOCKS, Strip, Strips, stretched, strips_of
from flexsim.task_graph.symbolic import SYMBOL, Ledger, Message


@dataclass(frozen=True, eq=False)
class Amounts:
    """What grows with layers: a value a stage of the small pipeline, and a layer's share."""

    of_stage: Int64
    of_layer: int

    def times(self, times: int) -> Amounts:
        """Return ``times`` as much."""
        return Amounts(self.of_stage * times, self.of_layer * times)


@dataclass(frozen=True, eq=False)
class Seed:
    """A small pipeline, ready to grow: its strips, messages, weights, memory and work."""

    strips: Strips
    messages: tuple[Message, ...]
    questions: tuple[Question, ...]
    """What kernels do whose durations and bytes are symbols."""
    pricing: Pricing
    graph: OperatorGraph
    strategy: Strategy
    stage_of: tuple[int, ...]
    """The stage of every operator."""
    parts: tuple[tuple[WeightPart, ...], ...]
    """Of every stage, in the order in which gradients are complete; rows are task positions."""
    flops: Amounts
    curves: Mapping[tuple[int, int], Curve]
    """How much more is held while a pass runs, by stage and action."""
    received: Int64
    """The largest message from another stage, by stage."""
    num_blocks: int
    num_replicas: int
    devices_per_rank: int
    _rows: dict[int, tuple[Int64, Int64, NDArray[np.bool_]]] = field(
        default_factory=dict, repr=False
    )
    _strips: dict[int, dict[tuple[int, int], Strip]] = field(default_factory=dict, repr=False)

    @cached_property
    def num_before(self) -> int:
        """Operators before the first layer."""
        return next(i for i, op in enumerate(self.graph.operators) if op.block)

    @cached_property
    def block_size(self) -> int:
        """Operators of a layer."""
        first = self.graph.operators[self.num_before].block
        return sum(op.block == first for op in self.graph.operators)

    @property
    def num_stages(self) -> int:
        """Stages of the small pipeline."""
        return len(self.parts)

    def stretched(self, extra: int) -> dict[tuple[int, int], Strip]:
        """Return the strips of all stages with ``extra`` more layers in each."""
        if extra not in self._strips:
            strips = self.strips.of.items()
            self._strips[extra] = {key: stretched(strip, extra) for key, strip in strips}
        return self._strips[extra]

    def rows_of_parts(self, stage: int) -> tuple[Int64, Int64, NDArray[np.bool_]]:
        """Return all rows of a stage's parts, the last of each part, and whether it repeats."""
        if stage not in self._rows:
            strip = self.strips.of[stage, B]
            rows = [(row, max(part.rows)) for part in self.parts[stage] for row in part.rows]
            first = [min(part.rows) for part in self.parts[stage] for _ in part.rows]
            row, last = np.array(rows, np.int64).reshape(-1, 2).T
            repeats = (np.array(first, np.int64) >= strip.begin) & (last < strip.end)
            self._rows[stage] = row, last, repeats
        return self._rows[stage]


class _Alike(NamedTuple):
    """Devices of one type."""

    device_types: tuple[str, ...]


def build_seed(
    graph: OperatorGraph,
    strategy: Strategy,
    compute: CostModel,
    software: SoftwareProfile,
    device_type: str,
) -> Seed | str:
    """Return the seed that a small model under a small strategy makes, or why it makes none.

    All devices are of one type; how many a cluster has does not matter yet. Every stage has as
    many layers as the others, :data:`BLOCKS` where more are to come, and every replica a single
    sequence. What kernels cost is open: :func:`priced` tells it.
    """
    ledger, alike = Ledger(), _Alike((device_type,) * len(strategy.devices))
    costs = Costs(compute, ledger, software)
    enquiry = Enquiry(graph, alike, costs)
    program = Program(graph, strategy, Notebook(), enquiry)
    work = _write(program, software)
    stage_of = tuple(strategy.stage_of[op.name] for op in graph.operators)
    blocks = _blocks(graph, stage_of)
    strips = strips_of(program.notebook.rows, graph, stage_of, len(blocks[0]))
    if isinstance(strips, str):
        return strips
    parts = _parts(program, strategy.num_stages)
    if any(part.holding for some in parts for part in some):
        return "a weight is shared in pieces"
    return Seed(
        strips=strips,
        messages=tuple(ledger.messages),
        questions=tuple(enquiry.questions),
        pricing=Pricing(graph, alike, costs),
        graph=graph,
        strategy=strategy,
        stage_of=stage_of,
        parts=parts,
        flops=_flops(graph, stage_of, work, blocks[-1]),
        curves=_curves(program, strips),
        received=received_bytes(program, program.strategy.devices).max(axis=1),
        num_blocks=len(blocks[0]),
        num_replicas=graph.num_sequences,
        devices_per_rank=strategy.configs[graph.operators[0].name].mesh.size,
    )


def priced(seed: Seed, times: int) -> Seed:
    """Return a seed with ``times`` as many samples, and with numbers for its kernels.

    Activations, messages and work are in proportion to samples; what kernels take is asked.
    """
    found = answers(seed.pricing, seed.questions, times)
    strips = {key: _answered(strip, found, times) for key, strip in seed.strips.of.items()}
    messages = [m._replace(num_bytes=m.num_bytes * times) for m in seed.messages]
    return replace(
        seed,
        strips=replace(seed.strips, of=strips),
        messages=tuple(messages),
        flops=seed.flops.times(times),
        curves={key: curve.times(times) for key, curve in seed.curves.items()},
        received=seed.received * times,
        _rows={},
        _strips={},
    )


def _answered(strip: Strip, found: Answers, times: int) -> Strip:
    duration_ns, num_bytes = strip.duration_ns.copy(), strip.num_bytes * times
    kernels = np.flatnonzero((duration_ns >= KERNEL) & (duration_ns < SYMBOL))
    duration_ns[kernels] = found.duration_ns[duration_ns[kernels] - KERNEL]
    asked = np.flatnonzero(strip.num_bytes >= KERNEL)
    num_bytes[asked] = found.num_bytes[strip.num_bytes[asked] - KERNEL]
    return replace(strip, duration_ns=duration_ns, num_bytes=num_bytes)


def _write(program: Program, software: SoftwareProfile) -> list[int]:
    """Write forward and backward; return the floating-point operations of every operator."""
    forward = ForwardPass(program)
    backward = BackwardPass(program, forward, software)
    work = dict.fromkeys(program.index.values(), 0)
    for walk, operators in (
        (forward.run, program.graph.operators),
        (backward.run, tuple(reversed(program.graph.operators))),
    ):
        for operator in operators:
            before = program.notebook.flops
            walk(operator)
            work[program.index[operator.name]] += program.notebook.flops - before
    return list(work.values())


def _blocks(graph: OperatorGraph, stage_of: Sequence[int]) -> list[list[str]]:
    """Return the layers of every stage."""
    found: list[dict[str, None]] = [{} for _ in range(max(stage_of) + 1)]
    for operator, stage in zip(graph.operators, stage_of, strict=True):
        if operator.block:
            found[stage][operator.block] = None
    return [list(blocks) for blocks in found]


def _middle(blocks: Sequence[str]) -> str:
    return blocks[1] if len(blocks) == BLOCKS else ""


def _flops(
    graph: OperatorGraph, stage_of: Sequence[int], work: Sequence[int], blocks: Sequence[str]
) -> Amounts:
    stages = np.zeros(max(stage_of) + 1, np.int64)
    np.add.at(stages, np.array(stage_of), np.array(work, np.int64))
    layer = sum(
        done
        for op, done in zip(graph.operators, work, strict=True)
        if op.block and op.block == _middle(blocks)
    )
    return Amounts(stages, layer)


def _curves(program: Program, strips: Strips) -> dict[tuple[int, int], Curve]:
    """Return what a device of each stage holds in forward and backward, layers marked."""
    found = {}
    for key, by_mesh in changes_of(program, WHOLE).items():
        strip = strips.of[key]
        is_kernel = strip.kind < NUM_COMPUTE_KINDS
        begin, end = int(is_kernel[: strip.begin].sum()), int(is_kernel[: strip.end].sum())
        found[key] = Curve(np.array(sum(by_mesh.values())), begin, end)
    return found


def _parts(program: Program, num_stages: int) -> tuple[tuple[WeightPart, ...], ...]:
    """Return the weights' parts by stage; their rows become positions in the B template."""
    position: dict[int, int] = {}
    counts: dict[tuple[int, int], int] = {}
    for index, row in enumerate(program.notebook.rows):
        key = (row.stage, row.action)
        position[index] = counts.get(key, 0)
        counts[key] = position[index] + 1
    found: list[list[WeightPart]] = [[] for _ in range(num_stages)]
    for part in weight_parts(program):
        rows = tuple(position[row] for row in part.rows)
        found[part.stage].append(replace(part, rows=rows))
    return tuple(map(tuple, found))
