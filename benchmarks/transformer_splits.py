"""Measure a search on a Transformer against all splits into tensor, pipeline and data parallelism.

    python benchmarks/transformer_splits.py                        # the splits, best first
    python benchmarks/transformer_splits.py --seeds 0 1 2          # then searches of 60 s each
    python benchmarks/transformer_splits.py --seeds 0 --budget 2400

A split has every micro-batch that goes into the batch, and sequence parallelism or not; those that
need more memory than a device has are left out, as a search leaves them out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import flexsim

SCENARIO = "scenarios/search/gpt3-2.7b-32xa100.toml"
ROOT = Path(__file__).resolve().parent.parent
_SHOWN = 12


class Split(NamedTuple):
    """A way to divide devices and batch."""

    tensor: int
    pipeline: int
    data: int
    micro_batch: int
    sequence_parallel: bool


def main() -> None:
    """Print the best splits, then what searches find."""
    chosen = _arguments()
    scenario = flexsim.load_scenario(ROOT / SCENARIO)
    found = sorted(split_times(scenario))
    for seconds, split in found[:_SHOWN]:
        print(f"{seconds:.6f} s  {split}", flush=True)
    best = found[0][0]
    for seed in chosen.seeds:
        options = {"seed": seed, "budget": chosen.budget, "method": chosen.method}
        begun = time.process_time()
        result = flexsim.search(scenario, **options)
        numbers = result.summary()
        seconds = numbers["best_iteration_time_s"]
        print(
            f"seed {seed}: {seconds:.6f} s, {seconds / best - 1:+.2%} of the best split,"
            f" {numbers['proposals']} proposals in {time.process_time() - begun:.0f} s of one core",
            flush=True,
        )


def split_times(scenario: flexsim.Scenario) -> Iterator[tuple[float, Split]]:
    """Yield the iteration time of every split that divides devices and batch and fits memory."""
    splits = list(_splits(_num_devices(scenario), scenario.training.global_batch))
    outcomes = flexsim.run_many([_with_split(scenario, split) for split in splits])
    for split, outcome in zip(splits, outcomes, strict=True):
        if not outcome.error and outcome.metrics["fits_memory"]:
            yield float(outcome.metrics["iteration_time_s"]), split


def _splits(num_devices: int, batch: int) -> Iterator[Split]:
    powers = [2**k for k in range(num_devices.bit_length())]
    for tensor, pipeline, micro, sequence in product(powers, powers, powers, (False, True)):
        data, left = divmod(num_devices, tensor * pipeline)
        if not left and batch % (data * micro) == 0 and (tensor > 1 or not sequence):
            yield Split(tensor, pipeline, data, micro, sequence)


def _with_split(scenario: flexsim.Scenario, split: Split) -> flexsim.Scenario:
    content: dict[str, Any] = scenario.model_dump(exclude_unset=True, by_alias=True)
    content["training"]["micro_batch"] = split.micro_batch
    content["strategy"] = {"name": "megatron", "schedule": "1f1b", **split._asdict()}
    del content["strategy"]["micro_batch"]
    return flexsim.Scenario.from_dict(content, scenario.source)


def _num_devices(scenario: flexsim.Scenario) -> int:
    graph = flexsim.load_device_graph(scenario.cluster.device_graph, scenario.cluster.hosts)
    return graph.num_devices


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="searches to make")
    parser.add_argument("--budget", type=int, help="proposals, in place of the scenario's time")
    parser.add_argument("--method", default=None, help="another method than the scenario's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
