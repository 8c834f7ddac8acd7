"""How long exhaustive search takes to prove optima: ``python benchmarks/bench_search_proofs.py``.

Prints a line a scenario: the optimum found, whether it is proven, strategies simulated, seconds.
"""

from __future__ import annotations

from pathlib import Path

import flexsim

SCENARIOS = ("lenet-p100-4", "rnnlm-2steps-p100-4")
DIRECTORY = Path(__file__).resolve().parents[1] / "scenarios" / "flexflow"


def main() -> None:
    """Search every scenario as it says."""
    for name in SCENARIOS:
        result = flexsim.search(flexsim.load_scenario(DIRECTORY / f"{name}.toml"))
        best_ms = result.best.timeline.makespan_ns / 1e6
        proven = "proven" if result.proven_optimal else "not proven"
        print(f"{name}: {best_ms:.6f} ms, {proven}, {len(result.trace)} simulated,", end=" ")
        print(f"{result.seconds:.0f} s")


if __name__ == "__main__":
    main()
