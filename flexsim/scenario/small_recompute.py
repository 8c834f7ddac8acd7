"""The best recomputation of a small graph without layers, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexsim.errors import StrategyError
from flexsim.operator_graph import OperatorGraph
from flexsim.operator_graph.records import Operator, Step
from flexsim.scenario.choices import Subject, schedule_of
from flexsim.scenario.stage_costs import first_rank_program
from flexsim.strategy import Degrees
from flexsim.strategy.recompute import Segments
from flexsim.strategy.recompute_program import (
    MOST_OPERATORS,
    Saved,
    cheapest_runs,
    least_memory,
    memory_of,
)
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.parts import static_bytes, weight_parts
from flexsim.task_graph.program import Program
from flexsim.task_graph.schedules.held import held_when_fullest

_FORWARD = TASK_CODE["forward"]


@dataclass(frozen=True, eq=False)
class Choice:
    """What is recomputed, what ranks then hold, and where nothing holds less."""

    segments: Segments
    used_bytes: NDArray[np.int64]
    is_least: NDArray[np.bool_]


class SmallGraph:
    """Chooses runs of operators by an integer program."""

    def __init__(self, degrees: Degrees, subject: Subject) -> None:
        """Price the operators; raise :class:`StrategyError` where there are too many."""
        graph = subject.graph
        if len(graph.operators) > MOST_OPERATORS:
            raise StrategyError(
                f"training.recompute = 'best' takes at most {MOST_OPERATORS} operators where a "
                f"model has no layers, and {graph.name} has {len(graph.operators)}; choose none"
            )
        program = first_rank_program(graph, degrees, subject.devices, subject.costs)
        software = subject.costs.software
        self.names = tuple(op.name for op in graph.operators)
        self.time_ns = _forward_ns(program)
        self.tensors = _tensors(program)
        self.held = int(held_when_fullest(schedule_of(degrees)).max())
        parts = weight_parts(program)
        self.static = sum(sum(static_bytes(program, part, software)) for part in parts)

    def choose(self, room: NDArray[np.int64]) -> Choice:
        """Return the cheapest runs that fit, else each operator by itself."""
        limit = int(room.min()) - self.static
        found = cheapest_runs(self.time_ns, self.tensors, self.held, limit)
        runs = least_memory(self.time_ns, self.tensors, self.held) if found is None else found
        used = self.static + memory_of(runs, self.tensors, self.held)
        segments = tuple(self.names[first : last + 1] for first, last in runs)
        return Choice(segments, np.full(len(room), used), np.full(len(room), found is None))


def _forward_ns(program: Program) -> list[int]:
    times = [0] * len(program.graph.operators)
    for row in program.notebook.rows:
        if row.kind == _FORWARD:
            times[row.operator] += int(row.duration_ns.max(initial=0))
    return times


def _tensors(program: Program) -> list[Saved]:
    """Return what operators write or are fed, with all who read it."""
    graph = program.graph
    number = {op.name: index for index, op in enumerate(graph.operators)}
    forward, backward = (_readers(graph, pass_name) for pass_name in ("forward", "backward"))
    found = []
    for tensor in graph.tensors:
        if tensor in graph.inputs or tensor not in graph.writer:
            continue
        writer = number[graph.writer[tensor]]
        size = _local_bytes(program, graph.operators[writer], tensor)
        readers = backward.get(tensor, ())
        found.append(Saved(size, writer, tuple(readers), tuple(forward.get(tensor, ()))))
    return found


def _readers(graph: OperatorGraph, pass_name: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, op in enumerate(graph.operators):
        steps: tuple[Step, ...] = op.forward if pass_name == "forward" else op.backward
        for tensor in dict.fromkeys(use.tensor for step in steps for use in step.reads):
            found.setdefault(tensor, []).append(index)
    return found


def _local_bytes(program: Program, operator: Operator, tensor: str) -> int:
    """Return the bytes of a tensor's largest part as its writer leaves it."""
    size, cut = program.size(tensor), program.cuts.of(operator)
    for step in operator.forward:
        for position, layout in cut.writes(operator, step):
            if step.maps[position].write.tensor == tensor:
                return size.local_bytes(layout)
    return 0
