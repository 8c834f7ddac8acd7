"""How long collectives take to simulate as steps over links, alone and in a training iteration.

Run ``python benchmarks/bench_network.py [--hosts N] [--bytes B] [--scenario FILE] [device graph]``.
The first table has an all-reduce over all devices of the cluster by each algorithm: its flows,
how many of them are replayed one by one (rings are replayed as rounds until they repeat), and the
processor seconds from the loaded device graph to the time of the collective. Compiled loops are
loaded or compiled before by a run on one host; programs and routes are not kept from it.
``--scenario`` is run under ``network = "links"`` on the compiled engine, in its parts.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from flexsim import load_device_graph, load_scenario
from flexsim.cost.collectives import Communication
from flexsim.cost.profiles import load_software_profile
from flexsim.engine import compiled
from flexsim.engine.alone import collective_alone
from flexsim.errors import FlexSimError
from flexsim.network.lower import lower
from flexsim.network.options import NetworkOptions
from flexsim.scenario.free_memory import free_bytes
from flexsim.scenario.prepare import setting_of
from flexsim.scenario.runner import planned_in_full

ALGORITHMS = ("ring", "bidirectional-ring", "hierarchical", "tree", "halving-doubling")


def alone(name: str, hosts: int, num_bytes: int) -> None:
    """Print a row an algorithm."""
    print(f"{'algorithm':20}{'flows':>12}{'replayed':>12}{'time (us)':>12}{'seconds':>9}")
    for algorithm in ALGORITHMS:
        try:
            timed(name, 1, algorithm, num_bytes)
            found, seconds = timed(name, hosts, algorithm, num_bytes)
        except FlexSimError as problem:
            print(f"{algorithm:20}{problem}")
            continue
        flows = f"{found.num_flows:12,}{found.num_replayed:12,}"
        print(f"{algorithm:20}{flows}{found.time_ns / 1e3:12,.1f}{seconds:9.3f}")


def timed(name: str, hosts: int, algorithm: str, num_bytes: int):
    """Return an all-reduce over all devices, and how long that took to simulate."""
    graph = load_device_graph(name, hosts)
    model = Communication.of(graph, load_software_profile("megatron-lm"))
    options = NetworkOptions(algorithm=algorithm, memory_bytes=free_bytes())
    everyone = np.arange(graph.num_devices)[None]
    begun = time.process_time()
    found = collective_alone(model, "all-reduce", num_bytes, everyone, options)
    return found, time.process_time() - begun


def iteration(path: str) -> None:
    """Print what the parts of one run over links take."""
    scenario = load_scenario(path, ['simulation.network="links"'])
    plan, _ = planned_in_full(scenario)
    graph = replace(plan.task_graph(), collective=plan.collective)
    model = setting_of(scenario).costs.communication
    start_ns = compiled.simulate(graph).start_ns
    for which in ("first", "second"):
        begun = time.process_time()
        below = lower(graph, model, NetworkOptions(memory_bytes=free_bytes()), True, start_ns)
        done = time.process_time()
        timeline = compiled.simulate(below.graph)
        print(
            f"{which} time: {graph.num_tasks:,} tasks, {below.num_flows:,} flows in "
            f"{below.graph.num_tasks:,} rows: lowered in {done - begun:.2f} s, replayed in "
            f"{time.process_time() - done:.2f} s; {timeline.makespan_ns / 1e9:.3f} s simulated"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device_graph", nargs="?", default="dgx-h100")
    parser.add_argument("--hosts", type=int, default=128)
    parser.add_argument("--bytes", type=int, default=10**8)
    parser.add_argument("--scenario")
    options = parser.parse_args()
    alone(options.device_graph, options.hosts, options.bytes)
    if options.scenario:
        iteration(options.scenario)


if __name__ == "__main__":
    main()
