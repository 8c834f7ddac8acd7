"""``flexsim compare``: timelines on one axis, and what differs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command_line import flexsim, only_error
from matplotlib.figure import Figure
from small_gpt import small, toml_text

import flexsim as package
from flexsim.plotting import (
    ComparedRun,
    compared_run,
    comparison_figure,
    difference_table,
    draw_run,
)


def scenario(**strategy):
    tables = small()
    return {**tables, "strategy": {**tables["strategy"], **strategy}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    for name in ("gpipe", "1f1b"):
        content = toml_text(scenario(pipeline=2, schedule=name))
        (folder / f"{name}.toml").write_text(content)
    return [folder / "gpipe.toml", folder / "1f1b.toml"]


@pytest.fixture(scope="module")
def runs(files):
    return [compared_run(path.stem, package.run(package.load_scenario(path))) for path in files]


def test_differences_are_those_of_the_metrics(runs):
    table = difference_table(runs).set_index("metric")
    first, second = (run.metrics for run in runs)
    for name in ("iteration_time_s", "mfu", "bubble_fraction", "peak_memory_bytes"):
        row = table.loc[name]
        assert (row["base"], row["value"]) == (first[name], second[name])
        assert row["difference"] == pytest.approx(second[name] - first[name])
        assert row["relative"] == pytest.approx((second[name] - first[name]) / first[name])
    exposed = first["exposed_communication_s"]
    shown = {name.partition(".")[2] for name in table.index if "." in name}
    assert shown == {
        kind for kind in exposed if exposed[kind] or second["exposed_communication_s"].get(kind)
    }


def test_nothing_is_relative_to_zero(runs):
    base, other = (
        {**run.metrics, "bubble_fraction": value}
        for run, value in zip(runs, (0.0, 0.5), strict=True)
    )
    some = [
        type(runs[0])(run.name, metrics, run.bars)
        for run, metrics in zip(runs, (base, other), strict=True)
    ]
    row = difference_table(some).set_index("metric").loc["bubble_fraction"]
    assert row["difference"] == 0.5
    assert np.isnan(row["relative"])


def test_all_runs_have_one_time_axis(runs):
    axes = comparison_figure(runs).get_axes()
    assert len(axes) == 2
    assert axes[0].get_xlim() == axes[1].get_xlim()
    end_s = max(run.bars.end_s.max() for run in runs)
    factor = 1e3 if end_s < 1 else 1.0
    assert axes[0].get_xlim()[1] == pytest.approx(end_s * factor)
    assert [ax.get_xlabel() != "" for ax in axes] == [False, True]
    assert [ax.get_legend() is not None for ax in axes] == [False, True]


def test_the_title_tells_time_of_equal_work_only(runs):
    def title(base, other):
        some = [
            ComparedRun(name, {**run.metrics, **metrics}, run.bars)
            for name, run, metrics in zip("ab", runs, (base, other), strict=True)
        ]
        return comparison_figure(some).texts[0].get_text()

    base = {"iteration_time_s": 2.0, "model_flops": 1e15}
    assert title(base, base) == "b takes as long as a"
    assert title(base, {**base, "iteration_time_s": 3.0}) == "b takes 50.0 % more time than a"
    half = {"iteration_time_s": 1.0, "model_flops": 5e14}
    assert title(base, half) == "b does as many model FLOPs a second as a"
    half["iteration_time_s"] = 1.25
    assert title(base, half) == "b does 20.0 % fewer model FLOPs a second than a"


def test_a_run_is_told_beside_its_bars(runs):
    ax = Figure(figsize=(10, 3)).subplots()
    draw_run(runs[0], ax, 1.0)
    texts = {text.get_text() for text in ax.texts}
    assert {"gpipe", f"MFU {100 * runs[0].metrics['mfu']:.1f} %"} <= texts


def test_scenarios_and_directories_go_together(files, tmp_path):
    assert flexsim("run", str(files[0]), "--output", str(tmp_path / "a"), "--quiet").code == 0
    out = tmp_path / "out"
    answer = flexsim(
        "compare", str(tmp_path / "a"), *map(str, files), "--output", str(out), "--json"
    )
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [run["name"] for run in found["runs"]] == ["a", "gpipe", "1f1b"]
    same = [each for each in found["differences"] if each["run"] == "gpipe"]
    assert {each["difference"] for each in same} == {0.0}
    assert (out / "comparison.png").stat().st_size > 1000
    table = pd.read_csv(out / "comparison.csv")
    assert table["metric"].tolist() == [each["metric"] for each in found["differences"]]


def test_table_is_printed(files, tmp_path):
    answer = flexsim("compare", *map(str, files), "--output", str(tmp_path))
    assert answer.code == 0, answer.err
    assert "iteration time (s)" in answer.out
    assert "peak memory of a device (GiB)" in answer.out
    assert f"wrote {tmp_path / 'comparison.png'}" in answer.out


def test_bad_input_is_told_in_a_sentence(files, tmp_path):
    out = ("--output", str(tmp_path / "out"))
    assert "2 to 12" in only_error(flexsim("compare", str(files[0]), *out))
    missing = only_error(flexsim("compare", str(files[0]), str(tmp_path / "no.toml"), *out))
    assert "no.toml" in missing
    empty = only_error(flexsim("compare", str(tmp_path), str(files[0]), *out))
    assert "summary.json" in empty
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("files", {}, "is not as this version of flexsim writes it"),
        ("metrics", {"mfu": 0.5}, "is not as this version of flexsim writes it"),
        ("kind", "search", "holds a search; compare takes runs and scenarios"),
        ("kind", "tea", "is not the summary of a flexsim run or search"),
    ],
)
def test_a_directory_that_is_no_run_is_refused(files, tmp_path, key, value, told):
    folder = tmp_path / "run"
    assert flexsim("run", str(files[0]), "--output", str(folder), "--quiet").code == 0
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, key: value}))
    out = ("--output", str(tmp_path / "out"))
    assert told in only_error(flexsim("compare", str(folder), str(files[1]), *out))


def test_files_of_one_name_are_told_apart(files, tmp_path):
    other = tmp_path / "gpipe.toml"
    other.write_text(files[0].read_text())
    out = ("--output", str(tmp_path / "out"), "--json")
    found = json.loads(flexsim("compare", str(files[0]), str(other), *out).out)
    assert [run["name"] for run in found["runs"]] == [str(files[0]), str(other)]


def test_image_models_are_compared_by_images_a_second(tmp_path):
    content = {
        "title": "lenet",
        "model": {"preset": "lenet-5"},
        "cluster": {"device_graph": "dgx-a100", "devices": 1},
        "training": {"global_batch": 8, "micro_batch": 8},
        "strategy": {"name": "single"},
    }
    (tmp_path / "lenet.toml").write_text(toml_text(content))
    file, out = str(tmp_path / "lenet.toml"), str(tmp_path / "out")
    assert "images a second" in flexsim("run", file, "--output", out).out
    answer = flexsim("compare", file, out, "--output", str(tmp_path / "both"))
    assert "throughput (images/s)" in answer.out
    assert "tokens" not in answer.out
