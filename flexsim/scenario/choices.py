"""What a scenario leaves to be chosen by cost: where stages are cut, and what is recomputed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flexsim.cost.costs import Costs
from flexsim.cost.profiles import load_device_profile
from flexsim.device_graph import DeviceGraph
from flexsim.errors import StrategyError
from flexsim.operator_graph import OperatorGraph
from flexsim.scenario.schema import Scenario
from flexsim.scenario.stage_costs import unit_costs
from flexsim.strategy import EXPERTS, Degrees
from flexsim.strategy.balance import Chain, best_cut, rank_costs
from flexsim.strategy.baselines import ranks_of_stages
from flexsim.task_graph.schedules import SCHEDULES, PipelineShape, Schedule, build_schedule
from flexsim.task_graph.schedules.held import held_at_most


@dataclass(frozen=True, eq=False)
class Subject:
    """A model on its cluster: what choices are made for."""

    graph: OperatorGraph
    devices: DeviceGraph
    costs: Costs


def balanced(scenario: Scenario, degrees: Degrees, subject: Subject) -> Degrees:
    """Return the degrees with the layers of every stage, where stages are not cut equally."""
    table = scenario.strategy
    if not table.cuts_equally and table.name in EXPERTS:
        raise StrategyError(
            f"strategy.balance and layers_per_stage have no meaning for strategy {table.name!r}, "
            "which has one stage; leave them out or choose 'megatron'"
        )
    if table.layers_per_stage is not None:
        return replace(degrees, layers_per_stage=tuple(table.layers_per_stage))
    if table.cuts_equally:
        return degrees
    _check_runs(subject.graph)
    kept = "none" if degrees.recompute == "best" else degrees.recompute
    found = unit_costs(
        subject.graph, replace(degrees, recompute=kept), subject.devices, subject.costs
    )
    none = np.zeros_like(found.time_ns)
    if table.balance == "time":
        chain = Chain(found.time_ns, none, none, found.has_ends)
        passes = [1] * (degrees.pipeline * degrees.chunks)
    else:
        chain = Chain(found.static_bytes, found.kept_bytes, found.step_bytes, found.has_ends)
        held = held_at_most(schedule_of(degrees))
        passes = held[: degrees.pipeline * degrees.chunks].tolist()
    return replace(degrees, layers_per_stage=_best_for_ranks(chain, passes, degrees))


def _best_for_ranks(chain: Chain, passes: list[int], degrees: Degrees) -> tuple[int, ...]:
    """Return the best cut into stages, or the equal one where ranks of several have less of it."""
    cuts = [best_cut(chain, passes)]
    size, left_over = divmod(chain.num_blocks, len(passes))
    if not left_over:
        cuts.append((size,) * len(passes))
    ranks = ranks_of_stages(degrees)
    return min(cuts, key=lambda cut: max(rank_costs(chain, cut, passes, ranks)))


def schedule_of(degrees: Degrees) -> Schedule:
    """Return the schedule that the degrees ask for; raise where it has no name."""
    if degrees.schedule not in SCHEDULES:
        raise StrategyError(
            f"strategy.schedule = {degrees.schedule!r} follows from stages and memory, so "
            "strategy.balance = 'memory' and training.recompute = 'best' cannot follow from it; "
            "choose a named schedule such as 1f1b"
        )
    shape = PipelineShape(degrees.pipeline, degrees.num_microbatches, degrees.chunks)
    return build_schedule(degrees.schedule, shape)


def memory_limit_bytes(scenario: Scenario, subject: Subject) -> int:
    """Return what a device may hold: as the scenario says, else the least that any device has."""
    names = dict.fromkeys(subject.devices.device_types)
    capacity = min(load_device_profile(name).memory_capacity_bytes for name in names)
    return min(scenario.training.memory_limit or capacity, capacity)


def _check_runs(graph: OperatorGraph) -> None:
    """Raise where a model has no layers that stand one after the other."""
    blocks = [op.block for op in graph.operators if op.block and op.lane == 0]
    changes = [name for name, before in zip(blocks, ["", *blocks], strict=False) if name != before]
    if not blocks or len(changes) != len(set(changes)):
        raise StrategyError(
            f"strategy.balance: {graph.name} has no layers that stand one after the other, so it "
            "cannot be cut into stages; choose strategy.pipeline = 1"
        )
