"""``flexsim plot``: which pictures, of which rows, and what is refused."""

from __future__ import annotations

import pandas as pd
import pytest
from command_line import flexsim, only_error

from flexsim.sweep.plot_rows import plot_rows, rows_where
from flexsim.sweep.plots import KINDS, Asked, picture
from flexsim.sweep.suiting import suiting

GIB = 2**30


def results(**columns):
    """Return a results table of six splits: four fit, one does not, one was skipped."""
    table = pd.DataFrame(
        {
            "configuration": range(6),
            "strategy.tensor": [1, 2, 4, 1, 2, 4],
            "strategy.pipeline": [1, 1, 1, 2, 2, 2],
            "status": ["out-of-memory", *["ok"] * 4, "skipped"],
            "reason": [None] * 5 + ["no such split"],
            "iteration_time_s": [4.0, 3.0, 2.0, 3.5, 2.5, None],
            "mfu": [0.2, 0.3, 0.4, 0.25, 0.35, None],
            "model_flops": [1e15] * 5 + [None],
            "tokens_per_s": [10.0, 20.0, 30.0, 15.0, 25.0, None],
            "peak_memory_bytes": [90 * GIB, 30 * GIB, 20 * GIB, 25 * GIB, 22 * GIB, None],
            "peak_memory_at": ["F"] * 5 + [None],
            "fits_memory": [False, *[True] * 4, None],
            "num_devices": [8.0] * 5 + [None],
            "fingerprint": ["f"] * 6,
        }
    )
    for name, values in columns.items():
        table.insert(1, name.replace("__", "."), values)
    return table


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "splits.csv"
    results().to_csv(path, index=False)
    return path


def rows_of(table):
    keys = [name for name in table if name.partition(".")[2] and name != "peak_memory_bytes"]
    return plot_rows(table, keys, ("r.csv", "r"))


def test_pictures_stand_beside_the_results(file):
    answer = flexsim("plot", str(file))
    assert answer.code == 0, answer.err
    drawn = [file.with_name(f"splits-{kind}.png") for kind in ("heat-map", "pareto")]
    assert answer.out == "".join(f"wrote {path}\n" for path in drawn)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_one_picture_where_it_is_asked_for(tmp_path, suffix):
    path = tmp_path / f"results.{suffix}"
    write = {"csv": results().to_csv, "parquet": results().to_parquet}[suffix]
    write(path, index=False)
    svg = tmp_path / "deep" / "lines.svg"
    answer = flexsim(
        *("plot", str(tmp_path), "--x", "tensor", "--y", "mfu", "--by", "strategy.pipeline"),
        *("--output", str(svg), "--quiet"),
    )
    assert (answer.code, answer.out) == (0, ""), answer.err
    assert "<svg" in svg.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_chooses_what_is_not_given(kind):
    figure = picture(rows_of(results()), kind, Asked())
    assert figure.get_axes()[0].has_data()


def test_caption_tells_what_is_left_out():
    rows = rows_of(results())
    assert rows.left_out == {"skipped": 1}
    shown = rows_where(rows, "strategy.tensor > 1 and mfu > 0.3")
    assert shown.table["mfu"].tolist() == [0.4, 0.35]
    assert shown.left_out == {"skipped": 1, "by --where": 3}
    figure = picture(shown, "lines", Asked(x="tensor"))
    told = figure._supxlabel.get_text()
    assert told == "Left out of 6 configurations: 1 skipped, 3 by --where."


def test_caption_tells_what_the_best_is_over():
    figure = picture(rows_of(results()), "lines", Asked(x="tensor", y="mfu"))
    assert figure._supxlabel.get_text().startswith("Of each place the best over pipeline degree.")


def test_empty_cells_hold_no_condition():
    table = results()
    table.loc[1, "mfu"] = None
    found = rows_where(rows_of(table), "mfu > 0.3")
    assert found.table["mfu"].tolist() == [0.4, 0.35]


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({}, ["heat-map", "pareto"]),
        ({"training__micro_batch": [1, 2, 1, 2, 1, 2]}, ["heat-map", "pareto", "parallel"]),
        ({"strategy__tensor": None, "training__micro_batch": range(6)}, ["lines", "pareto"]),
    ],
)
def test_what_suits_the_keys(columns, kinds):
    plain = {name: each for name, each in columns.items() if each is not None}
    table = results(**plain).drop(
        columns=["strategy.tensor", "strategy.pipeline"] if len(plain) < len(columns) else []
    )
    assert suiting(rows_of(table)) == kinds


def test_scaling_suits_devices():
    table = results(cluster__hosts=[1, 2, 4, 1, 2, 4]).drop(columns="strategy.pipeline")
    table["num_devices"] = table["cluster.hosts"] * 8
    assert suiting(rows_of(table)) == ["scaling", "pareto"]


def test_keys_in_step_make_no_heat_map():
    table = results()
    table["strategy.pipeline"] = table["strategy.tensor"]
    assert "heat-map" not in suiting(rows_of(table))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--x", "strategy.tenser"], "did you mean 'strategy.tensor'? choose from"),
        (
            ["--x", "tensor", "--y", "mfus"],
            "--y mfus: there is no such column: did you mean 'mfu'?",
        ),
        (["--x", "tensor", "--y", "peak_memory_at"], "peak_memory_at holds no numbers"),
        (["--kind", "line"], "--kind line: did you mean 'lines'? choose from heat-map, lines"),
        (["--where", "mfu > 2"], "--where 'mfu > 2' holds for none of the 5 configurations"),
        (["--where", "mfus > 2"], "'mfus' is unknown: did you mean 'mfu'?"),
        (["--where", "open('x')"], "cannot be called"),
        (["--where", "mfu >"], "this is no expression"),
        (["--kind", "heat-map", "--x", "tensor", "--by", "tensor"], "needs two different columns"),
        (["--output", "a.png"], "names one picture: say which with --kind or --x"),
        (["--kind", "pareto", "--output", "a.gif"], "choose from .pdf, .png, .svg as its ending"),
        (["--kind", "parallel", "--best", "0"], "--best"),
    ],
)
def test_bad_options_are_told_in_a_sentence(file, options, told):
    assert told in only_error(flexsim("plot", str(file), *options))
    assert [path.name for path in file.parent.iterdir()] == ["splits.csv"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("no.csv", None, "no.csv: cannot be read"),
        ("a.csv", "x,y\n1,2\n", "are no results of a sweep: there is no column 'status'"),
        ("b.csv", "status,iteration_time_s\n", "the sweep has no rows yet"),
        (
            "c.csv",
            "k,status,iteration_time_s\n1,skipped,\n2,skipped,\n",
            "there is nothing to draw",
        ),
        ("d.parquet", "nonsense", "d.parquet: cannot be read"),
    ],
)
def test_no_results_are_told_in_a_sentence(tmp_path, name, content, told):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert told in only_error(flexsim("plot", str(path)))


def test_too_many_values_are_told(tmp_path):
    table = pd.concat([results()] * 15, ignore_index=True)
    table["strategy.pipeline"] = range(90)
    table.to_csv(tmp_path / "many.csv", index=False)
    answer = flexsim("plot", str(tmp_path / "many.csv"), "--x", "tensor", "--by", "pipeline")
    assert "--by strategy.pipeline has 75 values, and a picture has room for 28" in only_error(
        answer
    )
