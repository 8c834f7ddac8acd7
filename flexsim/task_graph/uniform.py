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
from flexsim.task_graph.accumulation import accumulated, accumulation, added_bytes_per_parameter
from flexsim.task_graph.backward import BackwardPass
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.enquiry import KERNEL, Answers, Enquiry, Known, Question, answers
from flexsim.task_graph.findings import Findings
from flexsim.task_graph.forward import ForwardPass
from flexsim.task_graph.issue import issuing_rows
from flexsim.task_graph.kinds import NUM_COMPUTE_KINDS
from flexsim.task_graph.liveness import changes_of
from flexsim.task_graph.memory import received_bytes
from flexsim.task_graph.memory_curves import SLOTS, Curve
from flexsim.task_graph.parts import WeightPart, weight_parts
from flexsim.task_graph.pricing import Pricing
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, Notebook
from flexsim.task_graph.split import WHOLE
from flexsim.task_graph.stretch import stretched
from flexsim.task_graph.strips import BLOCKS, Last, Strip, Strips, positions, strips_of
from flexsim.task_graph.symbolic import SYMBOL, Ledger, Message
from flexsim.task_graph.ways import Leg, leg_of


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
    added_bytes_per_parameter: float = 0.0
    """What the pass moves that adds gradients to their sum, the last task of a backward; 0 where
    there is none."""
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

    @cached_property
    def legs(self) -> tuple[Leg, ...]:
        """Where every message goes."""
        shape = self.devices_per_rank, self.num_replicas
        return tuple(leg_of(message, *shape) for message in self.messages)

    @property
    def num_stages(self) -> int:
        """Stages of the small pipeline."""
        return len(self.parts)

    @cached_property
    def is_issued(self) -> bool:
        """Whether kernels may wait for their issue by a host that runs ahead."""
        return any(bool(strip.issue_ns.any()) for strip in self.strips.of.values())

    def answers(self, times: int, known: Known | None = None) -> Answers:
        """Return what kernels take and move with ``times`` as many samples.

        Seeds under one cost model on one device type may share what is ``known``.
        """
        return answers(self.pricing, self.questions, times, known)

    def stretched(self, extra: int) -> dict[tuple[int, int], Strip]:
        """Return the strips of all stages with ``extra`` more layers in each."""
        if extra not in self._strips:
            strips = self.strips.of
            self._strips[extra] = {key: self._long(key, extra) for key in strips}
        return self._strips[extra]

    def _long(self, key: tuple[int, int], extra: int) -> Strip:
        found = stretched(self.strips.of[key], extra)
        if not self.added_bytes_per_parameter or key[1] != B:
            return found
        return found.with_last(self.addition(key[0], extra))

    def addition(self, stage: int, extra: int) -> Last:
        """Return what adds a stage's gradients to their sum."""
        strip, parts = self.strips.of[stage, B], self.parts[stage]
        times = [1 + extra * strip.repeats(part.rows) for part in parts]
        number = sum(n * part.num_parameters for n, part in zip(times, parts, strict=True))
        work = accumulation(float(number), sum(times), self.added_bytes_per_parameter)
        mesh = self.strategy.configs[self.graph.operators[0].name].mesh
        on_all = np.zeros(mesh.size, np.int64)
        duration_ns = int(self.pricing.durations([work], on_all, mesh)[0])
        return Last(duration_ns, work.num_bytes, self.pricing.issue_ns([work]))

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
    *,
    findings: Findings | None = None,
) -> Seed | str:
    """Return the seed that a small model under a small strategy makes, or why it makes none.

    All devices are of one type; how many a cluster has does not matter yet. Every stage has as
    many layers as the others, :data:`BLOCKS` where more are to come, and every replica a single
    sequence. What kernels cost is open: :func:`priced` tells it. ``findings`` are those of
    another seed with the same graph and configs.
    """
    ledger, alike = Ledger(), _Alike((device_type,) * len(strategy.devices))
    costs = Costs(compute, ledger, software)
    enquiry = Enquiry(graph, alike, costs)
    program = Program(graph, strategy, Notebook(), enquiry, findings=findings)
    work = _write(program, software)
    stage_of = tuple(strategy.stage_of[op.name] for op in graph.operators)
    blocks, parts = _blocks(graph, stage_of), weight_parts(program)
    strips = _strips(program, parts, software, stage_of)
    if isinstance(strips, str):
        return strips
    precision, num_microbatches = graph.stored_precision, strategy.num_microbatches
    added = added_bytes_per_parameter(software, precision, num_microbatches)
    curves = _curves(program, strips)
    if added and any(_ends_with(curve) for (_, action), curve in curves.items() if action == B):
        return "gradients that are added up are held for long"
    return Seed(
        strips=strips,
        messages=tuple(ledger.messages),
        questions=tuple(enquiry.questions),
        pricing=Pricing(graph, alike, costs),
        graph=graph,
        strategy=strategy,
        stage_of=stage_of,
        parts=_parts(program, parts),
        flops=_flops(graph, stage_of, work, blocks[-1]),
        curves=curves,
        received=received_bytes(program, program.strategy.devices).max(axis=1),
        num_blocks=len(blocks[0]),
        num_replicas=graph.num_sequences,
        devices_per_rank=strategy.configs[graph.operators[0].name].mesh.size,
        added_bytes_per_parameter=added,
    )


def priced(seed: Seed, times: int) -> Seed:
    """Return a seed with ``times`` as many samples, and with numbers for its kernels.

    Activations, messages and work are in proportion to samples; what kernels take is asked.
    """
    found = seed.answers(times)
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


def _strips(
    program: Program,
    parts: list[WeightPart],
    software: SoftwareProfile,
    stage_of: tuple[int, ...],
) -> Strips | str:
    """Return the strips of forward and backward, sums of gradients among them, or why none."""
    if any(part.holding for part in parts):
        return "a weight is shared in pieces"
    sums = _sums(program, parts, software)
    rows = issuing_rows(program.notebook.rows, software)
    if sums is None or rows is None:
        return "the devices of a stage do not work alike"
    num_blocks = len(_blocks(program.graph, stage_of)[0])
    return strips_of(rows, program.graph, stage_of, num_blocks, sums)


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


def _parts(program: Program, parts: list[WeightPart]) -> tuple[tuple[WeightPart, ...], ...]:
    """Return the weights' parts by stage; their rows become positions in the B template."""
    position = positions(program.notebook.rows)
    found: list[list[WeightPart]] = [[] for _ in range(program.strategy.num_stages)]
    for part in parts:
        found[part.stage].append(replace(part, rows=tuple(position[row] for row in part.rows)))
    return tuple(map(tuple, found))


def _sums(
    program: Program, parts: list[WeightPart], software: SoftwareProfile
) -> tuple[int, ...] | None:
    """Write the passes that add gradients up, one a stage or none; return their rows.

    None where a stage has several, or its gradients are not complete in its own backward.
    """
    rows = program.notebook.rows
    first = len(rows)
    accumulated(program, parts, software)
    sums = range(first, len(rows))
    here = all(
        (rows[need].stage, rows[need].action) == (rows[row].stage, B)
        for row in sums
        for need in rows[row].needs
    )
    return tuple(sums) if here and len(sums) in (0, program.strategy.num_stages) else None


def _ends_with(curve: Curve) -> bool:
    """Whether what is held changes as the last kernel ends."""
    return bool(curve.changes[-SLOTS:].any())
