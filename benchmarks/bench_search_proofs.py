"""Proofs of optima, and Markov chains that find them: ``python benchmarks/bench_search_proofs.py``.

Prints two lines a scenario: the optimum, whether it is proven, strategies in the space, proposals
(simulated, or cut off while being simulated), seconds; and how many of some seeds of ``mcmc``
reach it within 20,000 proposals of four chains. ``--seeds 10`` says how many, ``0`` for none.
"""

from __future__ import annotations

import argparse
import time
from math import prod
from pathlib import Path

import flexsim
from flexsim.search.result import SearchResult

SCENARIOS = ("lenet-p100-4", "rnnlm-2steps-p100-4")
DIRECTORY = Path(__file__).resolve().parents[1] / "scenarios" / "flexflow"
BUDGET, CHAINS = 20_000, 4


def main() -> None:
    """Prove and search every scenario."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    num_seeds = parser.parse_args().seeds
    for name in SCENARIOS:
        optimum_ns = prove(name)
        if num_seeds:
            search(name, num_seeds, optimum_ns)


def prove(name: str) -> int:
    """Search a scenario as it says; return the best makespan."""
    begun = time.process_time()
    result = flexsim.search(flexsim.load_scenario(DIRECTORY / f"{name}.toml"))
    proven = "proven" if result.proven_optimal else "not proven"
    size = prod(result.space.size(unit) for unit in result.space.units)
    print(f"{name}: {makespan_ns(result):,} ns, {proven}, of {size:,} strategies", end="; ")
    print(f"{len(result.trace):,} proposals, {result.seconds:.0f} s", end=" ")
    print(f"({time.process_time() - begun:.0f} s of one core)", flush=True)
    return makespan_ns(result)


def search(name: str, num_seeds: int, optimum_ns: int) -> None:
    """Print how many seeds of Markov chains reach an optimum."""
    begun = time.process_time()
    found = [_walked(name, seed) for seed in range(num_seeds)]
    reached = sum(each <= optimum_ns for each in found)
    seconds = (time.process_time() - begun) / num_seeds
    print(f"{name}: mcmc reaches it with {reached} of {num_seeds} seeds", end="; ")
    print(f"worst {max(found):,} ns, {seconds:.0f} s of one core a seed", flush=True)


def _walked(name: str, seed: int) -> int:
    scenario = flexsim.load_scenario(DIRECTORY / f"{name}.toml")
    result = flexsim.search(scenario, method="mcmc", budget=BUDGET, chains=CHAINS, seed=seed)
    return makespan_ns(result)


def makespan_ns(result: SearchResult) -> int:
    """Return the makespan of the best strategy found."""
    return result.best.timeline.makespan_ns


if __name__ == "__main__":
    main()
