"""What the console says of a Pareto front over iterations of different work."""

import pytest
from command_line import flexsim
from small_sweep import write_sweep

BATCH, MICRO_BATCH = "training.global_batch", "training.micro_batch"


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({BATCH: [16, 32]}, f"No Pareto front: no two configurations agree in {BATCH}"),
        ({BATCH: [16, 32], MICRO_BATCH: [1, 2]}, f"against memory, one for each {BATCH}"),
        ({MICRO_BATCH: [1, 2]}, "Pareto front of iteration time against memory  "),
    ],
)
def test_only_equal_work_is_compared(grid, told, tmp_path):
    file = write_sweep(tmp_path / "sweep.toml", {"grid": grid})
    answer = flexsim("sweep", str(file), "--output", str(tmp_path / "rows.csv"), "--workers", "1")
    assert answer.code == 0, answer.err
    assert told in answer.out
