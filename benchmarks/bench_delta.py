"""How many proposals a second delta simulation answers, against a full build and replay of each.

Run ``python benchmarks/bench_delta.py [--proposals N] [--full N] [network:devices ...]``. The law:
from data parallelism, one operator drawn at random gets random degrees (powers of two) on a run
of neighbouring devices. A proposal is taken over if it is no slower (``chain``), or never
(``still``: every proposal is tried on data parallelism). Processor time of one core, and the
first proposals, which compile, are left out. The full way is timed on the first proposals.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flexsim.device_graph import load_device_graph
from flexsim.models import build_model, model_config
from flexsim.scenario.prepare import make_costs
from flexsim.search.arrangement import arranged
from flexsim.search.delta_objective import DeltaObjective
from flexsim.search.objective import Configs, FullObjective, Objective, Problem
from flexsim.search.placements import Pool
from flexsim.search.space import Restrictions, Space
from flexsim.search.units import Unit, find_units
from flexsim.strategy import Strategy

NETWORKS = ("alexnet", "inception-v3", "resnet-101", "rnntc", "rnnlm", "nmt")
SAMPLES_PER_DEVICE = 8
SEED = 0
WARM_UP = 20


@dataclass(frozen=True)
class Timed:
    """What one run over proposals took."""

    seconds: float
    proposals: int
    accepted: int

    @property
    def per_second(self) -> float:
        """Proposals a second."""
        return self.proposals / self.seconds


def problem_of(network: str, num_devices: int) -> Problem:
    """Return a network on hosts of eight A100, gradients synchronized during the backward."""
    graph = build_model(model_config(None, network), SAMPLES_PER_DEVICE * num_devices)
    devices = load_device_graph("dgx-a100", num_devices // 8)
    base = Strategy("data", {}, overlap_gradients=True, gradient_norm=False)
    return Problem(graph, devices, make_costs(devices), base)


def data_parallel(problem: Problem) -> Configs:
    """Return data parallelism over all devices."""
    count = problem.devices.num_devices
    config = arranged({"b": count}, range(count))
    return {
        name: each
        for unit in find_units(problem.graph)
        for name, each in unit.configs(config).items()
    }


def proposals(problem: Problem, count: int) -> Iterator[Configs]:
    """Yield random proposals, always the same."""
    whole = find_units(problem.graph)
    dims = {op.name: unit.dims for unit in whole for op in unit.operators}
    units = tuple(
        Unit(op.name, (op,), tuple(dim for dim in dims[op.name] if dim.name in op.sizes))
        for op in problem.graph.operators
    )
    pool = Pool.of(problem.devices, range(problem.devices.num_devices))
    restrictions = Restrictions("SOAP", True, "contiguous", False)
    space = Space(units, {0: pool}, {unit.name: 0 for unit in units}, restrictions)
    rng = np.random.default_rng(SEED)
    while count:
        unit = units[int(rng.integers(len(units)))]
        config = space.draw(unit, pool, rng)
        if config is not None:
            yield unit.configs(config)
            count -= 1


def walk(objective: Objective, limit_ns: int, changes: list[Configs], moves: bool) -> Timed:
    """Propose all changes in turn; with ``moves`` take over what is no slower."""
    begun, accepted = time.process_time(), 0
    for change in changes:
        found = objective.propose(change, limit_ns)
        if moves and found is not None and found.makespan_ns <= limit_ns:
            objective.accept()
            limit_ns, accepted = found.makespan_ns, accepted + 1
        else:
            objective.reject()
    return Timed(time.process_time() - begun, len(changes), accepted)


def measure(network: str, num_devices: int, num_delta: int, num_full: int) -> str:
    """Return a line of the table."""
    problem = problem_of(network, num_devices)
    start = data_parallel(problem)
    changes = list(proposals(problem, WARM_UP + num_delta))
    results: dict[bool, Timed] = {}
    for moves in (False, True):
        delta = DeltaObjective(problem)
        limit = delta.start(start).makespan_ns
        num_tasks = delta.replay.num_tasks
        walk(delta, limit, changes[:WARM_UP], False)
        results[moves] = walk(delta, limit, changes[WARM_UP:], moves)
    full = FullObjective(problem)
    full.start(start)
    slow = walk(full, limit, changes[:num_full], False)
    still, chain = results[False], results[True]
    return (
        f"| {network} | {num_devices} | {num_tasks:,} | {slow.per_second:.1f} "
        f"| {still.per_second:.0f} | {still.per_second / slow.per_second:.0f}x "
        f"| {chain.per_second:.0f} | {chain.accepted} of {chain.proposals} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="network:devices")
    parser.add_argument("--proposals", type=int, default=300)
    parser.add_argument("--full", type=int, default=3)
    options = parser.parse_args()
    cases = options.cases or [f"{name}:{count}" for name in NETWORKS for count in (16, 64)]
    print("| network | devices | tasks | full/s | still/s | ratio | chain/s | taken over |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        network, count = case.split(":")
        print(measure(network, int(count), options.proposals, options.full), flush=True)


if __name__ == "__main__":
    main()
