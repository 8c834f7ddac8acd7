"""A Pareto front over iterations of different work is said to be one."""

import pytest
from command_line import flexsim
from small_sweep import write_sweep


@pytest.mark.parametrize(
    ("key", "values", "is_told"),
    [("training.global_batch", [16, 32], True), ("training.micro_batch", [1, 2], False)],
)
def test_a_front_over_different_batches_is_said_to_be_of_different_work(
    key, values, is_told, tmp_path
):
    file = write_sweep(tmp_path / "sweep.toml", {"grid": {key: values}})
    answer = flexsim("sweep", str(file), "--output", str(tmp_path / "rows.csv"), "--workers", "1")
    assert answer.code == 0, answer.err
    assert "Pareto front" in answer.out
    assert ("iterations of less work lead this front" in answer.out) == is_told
