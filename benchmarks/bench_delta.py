"""How many proposals a second the Markov chain simulates, against a full build and replay of each.

Run ``python benchmarks/bench_delta.py [--proposals N] [--seconds S] [--full N] [--law L]
[--temperature T] [network:devices ...]``. The chain is Metropolis' at the scenario's own
temperature (0.002) unless another is given, seed 0, from data parallelism, on
``scenarios/flexflow/<network>-k80-<devices>.toml``, and ends after so many proposals or seconds of
processor time. Its laws:

- ``operator``: one operator drawn at random gets a random config, degrees that are powers of two
  on a run of neighbouring devices (what FlexFlow proposes, Jia et al. 2019, section 6.2);
- ``unit``: the same for all operators that share a weight at once, such as the steps of a layer;
- ``search``: what ``flexsim search`` proposes by default, on any devices.

Processor time of one core, with drawing the proposals, from nothing known but what was compiled.
``full/s`` builds and replays some of the same proposals, spread evenly over the chain. The
parts of a proposal are those of the delta simulation, in milliseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flexsim import load_scenario
from flexsim.engine.delta import RowReplay
from flexsim.garbage import little_collected
from flexsim.scenario.schema import Scenario
from flexsim.search import proposals
from flexsim.search.delta_objective import DeltaObjective
from flexsim.search.mcmc import limit_of
from flexsim.search.moves import Change, Moves, State
from flexsim.search.objective import FullObjective, Problem
from flexsim.search.problem import data_parallel, make_problem, make_space
from flexsim.search.space import Restrictions, Space
from flexsim.search.units import Unit, find_units
from flexsim.task_graph.blocks import Blocks

NETWORKS = ("alexnet", "inception-v3", "resnet101", "rnntc", "rnnlm", "nmt")
SCENARIOS = Path(__file__).parent.parent / "scenarios" / "flexflow"
SEED = 0
WARM_UP = 20
PARTS = {
    "draw": (),
    "change": (Blocks, "change"),
    "link": (Blocks, "link"),
    "replay": (RowReplay, "_replay"),
}
Draw = Callable[[Moves, State, np.random.Generator], Change | None]


class Limits(NamedTuple):
    """When a chain ends, and its temperature; 0 for that of the scenario."""

    proposals: int
    seconds: float
    temperature: float


@dataclass
class Chain:
    """What one chain proposed, and which of it was accepted."""

    start: State
    changes: list[Change] = field(default_factory=list)
    is_accepted: list[bool] = field(default_factory=list)
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    num_tasks: int = 0

    @property
    def per_second(self) -> float:
        """Proposals a second."""
        return len(self.changes) / self.seconds


def moves_of(scenario: Scenario, problem: Problem, law: str) -> tuple[Moves, Draw]:
    """Return what a law draws from, and the law."""
    space = make_space(scenario, problem)
    if law == "search":
        return Moves(problem.graph, space, problem.base), proposals.propose
    units = find_units(problem.graph)
    if law == "operator":
        units = tuple(_alone(unit, op.name) for unit in units for op in unit.operators)
    restrictions = Restrictions("SOAP", True, "contiguous", False)
    space = Space(units, space.pools, space.rank_of, restrictions)
    return Moves(problem.graph, space, problem.base), proposals.operator


def _alone(unit: Unit, name: str) -> Unit:
    op = next(op for op in unit.operators if op.name == name)
    dims = tuple(dim for dim in unit.dims if dim.name in op.sizes)
    return replace(unit, name=name, operators=(op,), dims=dims)


@contextmanager
def timed(parts: dict[str, float]) -> Iterator[None]:
    """Sum up the time of the parts of a delta simulation."""
    originals = {name: getattr(*where) for name, where in PARTS.items() if where}
    for name, function in originals.items():
        setattr(*PARTS[name], _clocked(function, name, parts))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(*PARTS[name], function)


def _clocked(function: Any, name: str, parts: dict[str, float]) -> Any:
    def call(*arguments: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*arguments)
        finally:
            parts[name] = parts.get(name, 0.0) + time.process_time() - begun

    return call


def walk(scenario: Scenario, problem: Problem, law: str, limits: Limits) -> Chain:
    """Walk a chain of proposals by delta simulation."""
    moves, draw = moves_of(scenario, problem, law)
    objective = DeltaObjective(problem)
    state = State(data_parallel(problem, moves.space), dict(problem.base.stage_of))
    current_ns = objective.start(state.configs).makespan_ns
    chain = Chain(state.copy(), num_tasks=objective.replay.num_tasks)
    rng, parts = np.random.default_rng(SEED), chain.parts
    draw = _clocked(draw, "draw", parts)
    begun = time.process_time()
    while len(chain.changes) < limits.proposals and time.process_time() < begun + limits.seconds:
        limit_ns = limit_of(current_ns, limits.temperature, 1.0 - rng.random())
        change = draw(moves, state, rng)
        if change is None:
            continue
        found = objective.propose(change.configs, limit_ns)
        accepted = found is not None and found.is_feasible and found.makespan_ns <= limit_ns
        if accepted and found is not None:
            objective.accept()
            state.apply(change)
            current_ns = found.makespan_ns
        else:
            objective.reject()
        chain.changes.append(change)
        chain.is_accepted.append(accepted)
    chain.seconds = time.process_time() - begun
    chain.num_tasks = max(chain.num_tasks, objective.replay.num_tasks)
    return chain


def full_per_second(problem: Problem, chain: Chain, count: int) -> float:
    """Build and replay some of a chain's proposals in full; return how many a second."""
    every = max(1, len(chain.changes) // count)
    objective, state = FullObjective(problem), chain.start.copy()
    objective.start(state.configs)
    seconds, done = 0.0, 0
    for number, change in enumerate(chain.changes):
        if number % every == every - 1:
            begun = time.process_time()
            objective.start({**state.configs, **change.configs})
            seconds, done = seconds + time.process_time() - begun, done + 1
        if chain.is_accepted[number]:
            state.apply(change)
    return done / seconds


def measure(case: str, law: str, limits: Limits, num_full: int) -> str:
    """Return a line of the table."""
    network, count = case.split(":")
    scenario = load_scenario(SCENARIOS / f"{network}-k80-{count}.toml")
    if not limits.temperature:
        limits = limits._replace(temperature=scenario.search.temperature)
    problem = make_problem(scenario)
    walk(scenario, problem, law, limits._replace(proposals=WARM_UP))
    parts: dict[str, float] = {}
    with timed(parts), little_collected():
        chain = walk(scenario, problem, law, limits)
    slow, done = full_per_second(problem, chain, num_full), len(chain.changes)
    share = sum(chain.is_accepted) / done
    each = {**chain.parts, **parts}
    costs = " | ".join(f"{1e3 * each.get(name, 0.0) / done:.2f}" for name in PARTS)
    return (
        f"| {network} | {count} | {law} | {limits.temperature} | {chain.num_tasks:,} | {done:,} "
        f"| {share:.0%} | {slow:.1f} | {chain.per_second:.0f} | {chain.per_second / slow:.0f}x "
        f"| {costs} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="network:devices")
    parser.add_argument("--proposals", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--full", type=int, default=5)
    parser.add_argument("--law", choices=("operator", "unit", "search"), default="operator")
    options = parser.parse_args()
    limits = Limits(options.proposals, options.seconds, options.temperature)
    heads = ["network", "devices", "law", "temperature", "tasks", "proposals", "accepted"]
    heads += ["full/s", "delta/s", "ratio"]
    heads += [f"{name} ms" for name in PARTS]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for case in options.cases or [f"{name}:64" for name in NETWORKS]:
        print(measure(case, options.law, limits, options.full), flush=True)


if __name__ == "__main__":
    main()
