"""What a sweep draws by itself when it is finished."""

from __future__ import annotations

from command_line import flexsim
from small_sweep import write_sweep

from flexsim.reports.sweep_table import read_results
from flexsim.sweep.plot_rows import plot_rows
from flexsim.sweep.suiting import suiting


def test_a_sweep_draws_by_itself(tmp_path):
    grid = {"strategy.tensor": [1, 2], "strategy.pipeline": [1, 2]}
    sweep = write_sweep(tmp_path / "small.toml", {"grid": grid})
    path = tmp_path / "out" / "results.csv"
    answer = flexsim("sweep", str(sweep), "--output", str(path), "--workers", "1")
    assert answer.code == 0, answer.err
    pictures = sorted(each.name for each in path.parent.glob("*.png"))
    rows = read_results(path)
    assert pictures == sorted(
        f"results-{kind}.png" for kind in suiting(plot_rows(rows.rows, rows.keys, ("", "")))
    )
    assert "results-heat-map.png" in pictures
    assert all(f"wrote {path.parent / name}" in answer.out for name in pictures)
