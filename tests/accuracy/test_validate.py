"""Simulated against measured: comparisons, summaries, and what is written of them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from command_line import flexsim as command_line
from command_line import only_error
from runs_table import write_runs

import flexsim
from flexsim.accuracy.compare import Question, compare
from flexsim.accuracy.measured import MeasuredMemory
from flexsim.accuracy.questions import questions_of_runs, questions_of_scenarios
from flexsim.accuracy.runs import read_runs
from flexsim.accuracy.summary import Errors

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "validation"
SMALL = {"layers": "2", "hidden": "256", "heads": "8", "seq": "128", "vocab": "1024"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Write a table of small runs, of which some can be compared."""
    rows = [
        {"row_id": "plain"},
        {"row_id": "rate", "iter_time_s": "", "samples_per_s": "40", "mem_gib": "12"},
        {"row_id": "strange", "gpu": "abacus"},
        {"row_id": "odd", "heads": "4", "tp": "8", "pp": "1"},
        {"row_id": "full", "iter_time_s": "", "notes": "OOM"},
        {"row_id": "base", "iter_time_s": "", "tp": "1", "pp": "1", "other_metric": "speedup=1"},
        {"row_id": "fast", "iter_time_s": "", "tp": "1", "pp": "1", "gbs": "64",
         "other_metric": "speedup=0.5"},
        {"row_id": "empty", "iter_time_s": ""},
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("validate") / "runs.csv"
    return write_runs(path, *(SMALL | row for row in rows))


@pytest.fixture(scope="module")
def validation(table):
    return flexsim.validate(runs=table, num_processes=1)


def by_name(validation):
    return {each.question.name: each for each in validation.comparisons}


def test_every_row_is_compared_or_told_why_not(validation):
    found = {name: (each.status, each.reason) for name, each in by_name(validation).items()}
    assert [name for name, (status, _) in found.items() if status == "compared"] == [
        "plain", "rate", "full", "fast",
    ]  # fmt: skip
    assert "no device profile" in found["strange"][1]
    assert "strategy.tensor = 8 does not divide model.heads" in found["odd"][1]
    assert "runs.csv" not in found["odd"][1]
    assert found["base"][1] == "the speedups of other runs refer to it"
    assert found["empty"][1].startswith("nothing was measured")


def test_the_simulated_time_is_that_of_a_run(validation, table):
    each = by_name(validation)["plain"]
    alone = flexsim.run(read_runs(table)[0].scenario())
    assert each.simulated_s == alone.metrics["iteration_time_s"]
    assert each.question.measured_s == 0.1
    assert each.error == each.simulated_s / 0.1 - 1


def test_memory_without_what_the_software_occupies(validation, table):
    memory = by_name(validation)["rate"].memory
    stages = flexsim.run(read_runs(table)[1].scenario()).metrics["peak_memory_bytes_per_stage"]
    held = max(stage["total"] - stage["overhead"] for stage in stages)
    assert (memory.measured_bytes, memory.simulated_bytes) == (12 * 2**30, held)


@pytest.mark.parametrize(
    ("of", "with_overhead"), [("first", True), ("first", False), ("all", True)]
)
def test_memory_of_other_devices(table, of, with_overhead):
    scenario = read_runs(table)[0].scenario()
    stages = flexsim.run(scenario).metrics["peak_memory_bytes_per_stage"]
    memory = MeasuredMemory(1e9, of, with_overhead)
    (found,) = compare([Question("one", "some", scenario, "mem_gib", memory=memory)], 1)
    held = [stage["total"] - (0 if with_overhead else stage["overhead"]) for stage in stages]
    wanted = sum(held) * 8 / len(held) if of == "all" else held[0]
    assert found.memory.simulated_bytes == wanted


def test_a_relative_time(validation):
    found = by_name(validation)
    each = found["fast"]
    assert each.question.measured_s == 2
    assert each.question.metric == "1 / speedup over base"
    times = [found[name].simulated_s for name in ("base", "fast")]
    assert times[1] > 1
    assert found["base"].error is None


def test_a_run_out_of_memory_that_fits_is_told(validation):
    flags = validation.content()["memory"]["flags"]
    assert flags["out_of_memory_but_fits"] == 1
    assert flags["out_of_memory_and_does_not_fit"] == 0
    assert sum(flags.values()) == 6


def test_errors_in_a_few_numbers():
    found = Errors.of([("a", 0.1), ("b", -0.4), ("c", 0.0)])
    assert (found.count, found.worst, found.worst_name) == (3, 0.4, "b")
    assert found.mean_absolute == pytest.approx(0.5 / 3)
    assert found.median_absolute == pytest.approx(0.1)
    assert found.mean == pytest.approx(-0.1)
    assert Errors.of([]) is None


def test_json(table, tmp_path):
    answer = command_line("validate", "--runs", str(table), "--json", "--workers", "1")
    assert answer.code == 0
    content = json.loads(answer.out)
    assert (content["num_rows"], content["num_compared"]) == (8, 3)
    errors = [abs(row["error"]) for row in content["rows"] if row["error"] is not None]
    assert content["mean_absolute_error"] == pytest.approx(sum(errors) / 3)
    assert content["median_absolute_error"] == pytest.approx(sorted(errors)[1])
    assert content["worst"] == max(errors)
    assert content["worst_row"] in {row["row_id"] for row in content["rows"]}
    assert content["memory"]["num_compared"] == 1
    assert content["families"]["somebody"]["num_compared"] == 3
    plain = content["rows"][0]
    assert (plain["row_id"], plain["metric"], plain["measured"]) == ("plain", "iter_time_s", 0.1)
    assert (plain["device"], plain["software"]) == ("a100-80gb", "megatron-deepspeed")
    assert not list(tmp_path.glob("plots"))


def test_files_and_the_report(table, tmp_path):
    answer = command_line("validate", "--runs", str(table), "--output", str(tmp_path / "out"))
    assert answer.code == 0
    assert "strange" in answer.out
    written = pd.read_csv(tmp_path / "out" / "validation.csv")
    assert written.row_id.tolist()[:2] == ["plain", "rate"]
    assert written.error.notna().sum() == 3
    assert (tmp_path / "out" / "validation.png").read_bytes().startswith(b"\x89PNG")


def test_markdown(table):
    answer = command_line("validate", "--runs", str(table), "--table")
    assert "| run | measured | simulated | error | memory, measured |" in answer.out
    assert "Profiles (device, software): a100-80gb, megatron-deepspeed." in answer.out
    assert "## Not compared" in answer.out


def test_nothing_to_draw(tmp_path):
    only = {"iter_time_s": "", "notes": "OOM"} | SMALL
    path = write_runs(tmp_path / "runs.csv", only)
    answer = command_line("validate", "--runs", str(path), "--output", str(tmp_path / "out"))
    assert answer.code == 0
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["validation.csv"]
    content = flexsim.validate(runs=path).content()
    assert content["mean_absolute_error"] is None


def test_two_processes_find_the_same(table, validation):
    many = write_runs(table.parent / "many.csv", *[SMALL] * 20)
    found = flexsim.validate(runs=many, num_processes=2)
    first = by_name(validation)["plain"].simulated_s
    assert [each.simulated_s for each in found.comparisons] == [first] * 20


def test_scenarios_with_published_numbers():
    names = ["korthikanti-22b-8xa100-full", "korthikanti-22b-layer-baseline"]
    files = [ROOT / "scenarios" / f"{name}.toml" for name in names]
    found = flexsim.validate(scenarios=[*files, ROOT / "scenarios" / "search"], num_processes=1)
    assert [each.question.name for each in found.comparisons] == [
        names[0], f"{names[1]}, forward", f"{names[1]}, backward",
    ]  # fmt: skip
    assert [each.question.measured_s for each in found.comparisons] == [1.42, 0.0077, 0.0119]
    assert list(found.families) == [
        "Korthikanti et al. 2022, Table 5", "Korthikanti et al. 2022, Table 4 (one layer)",
    ]  # fmt: skip
    assert found.errors.mean_absolute < 0.1


def test_every_shipped_source_has_a_name():
    paths = sorted((ROOT / "scenarios").glob("*.toml"))
    questions = questions_of_scenarios(paths)
    assert len({each.name for each in questions}) == len(questions) >= 40
    assert all("arXiv" not in each.family for each in questions)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runs", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["nowhere.toml"], "nowhere.toml: cannot be read"),
        (["some.toml", "--runs", "runs.csv"], "give scenarios or a table of runs"),
    ],
)
def test_bad_input(arguments, said):
    assert said in only_error(command_line("validate", *arguments))


def test_a_directory_without_scenarios(tmp_path):
    assert "there is no scenario file" in only_error(command_line("validate", str(tmp_path)))


EXPECTED = {
    "vtrain_measured.csv": (778, 778),
    "bloom176b_a100_sweep.csv": (76, 75),
    "megatron_sc21_table1.csv": (5, 5),
    "megatron_sc21_table2_zero3.csv": (6, 6),
    "mtnlg530b.csv": (1, 1),
    "shoeybi2019.csv": (9, 8),
    "zero_bubble.csv": (28, 28),
    "korthikanti2022.csv": (19, 9),
    "simumax_b200.csv": (15, 15),
    "frontier_runs.csv": (4, 1),
    "gpipe_torchgpipe.csv": (22, 0),
}
"""Rows, and those that can be compared: the others tell no time, no batch or no known device."""


@pytest.mark.parametrize("name", EXPECTED)
def test_tables_of_published_runs_are_read(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not here")
    questions = questions_of_runs(read_runs(SHARED / name))
    comparable = [each for each in questions if not each.reason]
    assert (len(questions), len(comparable)) == EXPECTED[name]


def test_published_runs_are_near():
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here")
    found = flexsim.validate(runs=SHARED / "korthikanti2022.csv", num_processes=1)
    assert found.errors.count == 9
    assert found.errors.mean_absolute < 0.06
