"""How long the engine of fair sharing takes for many flows at once on a fat tree.

Run ``python benchmarks/bench_fair.py [--devices N] [--flows N] [--rounds N] [device graph]``.
The law: each of ``flows`` senders, drawn at random, sends ``rounds`` messages one after the other
to random devices, of 1 to 100 MB; so as many flows run at once until the first sender is done.
Processor time of one core, without the first call, which loads or compiles the inner loops.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from flexsim.device_graph import DeviceGraph, load_device_graph
from flexsim.engine.fair import simulate_fair
from flexsim.network.lowered import Lowered
from flexsim.ragged import Csr
from flexsim.task_graph.columns import ActionTable, ResourceTable, TaskGraph
from flexsim.task_graph.kinds import TASK_CODE

SEED = 0


def lanes(num_lanes: int, rounds: int, num_bytes: np.ndarray, wire_ns: np.ndarray) -> TaskGraph:
    """Return ``num_lanes`` chains of ``rounds`` tasks; a chain holds a stream of its own."""
    count = num_lanes * rounds
    ids = np.arange(count, dtype=np.int32)
    has_next = ids < count - num_lanes
    zeros = np.zeros(count, np.int32)
    kind = np.full(count, TASK_CODE["pipeline"], np.uint8)
    none = np.zeros(0, np.int32)
    return TaskGraph(
        action=zeros - 1,
        operator=zeros,
        kind=kind,
        part=zeros,
        duration_ns=wire_ns,
        num_bytes=num_bytes,
        resources=Csr(np.arange(count + 1), (ids % num_lanes).astype(np.int32)),
        successors=Csr(np.append(0, np.cumsum(has_next)), ids[has_next] + num_lanes),
        in_degree=(ids >= num_lanes).astype(np.int32),
        actions=ActionTable(none.astype(np.uint8), none, none, none),
        resource_table=ResourceTable(
            kind[:num_lanes], ids[:num_lanes], np.full(num_lanes, -1, np.int32)
        ),
        operator_names=("send",),
    )


def random_traffic(graph: DeviceGraph, num_lanes: int, rounds: int) -> Lowered:
    """Return random flows on a device graph, always the same."""
    rng = np.random.default_rng(SEED)
    count, devices = num_lanes * rounds, graph.num_devices
    source = rng.integers(devices, size=count)
    target = (source + rng.integers(1, devices, size=count)) % devices
    num_bytes = rng.integers(10**6, 10**8, size=count)
    routes = graph.routes(source, target)
    capacity = graph.links.bandwidth_bytes_per_s
    most = np.minimum.reduceat(capacity[routes.values], routes.offsets[:-1])
    wire_ns = np.ceil(num_bytes / most * 1e9).astype(np.int64)
    tasks, alone = lanes(num_lanes, rounds, num_bytes, wire_ns), np.arange(count)
    return Lowered(
        graph=tasks,
        original=tasks,
        origin=alone,
        first=alone,
        last=alone,
        flow=alone,
        routes=routes,
        flow_bytes=num_bytes,
        wire_ns=wire_ns,
        flow_bandwidth_bytes_per_s=most,
        link_bandwidth_bytes_per_s=capacity,
    )


def main() -> None:
    """Print what one replay took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device_graph", nargs="?", default="dgx-h100")
    parser.add_argument("--devices", type=int, default=256)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    graph = load_device_graph(options.device_graph, options.devices // 8)
    simulate_fair(random_traffic(graph, 2, 2))
    lowered = random_traffic(graph, options.flows, options.rounds)
    begun = time.process_time()
    timeline = simulate_fair(lowered)
    seconds = time.process_time() - begun
    print(
        f"{options.flows:,} flows at once, {lowered.num_flows:,} in all, {graph.num_devices} "
        f"devices: {seconds:.2f} s; {len(timeline.pieces.flow):,} changes of speed; "
        f"makespan {timeline.makespan_ns / 1e9:.3f} s"
    )


if __name__ == "__main__":
    main()
