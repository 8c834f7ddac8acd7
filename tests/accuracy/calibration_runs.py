"""Runs that the simulator itself has made, with constants that a fit does not know."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from flexsim.accuracy.calibrate_text import with_constants
from flexsim.accuracy.runs import Unsimulatable, read_runs, scenario_of
from flexsim.files import data_directory
from flexsim.scenario.batch import Batch

DEEPSPEED = "megatron-deepspeed"
A100 = "a100-80gb"
COLUMNS = ("row_id", "gpu", "nodes", "gpus_per_node", "layers", "hidden", "heads", "seq", "vocab")
COLUMNS += ("tp", "pp", "dp", "mbs", "gbs", "precision", "recompute", "software", "iter_time_s")


def shapes() -> list[dict[str, object]]:
    """Return ten small runs: some wait for the host, some for products, some for messages."""
    rows = []
    sizes = product((256, 4096), (1, 2), ((1, 1), (1, 2), (2, 1)))
    for number, (hidden, micro, (tensor, data)) in enumerate(list(sizes)[:10]):
        values = (f"run-{number}", "A100", 1, tensor * data, 1, hidden, 16, 1024, 1024)
        values += (tensor, 1, data, micro, 2 * micro * data)
        cells = (*values, "fp16", "none", "Megatron-DeepSpeed")
        rows.append(dict(zip(COLUMNS, cells, strict=False)))
    return rows


def write_runs(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write a table of runs."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def profile_with(folder: Path, kind: str, name: str, values: Mapping[str, str]) -> Path:
    """Write a shipped profile with some other constants."""
    shipped = data_directory(f"profiles/{kind}") / f"{name}.toml"
    path = folder / f"true-{name}.toml"
    path.write_text(with_constants(shipped.read_text(encoding="utf-8"), values), encoding="utf-8")
    return path


def graph_with(folder: Path, profile: Path) -> Path:
    """Write the A100 device graph with the devices of another profile."""
    text = (data_directory("device_graphs") / "dgx-a100.toml").read_text(encoding="utf-8")
    path = folder / "true-graph.toml"
    path.write_text(text.replace(f'"{A100}"', f'"{profile.as_posix()}"'), encoding="utf-8")
    return path


def made_runs(folder: Path, changes: Mapping[str, str]) -> Path:
    """Write a table of runs whose measured times are simulated with changed scenarios."""
    rows = shapes()
    path = write_runs(folder / "runs.csv", [{**row, "iter_time_s": 1.0} for row in rows])
    batch = Batch()
    for row, run in zip(rows, read_runs(path), strict=True):
        scenario = scenario_of(run, changes)
        assert not isinstance(scenario, Unsimulatable), scenario.reason
        outcome = batch.run(scenario)
        assert not outcome.error
        row["iter_time_s"] = outcome.metrics["iteration_time_s"]
    return write_runs(path, rows)
