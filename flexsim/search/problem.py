"""From a scenario to what is searched: the problem, its space and where chains start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flexsim.cost.profiles import load_device_profile
from flexsim.cost.work import CostModel
from flexsim.errors import FlexSimError, ScenarioError, StrategyError
from flexsim.files import is_file
from flexsim.operator_graph.graph import SAMPLE_DIM
from flexsim.scenario.checks import usable_devices
from flexsim.scenario.ordering import flushes
from flexsim.scenario.prepare import prepare
from flexsim.scenario.schema import Scenario
from flexsim.search.arrangement import arranged, normal
from flexsim.search.moves import Moves
from flexsim.search.objective import Configs, Problem, simulated
from flexsim.search.optcnn import least_cost
from flexsim.search.placements import Pool
from flexsim.search.space import Restrictions, Space
from flexsim.search.trace import NEVER
from flexsim.search.transformation_proposals import best_transformed
from flexsim.search.units import find_units
from flexsim.strategy import ParallelConfig, Strategy
from flexsim.strategy.baselines import Degrees
from flexsim.strategy.experts import EXPERT_DEGREES, EXPERTS
from flexsim.strategy.files import load_strategy
from flexsim.strategy.sharding import WHOLE

NAMED_STARTS = ("data", "expert", "random", "optcnn", *EXPERTS)
Start = tuple[Configs, Mapping[str, int]]
"""Configs and stages, an entry an operator."""


def make_problem(scenario: Scenario, cost_model: CostModel | None = None) -> Problem:
    """Return what a search over a scenario's strategies asks, on the graph that it searches."""
    problem = plain_problem(scenario, cost_model)
    return best_transformed(problem) if scenario.search.transformations else problem


def plain_problem(scenario: Scenario, cost_model: CostModel | None = None) -> Problem:
    """Return what a search over a scenario's strategies asks, on the model's own graph.

    The scenario's own strategy gives the microbatches, the schedule and the stages.
    """
    network = scenario.simulation.network
    if network != "analytic":
        raise ScenarioError(
            f"{scenario.source}: simulation.network = {network!r} is too slow to search on: search"
            " with --set simulation.network=analytic, then run what is found on links or fair"
        )
    found = prepare(scenario, cost_model)
    if found.strategy.sharding != WHOLE:
        raise ScenarioError(
            f"{scenario.source}: a search keeps weights, gradients and optimizer state whole;"
            " leave strategy.zero at 0"
        )
    if found.strategy.num_slices > 1 or not flushes(scenario):
        raise ScenarioError(
            f"{scenario.source}: a search compares single iterations of whole sequences, which"
            f" strategy.schedule = {scenario.strategy.chosen_schedule!r} has not; choose another,"
            " such as 1f1b"
        )
    if found.strategy.offload or found.costs.software.factored_moment_bytes:
        raise ScenarioError(
            f"{scenario.source}: a search keeps all state of adam or sgd on the devices; leave out"
            " training.offload and choose training.optimizer = adam or sgd"
        )
    types = sorted(set(found.devices.device_types))
    capacity = min(load_device_profile(name).memory_capacity_bytes for name in types)
    limit = capacity if scenario.search.memory_limit == "device" else None
    return Problem(found.graph, found.devices, found.costs, found.strategy, limit)


def make_space(scenario: Scenario, problem: Problem) -> Space:
    """Return the space that the scenario's ``[search]`` table leaves of the whole one.

    Without pipeline stages every operator may lie on all devices of the cluster, otherwise on
    those of its pipeline rank.
    """
    table = scenario.search
    restrictions = Restrictions(
        table.dimensions, table.powers_of_two, table.placement, table.copies
    )
    units = find_units(problem.graph, table.shared_weights)
    base = problem.base
    names = [op.name for op in problem.graph.operators]
    rank_of = {name: base.rank_of_stage[base.stage_of.get(name, 0)] for name in names}
    return Space(units, _pools(scenario, problem), rank_of, restrictions)


def starts(scenario: Scenario, problem: Problem, space: Space) -> dict[str, Callable[..., Start]]:
    """Return the named starts as functions of a random generator."""
    return {
        "data": lambda rng: (data_parallel(problem, space), problem.base.stage_of),
        "expert": lambda rng: (normal_configs(problem.base), problem.base.stage_of),
        "random": lambda rng: (random_configs(problem, space, rng), problem.base.stage_of),
        "optcnn": lambda rng: (optcnn_configs(problem, space), problem.base.stage_of),
        **{name: partial(_of_experts, problem, space, name) for name in EXPERTS},
        **{
            name: partial(_from_file, scenario, problem, name)
            for name in scenario.search.starts
            if name not in NAMED_STARTS
        },
    }


def data_parallel(problem: Problem, space: Space) -> dict[str, ParallelConfig]:
    """Return data parallelism: the batch cut over all devices that an operator may use."""
    configs: dict[str, ParallelConfig] = {}
    for unit in space.units:
        for op in unit.operators:
            pool = space.pools[space.rank_of[op.name]].devices
            degree = min(unit.limits.get(SAMPLE_DIM, 1), len(pool))
            degrees = {SAMPLE_DIM: degree} if degree > 1 else {}
            configs[op.name] = arranged(degrees, pool[:degree])
    return configs


def random_configs(
    problem: Problem, space: Space, rng: np.random.Generator
) -> dict[str, ParallelConfig]:
    """Return a random config a unit; where none fits, that of the base strategy."""
    configs = dict(normal_configs(problem.base))
    for unit in filter(space.is_free, space.units):
        found = space.draw(unit, space.pool(unit), rng)
        configs |= unit.configs(found) if found is not None else {}
    return configs


def optcnn_configs(problem: Problem, space: Space) -> dict[str, ParallelConfig]:
    """Return OptCNN's strategy: the best by dynamic programming where nothing overlaps."""
    moves = Moves(problem.graph, space, problem.base)
    return {**normal_configs(problem.base), **least_cost(problem, moves)}


def normal_configs(strategy: Strategy) -> dict[str, ParallelConfig]:
    """Return a strategy's configs in normal form."""
    seen: dict[ParallelConfig, ParallelConfig] = {}
    for config in strategy.configs.values():
        if config not in seen:
            seen[config] = normal(config)
    return {name: seen[config] for name, config in strategy.configs.items()}


def baseline_scenario(scenario: Scenario) -> Scenario:
    """Return the same training under plain data parallelism on as many devices as it fills.

    The micro-batch is lowered where the batch would not reach every device.
    """
    from flexsim.device_graph import load_device_graph

    cluster, training = scenario.cluster, scenario.training
    graph = load_device_graph(scenario.beside(cluster.device_graph), cluster.hosts)
    num_devices = usable_devices(scenario, graph.num_devices)
    batch = training.global_batch
    data = max(n for n in range(1, min(batch, num_devices) + 1) if batch % n == 0)
    share = batch // data
    micro = max(n for n in range(1, training.micro_batch + 1) if share % n == 0)
    table = scenario.strategy.model_copy(
        update={
            "name": "data", "file": None, "tensor": 1, "pipeline": 1, "data": data, "chunks": 1,
            "sequence_parallel": False, "schedule": None, "fold": False, "context": 1, "expert": 1,
        }
    )  # fmt: skip
    copy = scenario.model_copy(
        update={
            "strategy": table,
            "training": training.model_copy(update={"micro_batch": micro}),
        }
    )
    copy._source = scenario.source
    return copy


def check_starts(scenario: Scenario) -> None:
    """Raise :class:`ScenarioError` for a start that is neither a name nor a file."""
    for name in scenario.search.starts:
        if name not in NAMED_STARTS and not is_file(_path(scenario, name)):
            raise ScenarioError(
                f"{scenario.source}: search.starts names {name!r}, which is no file; choose from "
                f"{', '.join(NAMED_STARTS)}, or the path of a strategy file"
            )


def _of_experts(problem: Problem, space: Space, name: str, rng: np.random.Generator) -> Start:
    """Return a published strategy on all devices, at the degree that is the fastest for it."""
    stages = problem.base.stage_of
    tried = {
        width: normal_configs(EXPERTS[name](problem.graph, _degrees(name, width, space.pools[0])))
        for width in _widths(problem, name, space.pools[0])
    }
    times = {
        width: simulated(problem, configs, stages).makespan_ns for width, configs in tried.items()
    }
    return tried[min(times, key=lambda width: (times[width] or NEVER, width))], stages


def _widths(problem: Problem, name: str, pool: Pool) -> list[int]:
    """Return the degrees that an expert's strategy may have: powers of two that fill the pool."""
    powers = [1 << k for k in range(1, pool.size.bit_length())]
    found: list[int] = []
    for width in (power for power in powers if pool.size % power == 0):
        try:
            EXPERTS[name](problem.graph, _degrees(name, width, pool))
        except StrategyError:
            if not found:
                raise
            break
        found.append(width)
    return found


def _degrees(name: str, width: int, pool: Pool) -> Degrees:
    own: dict[str, Any] = {EXPERT_DEGREES[name]: width}
    return Degrees(data=pool.size // width, **own)


def _path(scenario: Scenario, name: str) -> Path:
    near = Path(scenario.source).parent / name
    return near if is_file(near) else Path(name)


def _from_file(scenario: Scenario, problem: Problem, name: str, rng: np.random.Generator) -> Start:
    strategy = load_strategy(_path(scenario, name), problem.graph, problem.devices)
    shared = ("rank_of_stage", "num_microbatches")
    differing = [key for key in shared if getattr(strategy, key) != getattr(problem.base, key)]
    if differing:
        raise FlexSimError(
            f"{_path(scenario, name)}: {differing[0]} = {getattr(strategy, differing[0])}, but "
            f"the scenario's strategy has {getattr(problem.base, differing[0])}"
        )
    return normal_configs(strategy), strategy.stage_of


def _pools(scenario: Scenario, problem: Problem) -> dict[int, Pool]:
    """Return the devices that the operators of every pipeline rank may use."""
    base, graph = problem.base, problem.devices
    if base.num_ranks == 1:
        return {0: Pool.of(graph, range(usable_devices(scenario, graph.num_devices)))}
    devices: dict[int, list[int]] = {rank: [] for rank in range(base.num_ranks)}
    for stage, meshes in enumerate(base.meshes_of_stage):
        for mesh in meshes:
            devices[base.rank_of_stage[stage]] += mesh.flat.tolist()
    return {rank: Pool.of(graph, sorted(set(found))) for rank, found in devices.items()}
