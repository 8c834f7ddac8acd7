"""The order of a scenario's passes, where the strategy's name does not say all of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flexsim.cost.profiles import load_device_profile
from flexsim.engine.table import choose_engine, load_engine
from flexsim.scenario.checks import in_file
from flexsim.scenario.ordering import is_in_file, schedule_of_file
from flexsim.scenario.prepare import Prepared
from flexsim.scenario.schema import Scenario
from flexsim.task_graph.build import plan_task_graph
from flexsim.task_graph.columns import Int64
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.rows import INPUT, WEIGHT, B, F
from flexsim.task_graph.schedules import PipelineShape, Schedule, build_schedule
from flexsim.task_graph.schedules.automatic import automatic
from flexsim.task_graph.schedules.catalog import AUTO
from flexsim.task_graph.schedules.order_problem import OrderProblem, StageCosts
from flexsim.timeline.spans import Timeline

_PROBES = {"loop": "zb-h1", "chunks": "interleaved-zero-bubble", "v": "zb-v"}
"""Schedules whose replay tells what F, I and W of every stage take."""


def order_of(scenario: Scenario, found: Prepared) -> Schedule | None:
    """Return the order that a scenario asks for; None where its schedule's name says it."""
    if scenario.strategy.file is not None:
        return None
    if is_in_file(scenario):
        return schedule_of_file(scenario)
    name = scenario.strategy.chosen_schedule
    if name == AUTO:
        with in_file(scenario.source, "strategy.schedule"):
            return automatic(order_problem(found)).schedule
    if scenario.strategy.warm_up is None:
        return None
    shape = PipelineShape(
        found.strategy.num_ranks,
        found.strategy.num_microbatches,
        found.strategy.num_chunks,
        warm_up=scenario.strategy.warm_up,
    )
    with in_file(scenario.source, "strategy.warm_up"):
        return build_schedule(name, shape)


def order_problem(found: Prepared) -> OrderProblem:
    """Return what is to be ordered: durations and bytes of passes as a short replay has them.

    Ranks may hold what their devices' memory leaves beside weights and their state, or one
    microbatch where that is less.
    """
    plan = _probe(found)
    whole = _plan(found, plan.schedule.num_microbatches, _with_whole_backwards(plan.schedule))
    stages = _stage_costs(plan, _replayed(plan), _lengths_ns(_replayed(whole))[B])
    ranks = found.strategy.rank_of_stage
    least = [0] * found.strategy.num_ranks
    for rank, costs in zip(ranks, stages, strict=True):
        least[rank] += costs.kept_bytes
    room = _room_bytes(found, plan)
    return OrderProblem(
        stages=tuple(stages),
        rank_of_stage=tuple(ranks),
        num_microbatches=found.strategy.num_microbatches,
        limit_bytes=tuple(map(max, room, least)),
    )


def _probe(found: Prepared) -> Plan:
    """Return the plan of a few microbatches with backwards cut in two."""
    strategy = found.strategy
    is_v = strategy.num_chunks == 2 and strategy.rank_of_stage[-1] < strategy.num_ranks - 1
    name = _PROBES["v" if is_v else "loop" if strategy.num_chunks == 1 else "chunks"]
    few = min(strategy.num_microbatches, strategy.num_ranks)
    shape = PipelineShape(strategy.num_ranks, few, strategy.num_chunks)
    return _plan(found, few, build_schedule(name, shape))


def _plan(found: Prepared, num_microbatches: int, order: Schedule) -> Plan:
    strategy = replace(found.strategy, num_microbatches=num_microbatches)
    return plan_task_graph(found.graph, strategy, found.devices, found.costs, order=order)


def _replayed(plan: Plan) -> Timeline:
    graph = plan.task_graph()
    return load_engine(choose_engine(None, graph.num_tasks))(graph, None)


def _with_whole_backwards(schedule: Schedule) -> Schedule:
    """Return a schedule with a whole backward where it has I, and no W."""
    orders = [
        [
            action._replace(kind="B") if action.kind == "I" else action
            for action in schedule.actions(rank)
            if action.kind != "W"
        ]
        for rank in range(schedule.num_ranks)
    ]
    ranks = schedule.rank_of_stage.tolist()
    return Schedule.from_orders(schedule.num_microbatches, ranks, orders)


def _stage_costs(plan: Plan, timeline: Timeline, whole_ns: Int64) -> list[StageCosts]:
    """Return what passes of every stage take: the shortest of the replay, from first to last task,
    since the longer ones waited."""
    graph = timeline.task_graph
    lengths = _lengths_ns(timeline)
    sends = graph.kind == TASK_CODE["pipeline"]
    owner = graph.action[sends]
    transfers = np.zeros(plan.schedule.num_stages, np.int64)
    forward = graph.actions.kind[owner] == F
    stage = graph.actions.stage[owner[forward]]
    np.maximum.at(transfers, stage, graph.duration_ns[sends][forward])
    memory = plan.activation_memory
    kind, place = graph.actions.kind[memory.action], graph.actions.stage[memory.action]
    net = memory.allocated - memory.freed
    costs = []
    for number in range(plan.schedule.num_stages):
        here = place == number
        kept = int(memory.allocated[here & (kind == F)].max(initial=1))
        late = int(-net[here & (kind == WEIGHT)].min(initial=0))
        forward_ns, input_ns, weight_ns = (int(lengths[k, number]) for k in (F, INPUT, WEIGHT))
        costs.append(
            StageCosts(
                forward_ns,
                input_ns,
                weight_ns,
                int(transfers[number]),
                kept,
                late,
                int(whole_ns[number]),
            )
        )
    return costs


def _lengths_ns(timeline: Timeline) -> Int64:
    """Return the shortest compute span by kind of action and stage; 0 for none."""
    graph = timeline.task_graph
    computes = graph.is_compute & (graph.action >= 0)
    action, size = graph.action[computes], len(graph.actions.kind)
    first, last = np.full(size, np.iinfo(np.int64).max), np.zeros(size, np.int64)
    np.minimum.at(first, action, timeline.start_ns[computes])
    np.maximum.at(last, action, timeline.end_ns[computes])
    passes = np.flatnonzero((last > 0) & (graph.actions.microbatch >= 0))
    shape = int(graph.actions.kind.max()) + 1, int(graph.actions.stage.max()) + 1
    lengths = np.full(shape, np.iinfo(np.int64).max)
    place = graph.actions.kind[passes], graph.actions.stage[passes]
    np.minimum.at(lengths, place, last[passes] - first[passes])
    found: Int64 = np.where(lengths == np.iinfo(np.int64).max, 0, lengths)
    return found


def _room_bytes(found: Prepared, plan: Plan) -> list[int]:
    """Return by rank what its fullest device has left for activations, beside what is held for a
    moment."""
    static, memory = plan.static_memory, plan.activation_memory
    held = static.weights + static.gradients + static.optimizer
    for more in (static.framework, static.buffers):
        held = held if more is None else held + more
    moment = np.zeros(len(static.device), np.int64)
    np.maximum.at(moment, np.searchsorted(static.device, memory.device), memory.transient)
    types = [found.devices.device_types[device] for device in static.device.tolist()]
    capacity = {name: load_device_profile(name).memory_capacity_bytes for name in set(types)}
    left = np.array([capacity[name] for name in types]) - held
    room = (left / (1 + static.fragmentation)).astype(np.int64) - moment
    ranks = plan.rank_of_device
    return [int(room[ranks == rank].min(initial=2**62)) for rank in range(plan.schedule.num_ranks)]
