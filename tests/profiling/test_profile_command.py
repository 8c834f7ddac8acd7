"""``flexsim profile``: the scenario that was measured runs with its own times."""

import importlib.util

import pytest

import flexsim
from flexsim.cli import main
from flexsim.cost.measured import read_measured

HAS_TORCH = importlib.util.find_spec("torch") is not None

SCENARIO = """
[model]
name = "gpt"
layers = 2
hidden = 32
heads = 2
sequence = 16
vocabulary = 64
[cluster]
device_graph = "two-cpu-cores"
[training]
global_batch = 2
precision = "fp32"
software = "torch-eager"
[strategy]
name = "megatron"
pipeline = 2
gradient_norm = false
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "mine.toml").write_text(SCENARIO)
    return tmp_path / "mine.toml"


def called(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["flexsim", *map(str, words)])
    with pytest.raises(SystemExit) as done:
        main()
    return done.value.code


@pytest.mark.skipif(not HAS_TORCH, reason="the extra 'torch' is not installed")
@pytest.mark.parametrize("way", [[], ["--in-steps", "--iterations", "2"]])
def test_a_scenario_runs_with_what_was_measured_for_it(path, monkeypatch, way):
    table = path.parent / "tables" / "mine.csv"
    assert called(monkeypatch, "profile", "--scenario", path, "--output", table, *way) == 0
    assert all(row.time_ns >= 1 and row.repeats >= 2 for row in read_measured(table))
    measured = flexsim.load_scenario(path, [f"cluster.measured_times={table}"])
    assert flexsim.run(measured).metrics["iteration_time_s"] > 0


@pytest.mark.skipif(not HAS_TORCH, reason="the extra 'torch' is not installed")
def test_what_cannot_be_trained_is_one_sentence(path, monkeypatch, capfd):
    experts = 'name = "mixtral"\nexperts = 4\nchosen_experts = 2\n'
    text = SCENARIO.replace('name = "gpt"\n', experts).replace(
        "pipeline = 2", "data = 2\nexpert = 2"
    )
    path.write_text(text)
    words = ("profile", "--scenario", path, "--output", path.with_suffix(".csv"), "--in-steps")
    assert called(monkeypatch, *words) == 2
    told = capfd.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    assert "layer0.expert_gate_up reads layer0.dispatch.out cut otherwise" in told


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed")
def test_without_pytorch_the_extra_is_named(path, monkeypatch, capsys):
    assert called(monkeypatch, "profile", "--scenario", path, "--output", "x.csv") == 2
    assert "flexsim[torch]" in capsys.readouterr().err
