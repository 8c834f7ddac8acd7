"""What cannot be reported on is told in one sentence, and nothing is written."""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import flexsim, only_error
from report_samples import run_folder, search_folder, write_sweep


def refused(path):
    error = only_error(flexsim("report", str(path)))
    assert not list((path if path.is_dir() else path.parent).rglob("*.html"))
    return error.removeprefix("error: ").strip()


def test_there_is_nothing(tmp_path):
    assert refused(tmp_path / "none") == f"{tmp_path}/none: there is no such directory or file"


def test_an_empty_directory(tmp_path):
    assert refused(tmp_path).startswith(f"{tmp_path}: there are no results: neither summary.json")


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.toml").write_text("")
    assert "neither a directory of results nor a sweep's results" in refused(tmp_path / "a.toml")


@pytest.mark.parametrize("name", ["bubbles.csv", "memory.csv"])
def test_a_run_with_a_file_missing(tmp_path, name):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    (folder / name).unlink()
    assert refused(folder).startswith(f"{folder}/{name}: there is no such file")


@pytest.mark.parametrize("name", ["search.csv", "timelines.csv"])
def test_a_search_with_a_file_missing(tmp_path, name):
    folder = shutil.copytree(search_folder(), tmp_path / "search")
    (folder / name).unlink()
    assert refused(folder).startswith(f"{folder}/{name}: there is no such file")


def test_a_run_that_was_stopped_before_its_summary(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    (folder / "summary.json").unlink()
    assert "which a run or a search writes last" in refused(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "walk"}', "\x00"])
def test_a_summary_that_is_none(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    assert refused(tmp_path).startswith(f"{tmp_path}/summary.json: ")


def test_a_summary_of_another_version(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    del summary["waterfall"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "is not as this version of flexsim writes it ('waterfall')" in refused(folder)


def rewrite(folder, text):
    """Replace bubbles.csv, and its size in the summary."""
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "bubbles.csv").write_text(text)
    summary["files"]["bubbles.csv"] = len(text)
    (folder / "summary.json").write_text(json.dumps(summary))


def test_a_file_of_another_run(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    with (folder / "bubbles.csv").open("a") as stream:
        stream.write("1")
    assert refused(folder).startswith(f"{folder}/bubbles.csv: is of another run than summary.json")


def test_a_table_without_a_column(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    rewrite(folder, "rank,kind\n0,forward\n")
    assert refused(folder) == f"{folder}/bubbles.csv: has no column 'stage'; it has rank, kind"


def test_a_table_with_text_for_numbers(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    header = "rank,kind,stage,microbatch,chunk,start_ns,end_ns"
    rewrite(folder, f"{header}\n0,forward,0,0,0,soon,9\n")
    assert "column 'start_ns' should hold numbers only" in refused(folder)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "status\nok\n", '"a\n'])
def test_a_csv_that_is_no_sweep(tmp_path, content):
    (tmp_path / "results.csv").write_text(content)
    assert refused(tmp_path / "results.csv").startswith(f"{tmp_path}/results.csv: ")


def test_a_runs_own_table_is_no_sweep():
    told = only_error(flexsim("report", str(run_folder() / "metrics.csv")))
    assert "are no results of a sweep: there is no column 'status'" in told


def test_a_sweep_without_rows(tmp_path):
    path = write_sweep(tmp_path / "results.csv", [])
    assert refused(path) == f"{path}: the sweep has no rows yet"


def test_a_sweep_with_text_for_times(tmp_path):
    path = write_sweep(tmp_path / "results.csv", [(0, 1, 1, "x", "ok", "", "soon", 1, 1, "a")])
    assert "column 'iteration_time_s' should hold numbers only" in refused(path)


def test_a_torn_last_row_is_left_out(tmp_path):
    path = write_sweep(tmp_path / "results.csv")
    path.write_text(path.read_text()[:-40])
    assert flexsim("report", str(path)).code == 0
    assert "Sweep of 6 configurations" in (tmp_path / "results.html").read_text(encoding="utf-8")


def test_a_sweep_in_which_nothing_ran(tmp_path):
    rows = [(0, 1, 1, "x", "skipped", "too large", "", "", "", "a")]
    path = write_sweep(tmp_path / "results.csv", rows)
    assert flexsim("report", str(path)).code == 0
    page = (tmp_path / "results.html").read_text(encoding="utf-8")
    assert "No configuration could be simulated." in page
