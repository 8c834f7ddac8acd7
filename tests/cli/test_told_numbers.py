"""What commands say so that a number is not taken for another."""

import pytest
from command_line import flexsim

SCENARIO = "scenarios/korthikanti-22b-layer-baseline.toml"
NOTE = "published numbers are of the scenario as its file says"


@pytest.mark.parametrize(
    ("change", "is_told"),
    [("training.micro_batch=2", True), ("simulation.network=fair", False)],
)
def test_a_changed_scenario_is_not_the_published_one(change, is_told, tmp_path):
    answer = flexsim("run", SCENARIO, "--set", change, "--output", str(tmp_path))
    assert answer.code == 0, answer.err
    assert (NOTE in answer.out) == is_told


def test_a_table_of_runs_of_which_none_is_compared_says_so_and_why(tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text(
        "gpu,model,layers,hidden,heads,seq,tp,pp,dp,gbs,iter_time_s\n"
        "A100,AmoebaNet,24,512,8,1024,,,,8,1.0\n"
    )
    answer = flexsim("validate", "--runs", str(table), "--output", str(tmp_path / "out"))
    assert answer.code == 0, answer.err
    assert "no run could be compared" in answer.out
    assert "how it was split is not given" in " ".join(answer.out.split())
