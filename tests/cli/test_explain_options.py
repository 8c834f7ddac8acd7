"""``flexsim run --waterfall --critical-path``: what is printed and written."""

from __future__ import annotations

import pandas as pd
from command_line import flexsim
from small_gpt import write_small


def test_prints_and_writes_both(tmp_path):
    scenario = write_small(tmp_path / "small.toml", output={"directory": str(tmp_path / "out")})
    answer = flexsim("run", str(scenario), "--waterfall", "--critical-path")
    assert answer.code == 0, answer.err
    assert "From ideal compute to iteration time" in answer.out
    assert "kernel efficiency" in answer.out and "changes of pipeline rank" in answer.out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    pictures, tables = ({f"{name}.{end}" for name in ("waterfall", "critical_path")}
                        for end in ("png", "csv"))  # fmt: skip
    assert pictures | tables <= files
    metrics = pd.read_csv(tmp_path / "out" / "metrics.csv")
    iteration_ns = round(metrics["iteration_time_s"][0] * 1e9)
    runs = pd.read_csv(tmp_path / "out" / "critical_path.csv")
    steps = pd.read_csv(tmp_path / "out" / "waterfall.csv")
    assert runs["duration_ns"].sum() == steps["time_ns"].sum() == iteration_ns


def test_neither_is_written_unasked(tmp_path):
    scenario = write_small(tmp_path / "small.toml", output={"directory": str(tmp_path / "out")})
    answer = flexsim("run", str(scenario), "--quiet")
    assert (answer.code, answer.out) == (0, "")
    files = {path.stem for path in (tmp_path / "out").iterdir()}
    assert not files & {"waterfall", "critical_path"}
