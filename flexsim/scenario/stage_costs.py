"""What the blocks of a model cost and hold, from one pass of all of them on the first rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.records import Operator
from flexsim.strategy import Degrees
from flexsim.strategy.baselines import on_first_rank
from flexsim.strategy.layout import Layout
from flexsim.strategy.strategy import OPTIMIZER
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import WeightPart, static_bytes, weight_parts
from flexsim.task_graph.program import Program
from flexsim.task_graph.rows import B, F, Row

Int64 = NDArray[np.int64]

_ELSEWHERE = frozenset(TASK_CODE[kind] for kind in ("pipeline", "parameter", "gradient"))
"""Kinds of tasks that do not belong to the pass of a block."""


@dataclass(frozen=True, eq=False)
class UnitCosts:
    """Costs of a microbatch by unit: what stands before the blocks, every block, what follows.

    ``time_ns`` is that of forward, recomputation and backward with their collectives;
    ``static_bytes`` are weights, gradients and optimizer state, ``kept_bytes`` what the forward
    keeps for the backward, and ``step_bytes`` what only the optimizer's step holds, on the device
    that holds most.
    """

    blocks: tuple[str, ...]
    has_ends: tuple[bool, bool]
    time_ns: Int64
    static_bytes: Int64
    kept_bytes: Int64
    step_bytes: Int64


def unit_costs(
    graph: OperatorGraph, degrees: Degrees, devices: DeviceGraph, costs: Costs
) -> UnitCosts:
    """Return the costs of one lane of a model's units under the degrees' way to recompute."""
    units = Units(one_lane(graph))
    program = first_rank_program(units.graph, degrees, devices, costs)
    return UnitCosts(
        blocks=units.blocks,
        has_ends=units.has_ends,
        time_ns=_times_ns(program, units),
        static_bytes=_by_reader(program, units, partial(_static_bytes, program, costs)),
        kept_bytes=_kept_bytes(program, units),
        step_bytes=_by_reader(program, units, partial(_step_bytes, program, costs)),
    )


def first_rank_program(
    graph: OperatorGraph, degrees: Degrees, devices: DeviceGraph, costs: Costs
) -> Program:
    """Return the rows of a model that is one stage on the devices of the first rank."""
    kept = tuple(what for what in degrees.offload if what == OPTIMIZER)
    alone = replace(on_first_rank(graph, degrees), offload=kept)
    return build_program(graph, alone, devices, costs)


def one_lane(graph: OperatorGraph) -> OperatorGraph:
    """Return the first copy of a model that a bidirectional pipeline holds several of."""
    operators = tuple(op for op in graph.operators if op.lane == 0)
    return graph if len(operators) == len(graph.operators) else replace(graph, operators=operators)


class Units:
    """The units of a model, numbered: 0 before the blocks, then the blocks, the rest last."""

    def __init__(self, graph: OperatorGraph) -> None:
        """Number the operators of ``graph``; what stands between blocks goes with the former."""
        self.graph = graph
        names = dict.fromkeys(op.block for op in graph.operators if op.block)
        self.blocks = tuple(names)
        self.unit_of = dict(self._numbers())
        self.count = len(self.blocks) + 2
        used = set(self.unit_of.values())
        self.has_ends = 0 in used, self.count - 1 in used

    def _numbers(self) -> Iterable[tuple[str, int]]:
        number = {name: index + 1 for index, name in enumerate(self.blocks)}
        here = 0
        for op in self.graph.operators:
            if op.block:
                here = number[op.block]
            is_over = not op.block and here == len(self.blocks)
            yield op.name, here + is_over

    def of(self, operator: Operator) -> int:
        """Return the unit of an operator."""
        return self.unit_of[operator.name]


def _times_ns(program: Program, units: Units) -> Int64:
    times = np.zeros(units.count, np.int64)
    for row in program.notebook.rows:
        if _is_in_a_pass(row):
            operator = program.graph.operators[row.operator]
            times[units.of(operator)] += int(row.duration_ns.max(initial=0))
    return times


def _is_in_a_pass(row: Row) -> bool:
    return row.action in (F, B) and row.operator >= 0 and row.kind not in _ELSEWHERE


def _static_bytes(program: Program, costs: Costs, part: WeightPart) -> int:
    return sum(static_bytes(program, part, costs.software))


def _step_bytes(program: Program, costs: Costs, part: WeightPart) -> int:
    if OPTIMIZER in program.strategy.offload:
        return 0
    held = costs.software.step_bytes_per_parameter.get(program.graph.stored_precision, 0.0)
    return round(part.num_parameters / part.num_shares * held)


def _by_reader(program: Program, units: Units, size: Callable[[WeightPart], int]) -> Int64:
    """Return what every unit holds of weights or their state; shared ones in each of them."""
    total = np.zeros(units.count, np.int64)
    for part in weight_parts(program):
        num_bytes = size(part)
        for unit in sorted(_readers(program, units, part)):
            total[unit] += num_bytes
    return total


def _readers(program: Program, units: Units, part: WeightPart) -> set[int]:
    return {units.of(operator) for operator, _ in program.uses[part.name]}


def _kept_bytes(program: Program, units: Units) -> Int64:
    kept = np.zeros(units.count, np.int64)
    owner = _owners(program)
    for layouts in program.saved.values():
        for tensor, layout in layouts.items():
            kept[units.of(owner[tensor])] += _local_bytes(program, tensor, layout)
    return kept


def _local_bytes(program: Program, tensor: str, layout: Layout) -> int:
    return program.size(tensor).local_bytes(layout)


def _owners(program: Program) -> dict[str, Operator]:
    """Return the first operator whose backward reads each tensor, else whose forward does."""
    found: dict[str, Operator] = {}
    operators = program.graph.operators
    backward = [(op, step) for op in operators for step in op.backward]
    forward = [(op, step) for op in operators for step in op.forward]
    for operator, step in (*backward, *forward):
        for use in step.reads:
            found.setdefault(use.tensor, operator)
    return found
