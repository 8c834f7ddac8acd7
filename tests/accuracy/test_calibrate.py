"""Calibration: known constants are found again, outliers do not bend them, guesses are refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from calibration_runs import A100, DEEPSPEED, graph_with, made_runs, profile_with, write_runs

from flexsim.accuracy.calibrate import Calibration, calibrate
from flexsim.accuracy.calibrate_constants import CalibrationError
from flexsim.accuracy.runs import read_runs, scenario_of
from flexsim.cost import load_device_profile, load_software_profile
from flexsim.scenario.batch import Batch

TRUE_US, TRUE_FACTOR = 66.0, 0.8


@pytest.fixture(scope="module")
def deepspeed_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs under a software profile with other constants than the shipped one."""
    folder = tmp_path_factory.mktemp("software")
    values = {"host_time_per_kernel": f'"{TRUE_US} us"', "memory_bound_factor": str(TRUE_FACTOR)}
    profile = profile_with(folder, "software", DEEPSPEED, values)
    return made_runs(folder, {"training.software": str(profile)})


@pytest.fixture(scope="module")
def fitted(deepspeed_runs: Path) -> Calibration:
    """The default constants of the software, fitted."""
    return calibrate(deepspeed_runs, DEEPSPEED)


def test_known_constants_are_found_again(fitted: Calibration) -> None:
    assert [constant.name for constant in fitted.constants] == [
        "host_time_per_kernel",
        "memory_bound_factor",
    ]
    assert fitted.after == pytest.approx([TRUE_US, TRUE_FACTOR], rel=0.01)


def test_errors_fall_also_of_runs_that_are_left_out(fitted: Calibration) -> None:
    facts = fitted.facts
    assert facts["before"]["mean_absolute_error"] > 0.08
    assert facts["after"]["mean_absolute_error"] < 0.005
    assert facts["cross_validated"]["mean_absolute_error"] < 0.01


def test_the_written_profile_gives_the_error_that_was_told(
    fitted: Calibration, deepspeed_runs: Path, tmp_path: Path
) -> None:
    path = fitted.save(tmp_path / "mine.toml")
    assert load_software_profile(str(path)).name == "mine"
    batch, errors = Batch(), []
    for run in read_runs(deepspeed_runs):
        outcome = batch.run(scenario_of(run, {"training.software": str(path)}))
        errors.append(outcome.metrics["iteration_time_s"] * 1e9 / run.measured_ns - 1)
    assert np.array(errors) == pytest.approx(fitted.errors_after, abs=1e-12)
    heading = path.read_text(encoding="utf-8")
    assert f"fitted to {len(errors)} runs of runs.csv" in heading
    assert "cross-validation" in heading


def test_links_of_a_device_type_are_fitted(tmp_path: Path) -> None:
    values = {"links.nvlink.efficiency": "0.4"}
    graph = graph_with(tmp_path, profile_with(tmp_path, "devices", A100, values))
    runs = made_runs(tmp_path, {"cluster.device_graph": str(graph)})
    found = calibrate(runs, "A100.nvlink", ["efficiency"], folds=2)
    assert found.constants[0].name == "links.nvlink.efficiency"
    assert found.after == pytest.approx([0.4], rel=0.02)
    profile = load_device_profile(str(found.save(tmp_path / "mine.toml")))
    assert profile.links["nvlink"].efficiency == pytest.approx(0.4, rel=0.02)
    assert profile.links["nvlink"].transfer_efficiency == 0.8


def test_more_constants_than_runs_hold_are_refused(deepspeed_runs: Path, tmp_path: Path) -> None:
    with deepspeed_runs.open(encoding="utf-8") as stream:
        few = write_runs(tmp_path / "few.csv", list(csv.DictReader(stream))[:9])
    with pytest.raises(CalibrationError, match=r"9 runs cannot hold 2 constants.*so 10"):
        calibrate(few, DEEPSPEED)


def test_a_constant_that_no_run_depends_on_is_named(deepspeed_runs: Path) -> None:
    names = ["sustained_factor", "links.infiniband.efficiency"]
    with pytest.raises(CalibrationError, match=r"links\.infiniband\.efficiency cannot be fitted"):
        calibrate(deepspeed_runs, "A100", names)


@pytest.mark.parametrize(
    ("profile", "names", "said"),
    [
        ("H100", [], "--profile H100: it is no profile of these runs; "),
        ("megatron-lm", [], "the runs do not use this profile"),
        ("A100.token-ring", [], "a100-80gb has no links 'token-ring'"),
        (DEEPSPEED, ["host_time"], "unknown 'host_time': did you mean 'host_time_per_kernel'"),
        (DEEPSPEED, ["transfer_time"] * 2, "'transfer_time' is there twice"),
        ("nowhere.toml", [], "nowhere.toml: no such profile file"),
    ],
)
def test_wrong_names_are_told(
    deepspeed_runs: Path, profile: str, names: list[str], said: str
) -> None:
    from flexsim.errors import FlexSimError

    with pytest.raises(FlexSimError) as problem:
        calibrate(deepspeed_runs, profile, names)
    assert said in str(problem.value)
