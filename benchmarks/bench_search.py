"""Measure how good the strategies are that searches find on FlexFlow's networks.

    python benchmarks/bench_search.py results.jsonl                       # hours on one core
    python benchmarks/bench_search.py results.jsonl --seeds 0 --only nmt  # a part of it
    python benchmarks/search_table.py results.jsonl                       # into docs/search.md

Each result is one line of the file, written as soon as it is there; what the file has already is
not measured again, so that a run may be ended at any time and taken up later.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flexsim
from flexsim.errors import FlexSimError
from flexsim.search.explain import volumes, words

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios" / "flexflow"
NETWORKS = ("alexnet", "inception-v3", "resnet101", "rnntc", "rnnlm", "nmt")
CLUSTERS = ("p100-16", "k80-16", "k80-64")
CONVOLUTIONAL = NETWORKS[:3]
LETTERS = ("S", "SP", "SAP", "SOAP")
LETTERS_ON = ("alexnet-k80-64", "rnnlm-k80-64", "nmt-k80-64")
DEGREES = (2, 4, 8, 16)


class Case(NamedTuple):
    """One measurement; the first four fields name it."""

    scenario: str
    method: str
    dimensions: str = "SOAP"
    seed: int = 0
    seconds: float = 60.0

    @property
    def key(self) -> list[Any]:
        """What a line of results has in common with no other."""
        return list(self[:4])


def main() -> None:
    """Measure what the results do not have yet."""
    chosen = _arguments()
    done = [line["case"] for line in read(chosen.results)]
    for case in _cases(chosen):
        if case.key not in done and chosen.only in case.scenario:
            line = {"case": case.key, **measured(case)}
            with chosen.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            print(case.key, line.get("best_s"), flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; a line that was cut short is left out."""
    found = []
    for line in results.read_text(encoding="utf-8").splitlines() if results.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def measured(case: Case) -> dict[str, Any]:
    """Return what one case gives."""
    load = os.getloadavg()[0]
    found = _experts(case) if case.method == "expert" else _searched(case)
    return {**found, "load": load}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="", help="part of the names of scenarios")
    return parser.parse_args()


def _cases(chosen: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases: what is quick or matters most comes first."""
    names = [f"{network}-{cluster}" for network in NETWORKS[::-1] for cluster in CLUSTERS[::-1]]
    yield from (Case(name, "expert") for name in names)
    for seed in chosen.seeds:
        yield from (Case(name, "mcmc", "SOAP", seed, chosen.seconds) for name in names)
        if seed == chosen.seeds[0]:
            yield from (Case(name, "optcnn") for name in names)
        for name in LETTERS_ON:
            yield from (Case(name, "mcmc", own, seed, chosen.seconds) for own in LETTERS[:-1])


def _experts(case: Case) -> dict[str, Any]:
    """Return the iteration times of the experts' strategy, by its own degree."""
    found = {}
    for degree in DEGREES:
        try:
            found[degree] = flexsim.run(_of_experts(case.scenario, degree)).metrics
        except FlexSimError:
            continue
    times = {degree: metrics["iteration_time_s"] for degree, metrics in found.items()}
    return {"best_s": min(times.values()), "by_degree_s": times}


def _of_experts(name: str, degree: int) -> flexsim.Scenario:
    """Return the scenario of an expert's strategy on as many devices and samples."""
    path = SCENARIOS / f"{name}.toml"
    devices = int(name.rpartition("-")[2])
    batch = flexsim.load_scenario(path).training.global_batch
    is_image = name.startswith(CONVOLUTIONAL)
    strategy, key = ("one-weird-trick", "tensor") if is_image else ("layer-placement", "pipeline")
    settings = {
        "strategy.name": strategy,
        f"strategy.{key}": degree,
        "training.micro_batch": batch * degree // devices,
    }
    return flexsim.load_scenario(path, [f"{k}={v}" for k, v in settings.items()])


def _searched(case: Case) -> dict[str, Any]:
    options: dict[str, Any] = {"method": case.method, "seed": case.seed}
    if case.method == "mcmc":
        options |= {"seconds": case.seconds, "dimensions": case.dimensions}
    scenario = flexsim.load_scenario(SCENARIOS / f"{case.scenario}.toml")
    result = flexsim.search(scenario, **options)
    best = result.trace[-1].makespan_ns * 1e-9 if case.method == "optcnn" else None
    by_name = {each.name: each for each in volumes(result)}
    return {
        "seconds": result.seconds,
        "best_s": best or result.best_metrics["iteration_time_s"],
        "data_s": result.baseline_metrics["iteration_time_s"],
        "proposals": len(result.trace),
        "acceptance": result.acceptance_rate,
        "sent_bytes": by_name["best found"].communication_bytes,
        "data_sent_bytes": by_name["data parallelism"].communication_bytes,
        "words": words(result),
    }


if __name__ == "__main__":
    main()
