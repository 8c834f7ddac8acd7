"""How many tasks a second the engines replay: ``python benchmarks/bench_engines.py``.

Both engines replay the same graphs in the same run, on one core; the best of three rates, the
event engine's of one where it takes long. Random graphs take two predecessors a task, either
among the thousand tasks before it ("near") or among all ("far", where every access to memory
misses the cache); a fifth of their tasks hold two of 64 resources. The pipeline is 1F1B on 64
ranks, and the scenarios are those of the repository. ``--most`` and ``--most-event`` bound the
number of tasks.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import flexsim
from flexsim.engine import compiled, event
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.pipeline import StageDurations, pipeline_task_graph
from flexsim.task_graph.schedules import PipelineShape, one_f_one_b
from flexsim.timeline.spans import Timeline

_SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_SCENARIOS = ("korthikanti-22b-8xa100-selective", "gpt3-175b-64xa100", "sc21-1t-3072xa100")
_NUM_RANKS = 64
_NUM_RESOURCES = 64
_LONG_S = 2.0


def random_graph(num: int, reach: int, seed: int = 0) -> TaskGraph:
    """Return ``num`` tasks, each after two of the ``reach`` tasks before it, or fewer."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, num)
    before = rng.integers(np.maximum(ids - reach, 0), ids, (2, num - 1))
    source, target = np.divmod(np.unique(before * num + ids), num)
    holder, held = _resources(num, rng)
    none, nowhere = np.zeros(num, np.int32), np.full(_NUM_RESOURCES, -1, np.int32)
    streams = np.arange(_NUM_RESOURCES, dtype=np.int32)
    one, first = np.zeros(1, np.uint8), np.zeros(1, np.int32)
    return TaskGraph(
        action=none,
        operator=none,
        kind=np.zeros(num, np.uint8),
        part=none,
        duration_ns=rng.integers(1, 1_001, num),
        num_bytes=np.zeros(num, np.int64),
        resources=Csr.from_pairs(num, holder, held),
        successors=Csr.from_pairs(num, source, target.astype(np.int32)),
        in_degree=np.bincount(target, minlength=num).astype(np.int32),
        actions=ActionTable(one, first, first, first),
        resource_table=ResourceTable(np.zeros(_NUM_RESOURCES, np.uint8), streams, nowhere),
        operator_names=("layer",),
    )


def _resources(num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (task, resource) pairs: one of each task, a second one of every fifth."""
    first = rng.integers(0, _NUM_RESOURCES, num)
    two = np.flatnonzero(rng.random(num) < 0.2)
    second = (first[two] + rng.integers(1, _NUM_RESOURCES, len(two))) % _NUM_RESOURCES
    holder = np.concatenate([np.arange(num), two])
    return holder, np.concatenate([first, second]).astype(np.int32)


def pipeline_graph(num: int) -> TaskGraph:
    """Return a 1F1B pipeline of about ``num`` tasks."""
    num_microbatches = max(1, num // (4 * _NUM_RANKS))
    schedule = one_f_one_b(PipelineShape(_NUM_RANKS, num_microbatches))
    return pipeline_task_graph(schedule, StageDurations(10_000, 11_000, 9_000, 370))


def scenario_graph(name: str) -> TaskGraph:
    """Return the task graph of a scenario of the repository."""
    path = Path(__file__).resolve().parents[1] / "scenarios" / f"{name}.toml"
    return flexsim.run(flexsim.load_scenario(path, ["simulation.engine=compiled"])).task_graph


def graphs(most: int) -> Iterator[tuple[str, TaskGraph]]:
    """Return the graphs of at most about ``most`` tasks."""
    for num in (size for size in _SIZES if size <= most):
        yield "random, near", random_graph(num, 1_000)
        yield "random, far", random_graph(num, num)
        yield "pipeline", pipeline_graph(num)
    for name in _SCENARIOS:
        graph = scenario_graph(name)
        if graph.num_tasks <= most:
            yield name, graph


def best_s(simulate: Callable[[TaskGraph], Timeline], graph: TaskGraph) -> tuple[float, Timeline]:
    """Return the shortest of three replays, or the only one where it takes long."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < _LONG_S:
        begin = time.perf_counter()
        timeline = simulate(graph)
        times.append(time.perf_counter() - begin)
    return min(times), timeline


def row(name: str, graph: TaskGraph, most_event: int) -> str:
    """Return a line of the table, where both timelines are equal."""
    num = graph.num_tasks
    compiled_s, timeline = best_s(compiled.simulate, graph)
    line = f"{name:34} {num:>11,} {num / compiled_s:>14,.0f}"
    if num > most_event:
        return line
    event_s, reference = best_s(event.simulate, graph)
    if not np.array_equal(timeline.start_ns, reference.start_ns):
        sys.exit(f"{name}, {num:,} tasks: the engines disagree")
    return f"{line} {num / event_s:>14,.0f} {event_s / compiled_s:>8.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=_SIZES[-1])
    parser.add_argument("--most-event", type=int, default=1_100_000)
    chosen = parser.parse_args()
    logging.basicConfig()
    compiled.simulate(random_graph(10, 10))
    print(f"{'graph':34} {'tasks':>11} {'compiled/s':>14} {'event/s':>14} {'ratio':>8}")
    for name, graph in graphs(chosen.most):
        print(row(name, graph, chosen.most_event), flush=True)


if __name__ == "__main__":
    main()
