"""How near the simulated times of the shipped scenarios come to what was measured."""

import csv
from statistics import mean

import pytest
from shipped_scenarios import NAMES, ROOT, is_long, outcome, skip_if_long

import flexsim
from flexsim.models import model_config

TABLE_5 = [
    "gpt3-175b-64xa100",
    *(name for name in NAMES if name.startswith("korthikanti-") and "layer" not in name),
]
TABLE_4 = [name for name in NAMES if name.startswith("korthikanti-22b-layer")]
SC21 = [name for name in NAMES if name.startswith("sc21-")]
MT_NLG = [name for name in NAMES if name.startswith("mt-nlg-")]
SHOEYBI = [name for name in NAMES if name.startswith("shoeybi-")]
MEASURED = ROOT.parent / "shared" / "validation"


def iteration_error(name):
    """Return simulated over published iteration time, less one."""
    found = outcome(name)
    published = found.scenario.published
    time_s = published.iteration_time_s or _executed_flops(found) / (
        published.tflops_per_device * 1e12 * found.metrics["num_devices"]
    )
    return found.metrics["iteration_time_s"] / time_s - 1


def _executed_flops(found):
    """Return the FLOPs from which published TFLOP/s were computed (SC'21, equation 3)."""
    table = found.scenario.model
    m = model_config(table.name, table.preset, **table.sizes)
    tokens = found.scenario.training.global_batch * m.sequence
    inside = 1 + m.sequence / (6 * m.hidden) + m.vocabulary / (16 * m.layers * m.hidden)
    return 96 * tokens * m.layers * m.hidden**2 * inside


def test_the_sets_are_complete():
    assert [len(each) for each in (TABLE_5, TABLE_4, SC21, MT_NLG, SHOEYBI)] == [8, 5, 10, 3, 8]


@pytest.mark.parametrize("name", [*TABLE_5, *SC21])
def test_an_a100_iteration_is_within_12_percent(name, request):
    skip_if_long(name, request.config)
    assert abs(iteration_error(name)) < 0.12


def test_a100_iterations_are_within_5_percent_on_average(request):
    everything = request.config.getoption("--all-scenarios")
    names = [name for name in (*TABLE_5, *SC21) if everything or not is_long(name)]
    assert len(names) >= 10
    assert mean(abs(iteration_error(name)) for name in names) < 0.05


@pytest.mark.parametrize("name", MT_NLG)
def test_an_mt_nlg_iteration_is_within_10_percent(name, request):
    skip_if_long(name, request.config)
    assert abs(iteration_error(name)) < 0.10


@pytest.mark.parametrize("name", SHOEYBI)
def test_a_v100_iteration_is_within_12_percent(name, request):
    skip_if_long(name, request.config)
    assert abs(iteration_error(name)) < 0.12


@pytest.mark.parametrize("name", TABLE_4)
def test_passes_of_one_layer_are_within_10_percent(name):
    found = outcome(name)
    published = found.scenario.published
    assert found.pass_time_s["F"] == pytest.approx(published.forward_time_s, rel=0.10)
    assert found.pass_time_s["B"] == pytest.approx(published.backward_time_s, rel=0.10)


@pytest.mark.parametrize("name", ["gpt3-175b-64xa100", "korthikanti-22b-8xa100-selective"])
def test_published_utilization_follows_from_published_time(name):
    """The two published numbers agree on our FLOPs and peak: both count what we count."""
    found = outcome(name)
    published, metrics = found.scenario.published, found.metrics
    mfu = metrics["mfu"] * metrics["iteration_time_s"] / published.iteration_time_s
    assert mfu == pytest.approx(published.mfu, rel=0.01)


def test_published_numbers_are_the_measured_ones():
    path = MEASURED / "megatron_sc21_table1.csv"
    if not path.is_file():
        pytest.skip("the measured numbers are not beside this checkout")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = {int(row["gpus"]): row for row in csv.DictReader(stream)}
    for name in SC21:
        found = flexsim.load_scenario(ROOT / "scenarios" / f"{name}.toml")
        if row := rows.get(_num_devices(name)):
            assert found.published.tflops_per_device == float(row["tflops_per_gpu"])
            assert found.training.global_batch == int(row["gbs"])
            assert (found.strategy.tensor, found.strategy.pipeline) == (
                int(row["tp"]),
                int(row["pp"]),
            )


def _num_devices(name):
    return int(name.rpartition("-")[2].partition("x")[0])
