"""The pages as text: whole, self-contained, escaped, and with the numbers that were printed."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tomllib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from command_line import flexsim as command_line
from report_samples import EVIL, SWEEP, run_folder, search_folder, sweep_file, write_sweep
from rich.console import Console
from small_gpt import small, write_small

import flexsim
from flexsim.reports.html import html
from flexsim.reports.parts import number_in
from flexsim.reports.report import page_of, write_report
from flexsim.reports.style import escaped
from flexsim.reports.sweep_page import sweep_page
from flexsim.reports.timeline import Frame, thinned, timeline_figure
from flexsim.scenario.report import summary_table

VOID = {"meta", "link", "img", "br"}
SAMPLES = {"run": run_folder, "search": search_folder, "sweep": sweep_file}


class Reader(HTMLParser):
    """Collects what a page is made of; a tag that is not closed is an error."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts, self.data = [], [], [], {}

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.data[attributes["id"]] = json.loads(data)
        elif tag not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def read(kind):
    reader = Reader()
    reader.feed(html(page_of(SAMPLES[kind]())))
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module", params=list(SAMPLES))
def page(request):
    return read(request.param)


@pytest.fixture(scope="module")
def run_page():
    return read("run")


def test_nothing_is_fetched(page):
    named = [
        value for _, attrs in page.tags for name in ("src", "href") if (value := attrs.get(name))
    ]
    assert named
    assert all(value.startswith(("#", "data:")) for value in named)
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none';")


def test_contents_name_every_section(page):
    links = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a"]
    sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert links == sections
    assert len(sections) > 3


def test_every_id_is_used_once(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_a_name_is_never_markup(page):
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert all(attrs == {} or attrs["type"] == "application/json" for attrs in scripts)
    assert sum(attrs == {} for attrs in scripts) == 4
    assert not any("onerror" in attrs for _, attrs in page.tags)


def test_a_name_is_shown_as_it_is(run_page):
    assert EVIL in run_page.text
    assert EVIL in read("sweep").text


def test_a_name_in_a_figure_is_not_markup():
    figure = json.dumps(read("sweep").data)
    assert "&lt;script&gt;" in figure
    assert "<script" not in figure


def test_figures_are_what_plotly_knows(page):
    plots = [spec for spec in page.data.values() if "data" in spec]
    assert plots
    for spec in plots:
        go.Figure(spec)


def test_axes_have_titles_with_units(page):
    for spec in page.data.values():
        for name in ("xaxis", "yaxis"):
            title = spec["layout"][name]["title"]["text"]
            named = name == "yaxis" and any("ticktext" in spec["layout"][name] for _ in "1")
            plain = {"rank", "device", "proposals of the chain", "tensor degree", "pipeline degree"}
            assert named or title in plain or re.search(r"\(.+\)$", title), title


def test_same_results_give_the_same_bytes():
    assert html(page_of(run_folder())) == html(page_of(run_folder()))


def test_numbers_are_those_that_the_command_prints(run_page):
    summary = json.loads((run_folder() / "summary.json").read_text())
    content = tomllib.loads(summary["scenario"])
    again = flexsim.run(flexsim.Scenario.from_dict(content, "small.toml"))
    told = io.StringIO()
    Console(file=told, width=200).print(summary_table(again))
    words = re.findall(r"[\w.,%+/-]+", told.getvalue().replace(EVIL, ""))
    words = [word for word in words if any(letter.isdigit() for letter in word)]
    assert len(words) > 40
    assert [word for word in words if word not in run_page.text] == []


def test_the_scenario_is_one_that_runs(run_page):
    summary = json.loads((run_folder() / "summary.json").read_text())
    scenario = flexsim.Scenario.from_dict(tomllib.loads(summary["scenario"]), "small.toml")
    assert scenario.strategy.tensor == 2
    assert scenario.published.iteration_time_s == 0.02
    assert "tensor = 2" in run_page.text


def unpacked(spec, name, dtype):
    return np.frombuffer(base64.b64decode(spec[name]), dtype)


def test_the_timeline_holds_every_bar(run_page):
    spec = run_page.data["timeline-figure-data"]
    bars = pd.read_csv(run_folder() / "bubbles.csv")
    bars = bars[bars["kind"] != "idle"].sort_values(["rank", "start_ns"], kind="stable")
    assert unpacked(spec, "start", "<u4").tolist() == bars["start_ns"].tolist()
    assert unpacked(spec, "end", "<u4").tolist() == bars["end_ns"].tolist()
    assert unpacked(spec, "number", "<i4").tolist() == bars["microbatch"].tolist()
    assert spec["first_of_row"] == [0, int((bars["rank"] == 0).sum()), len(bars)]
    names = [spec["palette"][code]["name"] for code in unpacked(spec, "color", "<u2")]
    assert names == bars["kind"].replace("communication", "exposed communication").tolist()
    metrics = pd.read_csv(run_folder() / "metrics.csv")
    assert bars["end_ns"].max() == round(metrics["iteration_time_s"][0] * 1e9)


def test_long_times_are_told_in_coarser_ticks():
    bars = {"row": [3], "kind": ["forward"], "stage": [0], "microbatch": [7], "chunk": [0]}
    table = pd.DataFrame({**bars, "start_ns": [10**13], "end_ns": [2 * 10**13]})
    spec = timeline_figure(table, Frame("f", "rank", 2 * 10**13), "").spec
    (start,) = unpacked(spec, "start", "<u4")
    assert spec["unit_s"] == 1
    assert start * spec["tick"] == pytest.approx(10**4, abs=1e-5)
    assert spec["end_time"] == 2 * 10**4


def test_rows_are_left_out_where_there_are_too_many_bars():
    table = pd.DataFrame({"row": np.repeat(np.arange(10), 100)})
    shown, every = thinned(table, most_bars=350)
    assert every == 4
    assert shown["row"].unique().tolist() == [0, 4, 8]
    assert thinned(table, most_bars=1000)[1] == 1
    assert len(thinned(table, most_bars=5)[0]) == 100


def test_memory_reaches_the_peak_that_is_told(run_page):
    metrics = pd.read_csv(run_folder() / "metrics.csv")
    lines = run_page.data["memory-figure-data"]["data"]
    peak = max(max(line["y"]) for line in lines) * 2**30
    assert peak == pytest.approx(metrics["peak_memory_bytes"][0], rel=1e-3)


def test_links_are_told(run_page):
    first = pd.read_csv(run_folder() / "links.csv").iloc[0]
    assert f"{first['source']} {first['target']} {first['kind']}" in run_page.text
    assert any(attrs.get("src", "").startswith("data:image/png") for _, attrs in run_page.tags)


def test_the_trace_of_a_search_ends_at_its_best():
    page = read("search")
    lines = [line for line in page.data["trace-figure-data"]["data"] if line["line"]["width"] > 2]
    numbers = json.loads((search_folder() / "summary.json").read_text())["numbers"]
    trace = pd.read_csv(search_folder() / "search.csv")
    assert len(lines) == trace["chain"].nunique()
    factor = numbers["best_iteration_time_s"] / min(line["y"][-1] for line in lines)
    assert factor == pytest.approx(min((1, 1e-3, 1e-6), key=lambda unit: abs(unit - factor)))
    assert {"timeline-0-data", "timeline-1-data", "timeline-2-data"} <= page.data.keys()


def test_every_model_of_a_sweep_has_the_front_that_nothing_beats():
    page = read("sweep")
    lines = {line["name"]: line for line in page.data["front-figure-data"]["data"]}
    assert (lines["gpt"]["x"], lines["gpt"]["y"]) == ([3.0, 4.0], [70.0, 40.0])
    assert (lines[escaped(EVIL)]["x"], lines[escaped(EVIL)]["y"]) == ([2.0], [60.0])
    assert lines["does not fit"]["y"] == [200.0]
    assert "iteration time and peak memory; one for each model.name." in page.text
    assert "shortest iteration" not in page.text


def test_equal_work_shares_one_front(tmp_path):
    rows = [(*row[:3], "gpt", *row[4:]) for row in SWEEP]
    path = write_sweep(tmp_path / "results.csv", rows)
    lines = {line["name"]: line for line in front_section(path).parts[0].spec["data"]}
    assert lines["Pareto front"]["x"] == [2.0, 4.0]
    assert lines["Pareto front"]["y"] == [60.0, 40.0]
    assert ("shortest iteration", "2.00 s") in sweep_page(path).facts


def test_more_fronts_than_colours_are_named_once(tmp_path):
    rows = [(n, 1, 1, f"gpt{n // 2}", "ok", "", 1.0 + n, 0.3, 2**30, "a") for n in range(18)]
    front = front_section(write_sweep(tmp_path / "results.csv", rows))
    lines = [line for line in front.parts[0].spec["data"] if line["name"] == "Pareto fronts"]
    assert [line["showlegend"] for line in lines] == [True, *[False] * 8]


def test_where_no_two_do_the_same_work_there_is_no_front(tmp_path):
    rows = [(n, 1, 1, f"gpt{n}", "ok", "", 1.0 + n, 0.3, 2**30, "a") for n in range(3)]
    front = front_section(write_sweep(tmp_path / "results.csv", rows))
    assert [line["name"] for line in front.parts[0].spec["data"]] == ["fits"]
    assert front.parts[1].text.startswith("No two configurations that fit agree in model.name")


def front_section(path):
    return next(section for section in sweep_page(path).sections if section.name == "front")


def test_the_map_of_a_sweep_has_the_best_that_fits():
    trace = read("sweep").data["map-figure-data"]["data"][0]
    assert trace["y"] == ["1", "2", "4", "8"]
    assert trace["x"] == ["1", "2"]
    assert trace["z"][:2] == [[None, 20.0], [40.0, 27.0]]


def test_reasons_of_a_sweep_are_counted():
    text = read("sweep").text
    assert "skipped strategy.tensor = … does not divide … heads 2" in text
    assert "out-of-memory needs more memory than a device has 1" in text


@pytest.mark.parametrize(
    ("text", "number"),
    [("54.1 GiB", 54.1 * 2**30), ("1,024", 1024.0), ("+1.4 %", 1.4), ("<0.1 %", 0.1),
     ("2 ms", 2e-3), ("stage 3", None), ("", None)],
)  # fmt: skip
def test_cells_are_sorted_by_their_quantity(text, number):
    assert number_in(text) == number


def test_the_command_writes_where_it_is_told(tmp_path):
    answer = command_line(
        "report", str(sweep_file()), "--output", str(tmp_path / "deep" / "p.html")
    )
    assert (answer.code, answer.out) == (0, f"wrote {tmp_path}/deep/p.html\n")
    assert (tmp_path / "deep" / "p.html").stat().st_size < 6_000_000
    assert write_report(sweep_file()) == sweep_file().with_name("results.html")


def test_a_run_writes_its_report_when_asked(tmp_path):
    file = write_small(tmp_path / "small.toml", output={"directory": str(tmp_path / "out")})
    answer = command_line("run", str(file), "--report")
    assert answer.code == 0, answer.err
    assert f"wrote {tmp_path}/out/report.html" in answer.out
    assert "<h1>small</h1>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_files_of_an_earlier_run_are_not_told(tmp_path):
    folder = shutil.copytree(run_folder(), tmp_path / "run")
    flexsim.run(flexsim.Scenario.from_dict(small(), "small.toml")).save(folder)
    assert (folder / "links.csv").is_file()
    assert (
        ">utilization<" not in html(page_of(folder)).partition("<script>")[0].partition("</nav>")[2]
    )


def test_a_sweep_may_be_parquet(tmp_path):
    path = tmp_path / "results.parquet"
    pd.read_csv(sweep_file()).to_parquet(path)
    assert page_of(tmp_path).facts == page_of(sweep_file()).facts
    assert write_report(path) == tmp_path / "results.html"


@pytest.mark.parametrize(
    "tables",
    [
        {"strategy": {"schedule": "forward"}},
        {"strategy": {"tensor": 1, "pipeline": 1, "data": 1}, "cluster": {"devices": 1}},
        {"simulation": {"network": "links"}, "model": {"layers": 2}},
        {"strategy": {"data": 1, "pipeline": 4, "schedule": "zb-h1"}},
    ],
    ids=["forward only", "one device", "network of links", "split backward"],
)
def test_every_sort_of_run_has_a_page(tmp_path, tables):
    flexsim.run(flexsim.Scenario.from_dict(small(**tables), "small.toml")).save(tmp_path)
    sections = [section.name for section in page_of(tmp_path).sections]
    assert sections[:4] == ["numbers", "waterfall", "timeline", "memory"]
    assert html(page_of(tmp_path)).endswith("</html>")


def test_a_result_without_a_scenario_has_a_page_without_that_section(tmp_path):
    one = flexsim.run(flexsim.Scenario.from_dict(small(), "small.toml"))
    replace(one, scenario=None).save(tmp_path)
    assert "scenario" not in [section.name for section in page_of(tmp_path).sections]
