"""From an operator graph under a strategy to the task graph of one iteration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from flexsim.cost.costs import Costs
from flexsim.device_graph import DeviceGraph
from flexsim.operator_graph.graph import OperatorGraph
from flexsim.strategy.strategy import Strategy, check_strategy
from flexsim.task_graph.asynchronous import check_stands_alone, with_versions
from flexsim.task_graph.columns import TaskGraph
from flexsim.task_graph.expand import build_program
from flexsim.task_graph.folding import fold_rows, unfolded
from flexsim.task_graph.inference import (
    forward_rows,
    has_backward,
    weights_only,
    without_saved,
)
from flexsim.task_graph.issue import issued_rows
from flexsim.task_graph.members import templates_of
from flexsim.task_graph.memory import stage_memory, static_memory
from flexsim.task_graph.order import schedule_of
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.program import Program
from flexsim.task_graph.refusals import check_halves, check_split
from flexsim.task_graph.rings import fused_rows
from flexsim.task_graph.rows import B, F, Row, U
from flexsim.task_graph.schedules import Schedule
from flexsim.task_graph.split import WHOLE, passes_of, split_rows
from flexsim.task_graph.templates import Templates
from flexsim.task_graph.update import write_update

OFF = "folding is switched off"
"""Why nothing is folded where the caller wants that."""


def build_task_graph(
    operators: OperatorGraph,
    strategy: Strategy,
    devices: DeviceGraph,
    costs: Costs,
    fold: bool = True,
) -> TaskGraph:
    """Return the tasks of one training iteration.

    ``operators`` describes one microbatch of all replicas. With ``fold`` one device stands for
    all that behave alike, where that is exact; :attr:`TaskGraph.folding` says what was done.
    Raise :class:`StrategyError` where the strategy does not fit the model or the cluster.
    """
    return plan_task_graph(operators, strategy, devices, costs, fold).task_graph()


def plan_task_graph(
    operators: OperatorGraph,
    strategy: Strategy,
    devices: DeviceGraph,
    costs: Costs,
    fold: bool = True,
    order: Schedule | None = None,
) -> Plan:
    """Return the plan of one training iteration, with what :func:`build_task_graph` takes.

    ``order`` takes the place of the schedule that the strategy names.
    """
    check_strategy(strategy, operators, devices.num_devices)
    schedule = schedule_of(strategy, order)
    passes = passes_of(schedule.kind)
    check_split(strategy, passes)
    program = build_program(operators, strategy, devices, costs, splits=passes != WHOLE)
    parts = write_update(program, costs.software)
    check_stands_alone(strategy, schedule, parts)
    rows = issued_rows(fused_rows(program), costs.software)
    trains = has_backward(schedule)
    if not trains:
        rows = forward_rows(rows)
    names = tuple(op.name for op in operators.operators)
    folding = fold_rows(rows, strategy, names) if fold else unfolded(rows, strategy, OFF)
    static = static_memory(program, parts, costs.software, folding.devices)
    static = with_versions(static, strategy, schedule)
    keeping = program if trains else without_saved(program)
    stages = stage_memory(keeping, folding.devices, passes)
    return Plan(
        templates=_templates(folding.rows, strategy, passes),
        schedule=schedule,
        operator_names=names,
        overlap_gradients=strategy.overlap_gradients,
        static_memory=replace(
            static if trains else weights_only(static),
            num_alike=folding.class_sizes,
            buffers=stages.received.max(axis=0),
        ),
        stage_memory=stages,
        hardware_flops=float(_flops(program, trains)) * strategy.passes_a_stage,
        num_tasks_unfolded=_num_tasks(rows, strategy, schedule),
        folding=folding.report,
    )


def _flops(program: Program, trains: bool) -> int:
    return program.notebook.flops if trains else program.notebook.forward_flops


def _templates(rows: Sequence[Row], strategy: Strategy, passes: tuple[int, ...]) -> Templates:
    cut = split_rows(rows, passes)
    check_halves(strategy, cut, passes)
    return templates_of(cut, strategy.num_stages, strategy.num_ranks, passes)


def _num_tasks(rows: Sequence[Row], strategy: Strategy, schedule: Schedule) -> int:
    passes = strategy.passes_a_stage * schedule.num_iterations
    updates = schedule.num_microbatches // (schedule.microbatches_an_update or sys.maxsize)
    repeats = {F: passes, B: passes, U: max(1, updates)}
    return sum(row.places.num_members * repeats[row.action] for row in rows)
