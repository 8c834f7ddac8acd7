"""Only configurations that do the same work are compared by time."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from command_line import flexsim as command
from small_sweep import small_sweep, write_sweep

from flexsim.sweep.equal_work import fair_metric, keys_of_work
from flexsim.sweep.file import sweep_from
from flexsim.sweep.plot_rows import plot_rows
from flexsim.sweep.plots import Asked, picture
from flexsim.sweep.suiting import suiting
from flexsim.sweep.tally import Tally

BATCH, PRESET, TENSOR = "training.global_batch", "model.preset", "strategy.tensor"
GIB = 2**30


def row(number, batch, time_s, num_gib, status="ok"):
    return {
        "configuration": str(number),
        BATCH: str(batch),
        "status": status,
        "reason": "",
        "mfu": str(number),
        "iteration_time_s": str(time_s),
        "peak_memory_bytes": str(num_gib),
    }


def fronts(rows, work):
    tally = Tally("mfu", has_price=False, work=work)
    for each in rows:
        tally.add(each)
    return [each["configuration"] for each in tally.front]


def test_every_batch_has_its_own_front():
    rows = [row(0, 64, 9, 5), row(1, 8, 1, 5), row(2, 64, 8, 6), row(3, 8, 2, 5)]
    assert fronts(rows, [BATCH]) == ["2", "0", "1"]
    assert fronts(rows, []) == ["1"]


def test_there_is_no_front_where_no_two_do_the_same_work():
    rows = [row(0, 8, 1, 5), row(1, 64, 8, 6), row(2, 64, 7, 5, "out-of-memory")]
    assert fronts(rows, [BATCH]) == []
    assert fronts(rows[:1], [BATCH]) == ["0"]


def test_where_nothing_fits_the_row_that_needs_least_is_told():
    tally = Tally("mfu", has_price=False)
    for number, num_gib in enumerate((9, 7, 8)):
        tally.add(row(number, 8, 1, num_gib, "out-of-memory"))
    assert tally.nearest["configuration"] == "1"
    tally.add(row(3, 8, 1, 5))
    assert tally.nearest is None


def test_the_command_tells_what_is_nearest_to_fitting(tmp_path):
    model = {"hidden": 65536, "heads": 64, "layers": 8}
    write_sweep(tmp_path / "large.toml", {"grid": {TENSOR: [1, 2]}}, model=model)
    sweep = ("sweep", str(tmp_path / "large.toml"), "--output", str(tmp_path), "--workers", "1")
    answer = command(*sweep)
    assert answer.code == 0, answer.err
    assert "No configuration fits in memory; this one needs least" in " ".join(answer.out.split())
    assert json.loads(command(*sweep, "--json").out)["nearest_to_fitting"][TENSOR] == 2


@pytest.mark.parametrize(
    ("keys", "work", "metric"),
    [
        ([TENSOR, "training.micro_batch", "model.attention"], (), "iteration_time_s"),
        ([TENSOR, BATCH], (BATCH,), "samples_per_s"),
        ([BATCH, PRESET, "model.seed"], (BATCH, PRESET), "mfu"),
        (["model.sequence"], ("model.sequence",), "mfu"),
    ],
)
def test_what_ranks_fairly(keys, work, metric):
    assert keys_of_work(keys) == work
    assert fair_metric(keys) == metric


@pytest.mark.parametrize(
    ("sweep", "metric"),
    [
        ({"grid": {TENSOR: [1, 2]}}, "iteration_time_s"),
        ({"grid": {BATCH: {"from": 8, "to": 16}}}, "samples_per_s"),
        ({"grid": {TENSOR: [1, 2]}, "derive": {BATCH: "8 * strategy.tensor"}}, "samples_per_s"),
        ({"zip": [{PRESET: ["a", "b"]}, {TENSOR: [1, 2]}]}, "mfu"),
        ({"grid": {BATCH: [8, 16]}, "best": "iteration_time_s"}, "iteration_time_s"),
    ],
)
def test_rows_are_ranked_fairly_unless_told_otherwise(sweep, metric):
    assert json.loads(sweep_from(small_sweep(sweep)).table)["best"] == metric


def results(batches, **columns):
    """Return a results table of as many configurations, all of which fit in memory."""
    number = len(batches)
    table = pd.DataFrame(
        {
            BATCH: batches,
            "status": "ok",
            "iteration_time_s": [float(1 + each) for each in range(number)],
            "samples_per_s": [float(8 + each) for each in range(number)],
            "mfu": 0.3,
            "peak_memory_bytes": [(number - each) * GIB for each in range(number)],
            "num_devices": 8.0,
        }
    )
    for name, values in columns.items():
        table.insert(0, name.replace("__", "."), values)
    return table


def rows_of(table):
    keys = [name for name in table if "." in name]
    return plot_rows(table, keys, ("r.csv", "r"))


def test_a_picture_has_a_front_for_each_work():
    table = results([8, 8, 64, 64], strategy__tensor=[1, 2, 1, 2])
    figure = picture(rows_of(table), "pareto", Asked())
    assert figure.get_suptitle().startswith("r: Pareto fronts of iteration time and")
    assert figure.get_supxlabel().startswith("A front for each global batch; below its name")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[:2] == ["8\ntensor 1", "64\ntensor 1"]


def test_a_metric_that_allows_for_the_work_has_one_front():
    table = results([8, 8, 64, 64], strategy__tensor=[1, 2, 1, 2])
    figure = picture(rows_of(table), "pareto", Asked(x="mfu"))
    assert figure.get_suptitle().startswith("r: Pareto front of MFU and")


def test_several_keys_of_work_name_a_front_together():
    table = results([8, 8, 64.0, 64.0], model__preset=["a", "a", "b", None])
    figure = picture(rows_of(table), "pareto", Asked())
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[:3] == ["a, 8", "b, 64", "none, 64"]


def test_fronts_by_a_key_keep_to_equal_work():
    table = results([8, 8, 64, 64], strategy__tensor=[1, 2, 1, 2])
    figure = picture(rows_of(table), "pareto", Asked(by="tensor"))
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts[:4] == ["1, 8", "2, 8", "1, 64", "2, 64"]


def test_more_works_than_looks_are_compared_by_a_fair_metric():
    table = results([*range(1, 41)] * 2, strategy__tensor=[1] * 40 + [2] * 40)
    figure = picture(rows_of(table), "pareto", Asked())
    assert figure.axes[0].get_xlabel() == "throughput (sequences/s)"


def test_every_work_has_its_own_curve_of_scaling():
    table = results([8, 8, 64, 64], cluster__hosts=[1, 2, 1, 2])
    table["num_devices"] = 8.0 * table["cluster.hosts"]
    figure = picture(rows_of(table), "scaling", Asked())
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "global batch (sequences)"
    assert [text.get_text()[:2] for text in legend.get_texts()][:2] == ["8,", "64"]
    table["num_devices"] = [8.0, 8.0, 16.0, 16.0]
    legend = picture(rows_of(table), "scaling", Asked()).axes[0].get_legend()
    assert legend.get_title().get_text() == ""


def test_what_is_in_step_gets_no_pareto_and_no_parallel_picture():
    table = results([8, 16, 32, 64], strategy__tensor=[1, 1, 2, 2], model__preset=list("abcd"))
    table["num_devices"] = [8.0, 16.0, 32.0, 64.0]
    assert suiting(rows_of(table)) == ["scaling"]


def test_one_row_and_one_column_make_no_heat_map():
    split = {"strategy__tensor": [1, 2, 4, 4, 4], "strategy__chunks": [1, 1, 1, 2, 3]}
    assert "heat-map" not in suiting(rows_of(results([8] * 5, **split)))
    split = {"strategy__tensor": [1, 2, 2, 4, 4], "strategy__chunks": [1, 1, 2, 1, 2]}
    assert "heat-map" in suiting(rows_of(results([8] * 5, **split)))


def test_the_command_tells_which_works_are_compared(tmp_path):
    grid = {BATCH: [8, 16], TENSOR: [1, 2]}
    write_sweep(tmp_path / "batches.toml", {"grid": grid})
    sweep = ("sweep", str(tmp_path / "batches.toml"), "--output", str(tmp_path))
    answer = command(*sweep, "--workers", "1")
    assert answer.code == 0, answer.err
    assert "Best by samples_per_s" in answer.out
    told = " ".join(answer.out.split())
    assert f"Pareto front of iteration time against memory, one for each {BATCH}" in told
    numbers = json.loads(command(*sweep, "--json").out)
    assert numbers["pareto_front_for_each"] == [BATCH]
    assert {each[BATCH] for each in numbers["pareto_front"]} == {8, 16}


def test_the_command_tells_where_no_two_do_the_same_work(tmp_path):
    write_sweep(tmp_path / "batches.toml", {"grid": {BATCH: [8, 16]}})
    sweep = ("sweep", str(tmp_path / "batches.toml"), "--output", str(tmp_path), "--workers", "1")
    assert f"No Pareto front: no two configurations agree in {BATCH}" in command(*sweep).out
