"""What stands in the rows of a sweep, whoever works on it."""

import csv
import json
import tracemalloc

import pytest
from command_line import flexsim as command
from small_gpt import simulate_small
from small_sweep import SWEEP, small_sweep, write_sweep

import flexsim
from flexsim.sweep import api, work
from flexsim.sweep.api import sweep
from flexsim.sweep.file import sweep_from
from flexsim.sweep.result import read_results
from flexsim.sweep.tally import Tally, pattern
from flexsim.sweep.work import Opened, Simulate
from flexsim.workers import WorkerDied, Workers

ODD = {
    "grid": {"strategy.tensor": [1, 2, 3, 16], "training.micro_batch": [1, 3]},
    "derive": {"strategy.data": "max(1, 8 // strategy.tensor)", "strategy.pipeline": "1"},
}


def _rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("full", [False, True])
def test_a_row_has_the_metrics_of_a_run(full, tmp_path):
    sweep(small_sweep({**SWEEP, "full": full}), tmp_path / "rows.csv")
    row = next(row for row in _rows(tmp_path / "rows.csv") if row["strategy.pipeline"] == "2")
    keys = {key: int(row[f"strategy.{key}"]) for key in ("tensor", "pipeline", "data")}
    result = simulate_small(
        strategy=keys, training={"micro_batch": int(row["training.micro_batch"])}
    )
    shares = ("bubble_fraction", "compute_fraction") if full else ()
    for name in ("iteration_time_s", "tokens_per_s", "mfu", "peak_memory_bytes", *shares):
        assert row[name] == str(result.metrics[name])
    stage = max(result.metrics["peak_memory_bytes_per_stage"], key=lambda each: each["total"])
    assert row["peak_memory_bytes.weights"] == str(stage["weights"])
    assert row["status"] == "ok"
    if full:
        exposed = result.metrics["exposed_communication_s"]["pipeline"]
        assert row["exposed_communication_s.pipeline"] == str(exposed)


def test_impossible_combinations_are_rows_with_their_reason(tmp_path):
    result = sweep(small_sweep(ODD), tmp_path / "rows.csv")
    rows = {
        (row["strategy.tensor"], row["training.micro_batch"]): row for row in _rows(result.path)
    }
    assert rows["3", "1"]["status"] == "skipped"
    assert rows["3", "1"]["reason"].startswith("strategy.tensor = 3 does not divide model.heads")
    assert "choose from 1, 2, 4, 8" in rows["3", "1"]["reason"]
    assert rows["3", "1"]["iteration_time_s"] == ""
    assert rows["16", "1"]["status"] == "skipped"
    assert result.statuses == {"ok": 2, "skipped": 6}
    assert result.skipped == {
        "strategy.tensor = … does not divide model.heads = …": 4,
        "training.global_batch = … does not divide into microbatches of … on … replicas"
        " (strategy.data x training.micro_batch = …)": 2,
    }


def test_a_derived_key_without_a_value_is_skipped_and_told(tmp_path):
    table = {
        "grid": {"strategy.tensor": [1, 2]},
        "derive": {"strategy.data": "2 // (strategy.tensor - 1)"},
    }
    result = sweep(small_sweep(table), tmp_path / "rows.csv")
    assert [row["status"] for row in _rows(result.path)] == ["skipped", "ok"]
    assert list(result.skipped) == [
        "'… // (strategy.tensor - …)': integer division or modulo by zero"
    ]


def test_what_does_not_fit_is_marked_and_not_among_the_best(tmp_path):
    table = {"grid": {"model.hidden": [512, 32768]}}
    result = sweep(small_sweep(table), tmp_path / "rows.csv")
    assert [row["status"] for row in _rows(result.path)] == ["ok", "out-of-memory"]
    assert [row["model.hidden"] for row in result.best] == ["512"]
    assert [row["model.hidden"] for row in result.front] == ["512"]


def test_an_unexpected_error_is_a_row(tmp_path, monkeypatch):
    def broken(self, scenario):
        raise KeyError(f"a bug,\nin {scenario.strategy.tensor}")

    monkeypatch.setattr("flexsim.scenario.batch.Batch.run", broken)
    result = sweep(small_sweep({"grid": {"strategy.tensor": [1, 2]}}), tmp_path / "rows.csv")
    assert result.statuses == {"error": 2}
    assert [row["status"] for row in _rows(result.path)] == [
        "error: KeyError: 'a bug,\\nin 1'",
        "error: KeyError: 'a bug,\\nin 2'",
    ]
    assert list(result.errors.values()) == [1, 1]


def test_a_configuration_that_kills_its_worker_is_a_row(tmp_path, monkeypatch):
    def killing(function, items, workers):
        for index, item in enumerate(items):
            yield index, WorkerDied(index, "the worker died") if index == 1 else function(item)

    monkeypatch.setattr(api, "map_unordered", killing)
    result = sweep(small_sweep({"grid": {"strategy.tensor": [1, 2]}}), tmp_path / "rows.csv")
    assert [row["status"] for row in _rows(result.path)] == ["ok", "error: the worker died"]


def test_the_rows_are_the_same_whatever_the_workers(tmp_path):
    file = write_sweep(tmp_path / "small.toml", SWEEP)
    for number in (1, 2):
        sweep(file, tmp_path / f"{number}.csv", workers=Workers(num_local=number))
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_a_row_does_not_follow_from_what_came_before():
    found = sweep_from(small_sweep())
    numbers = list(Opened(found).walk())
    forward, alone = Simulate(found), [Opened(found).row(number) for number in numbers[::5]]
    assert [forward(number) for number in numbers[::5]] == alone
    assert [forward(number) for number in reversed(numbers[::5])] == alone[::-1]


def test_fingerprints_follow_from_the_content_alone():
    one = Opened(sweep_from(small_sweep({"grid": {"strategy.tensor": [1, 2]}})))
    other = Opened(sweep_from(small_sweep({"grid": {"strategy.tensor": [2, 4]}})))
    assert one.fingerprint(1) == other.fingerprint(0)
    assert len({one.fingerprint(0), one.fingerprint(1), other.fingerprint(1)}) == 3


def test_results_follow_from_the_files_as_they_are_now(tmp_path):
    graph, rows = tmp_path / "mine.toml", []
    table = {"grid": {"strategy.tensor": [2]}, "derive": {"strategy.data": "cluster.devices // 4"}}
    content = small_sweep(table, cluster={"device_graph": "mine.toml", "hosts": 1})
    del content["cluster"]["hosts"]
    for hosts in (1, 2):
        graph.write_text(f'base = "dgx-a100"\nhosts = {hosts}\n')
        path = tmp_path / f"{hosts}.csv"
        rows += _rows(sweep(sweep_from(content, tmp_path / "sweep.toml"), path).path)
    assert [row["num_devices"] for row in rows] == ["8", "16"]
    assert rows[0]["fingerprint"] != rows[1]["fingerprint"]
    with pytest.raises(flexsim.FlexSimError, match="files, profiles or the version"):
        sweep(sweep_from(content, tmp_path / "sweep.toml"), tmp_path / "1.csv")


def test_a_search_is_a_row_with_its_best_strategy(tmp_path):
    table = {"grid": {"search.budget": [5, 40], "cluster.devices": [2]}, "search": True}
    search = {"method": "mcmc", "chains": 1, "starts": ["data"], "placement": "contiguous"}
    model = {"layers": 1}
    strategy = {"tensor": 1, "pipeline": 1, "data": 2}
    content = small_sweep(table, search=search, model=model, strategy=strategy)
    rows = _rows(sweep(content, tmp_path / "rows.csv").path)
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert 0 < int(rows[0]["proposals"]) < int(rows[1]["proposals"])
    assert float(rows[1]["iteration_time_s"]) <= float(rows[0]["iteration_time_s"])
    assert float(rows[1]["iteration_time_s"]) <= float(rows[1]["baseline_iteration_time_s"])


def test_a_price_adds_the_cost(tmp_path):
    price = {"dgx-a100": 2.0, "dgx-h100": 4.0}
    table = {"grid": {"cluster.device_graph": list(price)}, "price_per_device_hour": price}
    result = sweep(small_sweep(table), tmp_path / "rows.csv")
    for row in _rows(result.path):
        hours = float(row["iteration_time_s"]) / 3600
        cost = price[row["cluster.device_graph"]] * 8 * hours
        assert float(row["cost_per_iteration"]) == pytest.approx(cost, rel=1e-12)


def test_parquet_holds_the_same_rows(tmp_path):
    file = write_sweep(tmp_path / "odd.toml", ODD)
    result = sweep(file, tmp_path / "rows.parquet")
    table = read_results(result.path)
    rows = read_results(tmp_path / "rows.parquet.csv")
    assert list(table.columns) == list(rows.columns)
    for name in table.columns:
        assert table[name].dropna().tolist() == rows[name].dropna().tolist()
        assert table[name].isna().tolist() == rows[name].isna().tolist()
    assert table["strategy.tensor"].dtype == "int64"
    assert table["fits_memory"].dropna().tolist() == [True, True]
    before = result.path.read_bytes()
    assert sweep(file, tmp_path / "rows.parquet").num_before == 8
    assert result.path.read_bytes() == before


def test_the_front_has_what_no_other_row_beats():
    tally = Tally("mfu", has_price=False)
    points = [(3, 3), (1, 9), (2, 5), (9, 1), (3, 4), (2, 5), (4, 2), (1, 8)]
    for number, (time_s, num_bytes) in enumerate(points):
        tally.add(
            {
                "configuration": str(number),
                "status": "ok" if number != 6 else "out-of-memory",
                "reason": "",
                "mfu": str(number),
                "iteration_time_s": str(time_s),
                "peak_memory_bytes": str(num_bytes),
            }
        )
    assert [row["configuration"] for row in tally.front] == ["7", "2", "0", "3"]
    assert [row["configuration"] for row in tally.best] == ["7", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("reason", "alike"),
    [
        ("a = 3 does not divide b = 96; choose from 1, 2", "a = … does not divide b = …"),
        ("'zb-h1' takes 1.5e+03 s on a100-80gb", "'zb-h1' takes … s on a100-80gb"),
    ],
)
def test_reasons_count_together_without_their_numbers(reason, alike):
    assert pattern(reason) == alike


def test_memory_is_flat_however_many_configurations_there_are(tmp_path, monkeypatch):
    def standing_in(function, items, workers):
        rest = row.line.partition(",")[2]
        for index, number in enumerate(items):
            yield index, work.Row(number, row.status, f"{number},{rest}", {})

    monkeypatch.setattr(api, "map_unordered", standing_in)
    peaks = []
    for size in (1000, 10_000):
        batches, sizes = {"from": 1, "to": 100}, {"from": 1, "to": size // 100}
        grid = {"training.global_batch": batches, "training.micro_batch": sizes}
        content = small_sweep({"grid": grid})
        row = Opened(sweep_from(content)).row(0)
        tracemalloc.start()
        assert sweep(content, tmp_path / f"{size}.csv").num_rows == size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 9000 < 100  # bytes a configuration: the places of its row


def test_the_command_reports_and_prints_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path / "odd.toml", {**ODD, "price_per_device_hour": 2})
    answer = command("sweep", "odd.toml", "--workers", "1", "--set", "training.global_batch=16")
    assert (answer.code, answer.err) == (0, "")
    for words in (
        "8: 2 ok, 6 skipped",
        "Best by iteration_time_s",
        "Pareto front of iteration time against memory and cost",
        "4  strategy.tensor = … does not divide model.heads = …",
        "wrote plots/odd/results.csv",
    ):
        assert words in answer.out
    again = command("sweep", "odd.toml", "--set", "training.global_batch=16", "--json")
    numbers = json.loads(again.out)
    assert (numbers["configurations"], numbers["rows_before"], numbers["ok"]) == (8, 8, 2)
    assert [row["strategy.tensor"] for row in numbers["pareto_front"]]


def test_a_quiet_sweep_says_nothing(tmp_path):
    file = write_sweep(tmp_path / "small.toml")
    answer = command("sweep", str(file), "--output", str(tmp_path), "--workers", "1", "--quiet")
    assert answer == (0, "", "")
    assert (tmp_path / "results.csv").is_file()


def test_the_public_name_is_the_function(tmp_path):
    result = flexsim.sweep(small_sweep({"grid": {"strategy.tensor": [1]}}), tmp_path / "rows.csv")
    assert isinstance(result, flexsim.SweepResult)
    assert len(result.table()) == result.num_rows == 1


@pytest.mark.parametrize("content", [b"notes", None])
def test_a_parquet_file_of_something_else_is_refused_and_kept(content, tmp_path):
    path = tmp_path / "rows.parquet"
    sweep(small_sweep({"grid": {"strategy.tensor": [1]}}), path)
    (tmp_path / "rows.parquet.csv").unlink()
    path.write_bytes(content or path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(flexsim.FlexSimError, match="holds something else"):
        sweep(small_sweep({"grid": {"strategy.tensor": [2]}}), path)
    assert path.read_bytes() == before
