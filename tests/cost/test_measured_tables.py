"""Measured times in place of formulas."""

import numpy as np
import pytest

import flexsim
from flexsim.cost.measured import (
    COLUMNS,
    MeasuredCommunication,
    MeasuredTimes,
    Measurement,
    read_measured,
    write_measured,
)
from flexsim.cost.work import Work
from flexsim.errors import ProfileError, ScenarioError
from flexsim.profiling.parts import added_work, kernels_of, optimizer_work
from flexsim.scenario.prepare import prepare

PRODUCT = Work("matmul", "F", 2_000, 600, matmul=(1, 10, 10, 10))
LARGER = Work("matmul", "F", 16_000, 2_400, matmul=(1, 20, 20, 20))


def rows(*pairs):
    return [Measurement.of_work(work, time_ns, 0.1, 9) for work, time_ns in pairs]


def test_what_was_measured_is_taken_as_it_was():
    price = MeasuredTimes(rows((PRODUCT, 700), (LARGER, 2_500)), "table.csv")
    assert price(PRODUCT, "any") == 700
    assert price(LARGER, "any") == 2_500


def test_sizes_between_are_interpolated_and_beyond_in_proportion():
    price = MeasuredTimes(rows((PRODUCT, 700), (LARGER, 2_500)), "table.csv")
    between = Work("matmul", "F", 9_000, 1_500, matmul=(1, 15, 15, 20))
    beyond = Work("matmul", "F", 32_000, 4_000, matmul=(2, 20, 20, 20))
    assert price(between, "any") == 700 + (2_500 - 700) // 2
    assert price(beyond, "any") == 5_000


def test_a_class_that_was_not_measured_is_an_error_with_the_choices():
    price = MeasuredTimes(rows((PRODUCT, 700)), "table.csv")
    with pytest.raises(ProfileError, match=r"table.csv: no kernel softmax/F/fp16.*matmul/F/fp16"):
        price(Work("softmax", "F", 0, 100), "any")


class Formula:
    def collective_ns(self, collective, num_bytes, groups):
        return np.full(len(groups), 77)

    def transfer_ns(self, num_bytes, sources, targets):
        return np.full(len(sources), 78)


def test_collectives_and_transfers_are_measured_or_priced_by_formula():
    table = [
        Measurement("all-reduce", num_bytes=1_000, members=2, time_ns=50),
        Measurement("all-reduce", num_bytes=3_000, members=2, time_ns=90),
        Measurement("transfer", num_bytes=1_000, members=2, time_ns=30),
    ]
    found = MeasuredCommunication(table, Formula())
    pair, four = np.array([[0, 1]]), np.array([[0, 1, 2, 3]])
    sizes = {10: 50, 2_000: 70, 6_000: 180}
    assert {n: int(found.collective_ns("all-reduce", n, pair)[0]) for n in sizes} == sizes
    assert found.collective_ns("all-reduce", 1_000, four).tolist() == [77]
    assert found.collective_ns("all-gather", 1_000, pair).tolist() == [77]
    assert found.transfer_ns(np.array([10, 2_000]), pair[:, 0].repeat(2), 1).tolist() == [30, 60]


def test_tables_are_read_as_they_were_written(tmp_path):
    table = rows((PRODUCT, 700), (LARGER, 2_500))
    write_measured(tmp_path / "mine.csv", table)
    assert read_measured(tmp_path / "mine.csv") == table


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("measured,kernel\n", "the column 'step' is missing"),
        (",".join(COLUMNS) + "\nkernel,matmul,F,,fp16,1,1,1,1,1,1,0,fast,0,1\n", "line 2: time_ns"),
        (",".join(COLUMNS) + "\nkernel,matmul,F,,fp16,1,1,1,1,1,1,0,0,0,1\n", "must be at least 1"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, sentence):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ProfileError, match=sentence):
        read_measured(tmp_path / "mine.csv")


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
measured_times = "mine.csv"
[training]
global_batch = 4
precision = "fp32"
software = "torch-eager"
[strategy]
name = "megatron"
pipeline = 2
"""


@pytest.fixture
def scenario(tmp_path):
    """A scenario whose every kernel was measured to take a microsecond."""
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO.replace('measured_times = "mine.csv"\n', ""))
    prepared = prepare(flexsim.load_scenario(path))
    works = [kernel.work for kernel in kernels_of(prepared)]
    works += [added_work(prepared, 1_000), optimizer_work(prepared, 1_000)]
    write_measured(tmp_path / "mine.csv", rows(*((work, 1_000) for work in works)))
    path.write_text(SCENARIO)
    return path


def test_a_scenario_runs_with_measured_times(scenario):
    result = flexsim.run(flexsim.load_scenario(scenario))
    table = result.timeline.to_frame()
    forwards = table[(table.kind == "forward") & (table.operator == "layer0.fc1")]
    assert set(forwards.duration_ns) == {1_000}


def test_many_scenarios_give_the_same_with_measured_times(scenario):
    loaded = flexsim.load_scenario(scenario)
    (outcome,) = flexsim.run_many([loaded])
    assert outcome.error == ""
    assert outcome.metrics["iteration_time_s"] == flexsim.run(loaded).metrics["iteration_time_s"]


def test_measured_collectives_cannot_be_followed_over_links(scenario):
    with pytest.raises(ScenarioError, match=r"cluster.measured_times holds whole collectives"):
        flexsim.run(flexsim.load_scenario(scenario, ["simulation.network=links"]))
