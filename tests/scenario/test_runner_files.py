"""The files that a run writes: which, whole or not at all, and the same every time."""

import csv
import errno
import json
from pathlib import Path

import pytest
from command_line import flexsim
from small_gpt import write_small

AGG = "matplotlib.backends.backend_agg.FigureCanvasAgg"
SVG = "matplotlib.backends.backend_svg.FigureCanvasSVG"
FILES = [
    "bubbles.csv",
    "bubbles.png",
    "bubbles.svg",
    "memory.csv",
    "memory.png",
    "metrics.csv",
    "summary.json",
    "timeline.csv",
    "trace.json",
]


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(write_small(tmp_path / "small.toml"))


def names(directory):
    return sorted(path.name for path in Path(directory).iterdir())


def rows(path):
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_files_go_to_plots_by_the_name_of_the_scenario(scenario):
    answer = flexsim("run", scenario)
    assert answer.code == 0
    assert answer.err == "", "no progress bar in a pipe"
    assert names("plots/small") == FILES
    assert all(f"wrote plots/small/{name}" in answer.out for name in FILES)


def test_output_chooses_another_directory(scenario):
    assert flexsim("run", scenario, "--output", "deep/down/here", "--quiet") == (0, "", "")
    assert names("deep/down/here") == FILES
    assert not Path("plots").exists()


def test_json_is_one_object_and_files_are_written_all_the_same(scenario):
    answer = flexsim("run", scenario, "--json", "--output", "out")
    metrics = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert metrics["num_devices"] == 8
    assert names("out") == FILES
    (row,) = rows("out/metrics.csv")
    assert float(row["iteration_time_s"]) == metrics["iteration_time_s"]
    assert float(row["exposed_communication_s.tensor"]) > 0
    assert (row["strategy.tensor"], row["model.hidden"]) == ("2", "512")


def test_the_timeline_agrees_with_the_metrics(scenario):
    metrics = json.loads(flexsim("run", scenario, "--json", "--output", "out").out)
    spans = rows("out/timeline.csv")
    assert {row["detail"] for row in spans} == {"operators"}
    assert max(int(row["end_ns"]) for row in spans) == round(metrics["iteration_time_s"] * 1e9)
    assert all(int(row["start_ns"]) < int(row["end_ns"]) for row in spans)
    assert len(spans) >= metrics["num_tasks"]


def test_the_trace_is_a_chrome_trace(scenario):
    metrics = json.loads(flexsim("run", scenario, "--json", "--output", "out").out)
    trace = json.loads(Path("out/trace.json").read_text(encoding="utf-8"))
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {"M", "X"} == {event["ph"] for event in trace["traceEvents"]}
    assert all({"name", "cat", "ts", "dur", "pid", "tid"} <= set(event) for event in spans)
    end_us = max(event["ts"] + event["dur"] for event in spans)
    assert end_us == pytest.approx(metrics["iteration_time_s"] * 1e6)
    named = {(e["pid"], e["tid"]) for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in spans} == named


@pytest.mark.parametrize("limit", [0, 10**9])
def test_large_runs_hold_a_row_a_block_unless_all_is_asked_for(scenario, monkeypatch, limit):
    monkeypatch.setattr("flexsim.timeline.export.MOST_SPANS", limit)
    said = flexsim("run", scenario, "--output", "auto").out
    asked = flexsim("run", scenario, "--output", "all", "--detail", "operators").out
    assert "one row a task" in asked
    assert ("one row a block" in said) == (limit == 0)
    auto, everything = rows("auto/timeline.csv"), rows("all/timeline.csv")
    assert auto[0]["detail"] == ("blocks" if limit == 0 else "operators")
    assert everything[0]["detail"] == "operators"
    assert (len(auto) < len(everything)) == (limit == 0)
    for directory in ("auto", "all"):
        (row,) = rows(f"{directory}/metrics.csv")
        assert row["output.detail"] == ("operators" if directory == "all" else "auto")


def test_two_runs_write_the_same_bytes(scenario):
    for directory in ("first", "second"):
        assert flexsim("run", scenario, "--quiet", "--output", directory).code == 0
    for name in FILES:
        first, second = (Path(directory, name).read_bytes() for directory in ("first", "second"))
        if name == "metrics.csv":
            first = first.replace(b"first", b"second")
        assert first == second, name


def test_files_of_others_stay(scenario):
    Path("out/kept").mkdir(parents=True)
    Path("out/notes.txt").write_text("mine")
    Path("out/kept/trace.json").write_text("mine too")
    assert flexsim("run", scenario, "--quiet", "--output", "out").code == 0
    assert names("out") == sorted([*FILES, "kept", "notes.txt"])
    assert Path("out/notes.txt").read_text() == "mine"
    assert names("out/kept") == ["trace.json"]


def _half_a_table(stream, *_):
    stream.write(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def _half_a_picture(canvas, path, **_):
    Path(path).write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.parametrize(
    ("writer", "failing", "lost"),
    [
        ("flexsim.timeline.export.write_rows", _half_a_table, "timeline.csv"),
        ("flexsim.timeline.trace.write_rows", _half_a_table, "trace.json"),
        (f"{AGG}.print_png", _half_a_picture, "bubbles.png"),
        (f"{SVG}.print_svg", _half_a_picture, "bubbles.svg"),
    ],
)
def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    scenario, monkeypatch, writer, failing, lost
):
    assert flexsim("run", scenario, "--quiet", "--output", "out").code == 0
    before = Path("out", lost).read_bytes()
    monkeypatch.setattr(writer, failing)
    answer = flexsim("run", scenario, "--output", "out", "--set", "training.global_batch=16")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: out/{lost}: No space left on device\n"
    monkeypatch.undo()
    monkeypatch.chdir(Path(scenario).parent)
    assert Path("out", lost).read_bytes() == before
    assert names("out") == FILES


def test_a_scenario_that_fails_makes_no_directory(scenario):
    assert flexsim("run", scenario, "--output", "out", "--set", "strategy.tensor=3").code == 2
    assert not Path("out").exists()
