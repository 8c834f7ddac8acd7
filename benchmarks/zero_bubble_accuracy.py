"""Simulate the published runs of the Zero Bubble paper and print simulated against measured times.

    python benchmarks/zero_bubble_accuracy.py RUNS.csv

The file has a row a run with the columns layers, hidden, heads, gpus, pp, schedule, mbs, gbs, seq
and iter_time_s (Qi et al. 2023, arXiv 2401.10241, Tables 3 to 5). Schedules that validate the
optimizer step afterwards let a rank begin its next iteration before the others end, so that an
iteration takes as long as the longest span of a rank.

The paper names no vocabulary. Its scripts take a SentencePiece tokenizer, and its models' names
(14.6B and 28.3B parameters, embeddings tied) leave room for 25,000 to 33,600 entries only: 32,000.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

import flexsim
from flexsim.scenario.schema import Scenario
from flexsim.units import NS_PER_S

VOCABULARY = 32_000
SCHEDULES = {"1F1B": "1f1b", "1F1B-I": "interleaved-1f1b", "ZB-1p": "zb-h1", "ZB-2p": "zb-h2"}


def main(path: str) -> None:
    """Print a line a run, then the mean error and how often the ranking is right."""
    runs = pd.read_csv(path)
    runs["simulated_s"] = [iteration_s(row) for _, row in runs.iterrows()]
    runs["error"] = runs.simulated_s / runs.iter_time_s - 1
    columns = ["model", "schedule", "mbs", "gbs", "iter_time_s", "simulated_s", "error"]
    print(runs[columns].to_string(index=False))
    print(f"mean absolute error {runs.error.abs().mean():.1%}, worst {runs.error.abs().max():.1%}")
    for schedule, some in runs.groupby("schedule"):
        print(f"{schedule}: mean error {some.error.mean():+.1%}")
    for (model, batch), some in runs.groupby(["model", "gbs"]):
        measured = some.sort_values("iter_time_s").schedule.tolist()
        simulated = some.sort_values("simulated_s").schedule.tolist()
        if len(some) > 1:
            verdict = "right" if measured == simulated else f"wrong: {' < '.join(simulated)}"
            print(f"{model}, batch {batch}: {' < '.join(measured)}: {verdict}")


def iteration_s(row: pd.Series[Any]) -> float:
    """Return the simulated time of one iteration."""
    result = flexsim.run(scenario_of(row))
    timeline = result.timeline
    if not row.schedule.startswith("ZB"):
        return float(result.metrics["iteration_time_s"])
    compute = timeline.task_graph.is_compute
    device = timeline.task_graph.device[compute]
    first = np.full(int(device.max()) + 1, np.iinfo(np.int64).max)
    last = np.zeros_like(first)
    np.minimum.at(first, device, timeline.start_ns[compute])
    np.maximum.at(last, device, timeline.end_ns[compute])
    return float((last - first)[last > 0].max()) / NS_PER_S


def scenario_of(row: pd.Series[Any]) -> Scenario:
    """Return the scenario of one run: a pipeline over all devices, 8 A100 a host."""
    schedule = SCHEDULES[row.schedule]
    is_split = row.schedule.startswith("ZB")
    chunks = (row.layers + 2) // row.pp if schedule == "interleaved-1f1b" else 1
    return Scenario.from_dict(
        {
            "model": {
                "name": "gpt",
                "layers": int(row.layers),
                "hidden": int(row.hidden),
                "heads": int(row.heads),
                "sequence": int(row.seq),
                "vocabulary": VOCABULARY,
            },
            "cluster": {"device_graph": "dgx-a100", "hosts": int(row.gpus) // 8},
            "training": {
                "global_batch": int(row.gbs),
                "micro_batch": int(row.mbs),
                "software": "megatron-lm-zero-bubble",
            },
            "strategy": {
                "name": "megatron",
                "pipeline": int(row.pp),
                "data": 1,
                "chunks": int(chunks),
                "schedule": schedule,
                "gradient_norm": not is_split,
                "blocking_transfers": not is_split,
            },
            "simulation": {"engine": "compiled"},
        },
        f"{row.model}, {row.schedule}, batch {row.gbs}",
    )


if __name__ == "__main__":
    main(sys.argv[1])
