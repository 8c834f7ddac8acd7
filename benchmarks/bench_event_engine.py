"""How many tasks a second the event engine replays: ``python benchmarks/bench_event_engine.py``.

The graph has the shape of a pipelined iteration: on every device a chain of compute tasks,
every fifth of which also holds a communication stream, and edges between neighbouring devices.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from flexsim.engine.event import simulate
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_CODE


def pipeline_like_graph(num_devices: int, tasks_a_device: int, seed: int = 0) -> TaskGraph:
    """Return ``num_devices`` chains of ``tasks_a_device`` tasks, coupled every tenth task."""
    num = num_devices * tasks_a_device
    ids = np.arange(num, dtype=np.int32)
    device, position = ids // tasks_a_device, ids % tasks_a_device
    two = position % 5 == 0
    held = np.concatenate([device, num_devices + device[two]]).astype(np.int32)
    chained = position < tasks_a_device - 1
    coupled = (position % 10 == 3) & (device < num_devices - 1) & (position < tasks_a_device - 9)
    source = np.concatenate([ids[chained], ids[coupled]])
    target = np.concatenate([ids[chained] + 1, ids[coupled] + tasks_a_device + 7])
    kind = np.where(two, TASK_CODE["tensor"], TASK_CODE["forward"]).astype(np.uint8)
    return TaskGraph(
        action=device,
        operator=np.zeros(num, np.int32),
        kind=kind,
        part=np.zeros(num, np.int32),
        duration_ns=np.random.default_rng(seed).integers(1_000, 1_000_000, num),
        num_bytes=np.zeros(num, np.int64),
        resources=Csr.from_pairs(num, np.concatenate([ids, ids[two]]), held),
        successors=Csr.from_pairs(num, source, target.astype(np.int32)),
        in_degree=np.bincount(target, minlength=num).astype(np.int32),
        actions=_forwards(num_devices),
        resource_table=_streams(num_devices),
        operator_names=("layer",),
    )


def _forwards(num: int) -> ActionTable:
    stages = np.arange(num, dtype=np.int32)
    return ActionTable(np.zeros(num, np.uint8), stages, np.zeros(num, np.int32), stages)


def _streams(num: int) -> ResourceTable:
    devices = np.tile(np.arange(num, dtype=np.int32), 2)
    kinds = np.repeat(np.array([0, TASK_CODE["tensor"]], np.uint8), num)
    return ResourceTable(kinds, devices, np.full(2 * num, -1, np.int32))


def main() -> None:
    """Print the best of three rates."""
    num_devices, tasks_a_device = 8, int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    graph = pipeline_like_graph(num_devices, tasks_a_device)
    rates = []
    for _ in range(3):
        begin = time.process_time()
        simulate(graph)
        rates.append(graph.num_tasks / (time.process_time() - begin))
    print(f"{graph.num_tasks:,} tasks: {max(rates):,.0f} tasks/s of CPU time, best of three")


if __name__ == "__main__":
    main()
