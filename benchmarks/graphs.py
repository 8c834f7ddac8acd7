"""The task graphs that the benchmarks build and replay.

Random graphs take two predecessors a task, either among the thousand tasks before it ("near") or
among all ("far", where every access to memory misses the cache); a fifth of their tasks hold two
of 64 resources. The pipeline is 1F1B on 64 ranks. Chains are eight devices' compute tasks in
order, every fifth of which also holds a communication stream, with edges between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

import flexsim
from flexsim.ragged import Csr
from flexsim.scenario import runner
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_CODE
from flexsim.task_graph.pipeline import StageDurations, pipeline_task_graph
from flexsim.task_graph.plan import Plan
from flexsim.task_graph.schedules import PipelineShape, one_f_one_b

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
_NUM_RANKS = 64
_NUM_RESOURCES = 64
_NUM_CHAINS = 8


def random_graph(num: int, reach: int, seed: int = 0) -> TaskGraph:
    """Return ``num`` tasks, each after two of the ``reach`` tasks before it, or fewer."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, num)
    before = rng.integers(np.maximum(ids - reach, 0), ids, (2, num - 1))
    source, target = np.divmod(np.unique(before * num + ids), num)
    streams = np.zeros(_NUM_RESOURCES, np.uint8)
    held = _random_resources(num, rng)
    return _graph(rng.integers(1, 1_001, num), held, (source, target), streams)


def _random_resources(num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (task, resource) pairs: one of each task, a second one of every fifth."""
    first = rng.integers(0, _NUM_RESOURCES, num)
    two = np.flatnonzero(rng.random(num) < 0.2)
    second = (first[two] + rng.integers(1, _NUM_RESOURCES, len(two))) % _NUM_RESOURCES
    return np.concatenate([np.arange(num), two]), np.concatenate([first, second])


def chains_graph(num: int, seed: int = 0) -> TaskGraph:
    """Return eight chains of together about ``num`` tasks, coupled every tenth task."""
    length = num // _NUM_CHAINS
    ids = np.arange(_NUM_CHAINS * length)
    device, position = np.divmod(ids, length)
    two = position % 5 == 0
    held = np.concatenate([ids, ids[two]]), np.concatenate([device, _NUM_CHAINS + device[two]])
    chained = position < length - 1
    coupled = (position % 10 == 3) & (device < _NUM_CHAINS - 1) & (position < length - 9)
    source = np.concatenate([ids[chained], ids[coupled]])
    target = np.concatenate([ids[chained] + 1, ids[coupled] + length + 7])
    duration_ns = np.random.default_rng(seed).integers(1_000, 1_000_000, len(ids))
    streams = np.repeat(np.array([0, TASK_CODE["tensor"]], np.uint8), _NUM_CHAINS)
    return _graph(duration_ns, held, (source, target), streams)


def _graph(
    duration_ns: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    edges: tuple[np.ndarray, np.ndarray],
    streams: np.ndarray,
) -> TaskGraph:
    """Return the task graph of (task, resource) pairs, edges and the kinds of streams."""
    num, none = len(duration_ns), np.zeros(len(duration_ns), np.int32)
    one, first = np.zeros(1, np.uint8), np.zeros(1, np.int32)
    owner = np.arange(len(streams), dtype=np.int32)
    return TaskGraph(
        action=none,
        operator=none,
        kind=np.zeros(num, np.uint8),
        part=none,
        duration_ns=duration_ns,
        num_bytes=np.zeros(num, np.int64),
        resources=Csr.from_pairs(num, held[0], held[1].astype(np.int32)),
        successors=Csr.from_pairs(num, edges[0], edges[1].astype(np.int32)),
        in_degree=np.bincount(edges[1], minlength=num).astype(np.int32),
        actions=ActionTable(one, first, first, first),
        resource_table=ResourceTable(streams, owner, np.full(len(streams), -1, np.int32)),
        operator_names=("layer",),
    )


def pipeline_graph(num: int) -> TaskGraph:
    """Return a 1F1B pipeline of about ``num`` tasks."""
    num_microbatches = max(1, num // (4 * _NUM_RANKS))
    schedule = one_f_one_b(PipelineShape(_NUM_RANKS, num_microbatches))
    return pipeline_task_graph(schedule, StageDurations(10_000, 11_000, 9_000, 370))


SYNTHETIC: Mapping[str, Callable[[int], TaskGraph]] = {
    "random, near": lambda num: random_graph(num, 1_000),
    "random, far": lambda num: random_graph(num, num),
    "pipeline": pipeline_graph,
    "chains": chains_graph,
}
"""Graphs of about a given number of tasks."""


def scenario_path(name: str) -> Path:
    """Return the file of a scenario of the repository."""
    return SCENARIOS / f"{name}.toml"


def plan_of(name: str, fold: bool = True) -> Plan:
    """Return the plan of a scenario of the repository, from its file on."""
    changes = [] if fold else ["strategy.fold=false"]
    return runner.planned(flexsim.load_scenario(scenario_path(name), changes))[0]


PLANS: Mapping[str, Callable[[], Plan]] = {
    "22B on 8 devices, unfolded": partial(plan_of, "korthikanti-22b-8xa100-selective", False),
    "175B on 64 devices": partial(plan_of, "gpt3-175b-64xa100"),
    "175B on 64 devices, unfolded": partial(plan_of, "gpt3-175b-64xa100", False),
    "1T, 64 stages x 512 microbatches": partial(plan_of, "korthikanti-1t-512xa100-selective"),
}
"""Plans of scenarios, whose graphs are built and replayed."""


@lru_cache(maxsize=1)
def planned(name: str) -> Plan:
    """Return one of :data:`PLANS`, kept until another is asked for."""
    return PLANS[name]()


@lru_cache(maxsize=1)
def graph_of(name: str, num: int = 0) -> TaskGraph:
    """Return a synthetic graph of about ``num`` tasks, or a plan's; kept until the next."""
    return SYNTHETIC[name](num) if num else planned(name).task_graph()


def num_tasks(name: str, num: int = 0) -> int:
    """Return how many tasks :func:`graph_of` would give, about."""
    if num:
        return num
    plan = planned(name)
    return int(np.diff(plan.templates.offsets)[plan.actions.template].sum())
