"""Rows of text against Python's own formatting, and labels that must be quoted."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
from graphs import make_task_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from flexsim.engine.event import simulate
from flexsim.timeline.export import write_timeline
from flexsim.timeline.text import Column, labelled, thousandths, write_rows
from flexsim.timeline.trace import write_trace

NUMBERS = st.integers(-(2**62), 2**62) | st.integers(-1000, 1000)
LABELS = ["", "one", "zwölf", "a, b", "longer than a number of twenty digits or so"]


def written(pieces, *columns: Column) -> str:
    stream = io.BytesIO()
    write_rows(stream, pieces, columns)
    return stream.getvalue().decode()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(-1, len(LABELS) - 1), st.integers(0, 2**62))))
def test_rows_are_what_python_writes(rows):
    numbers, codes, times = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    text = written(["<", "|", "|", ">\n"], Column(numbers), labelled(codes, LABELS),
                   thousandths(times))  # fmt: skip
    names = [*LABELS, ""]
    assert text == "".join(f"<{n}|{names[c]}|{t / 1000!r}>\n" for n, c, t in rows)


def test_thousandths_at_the_edges():
    times = [0, 1, 10, 100, 999, 1000, 1001, 1010, 1100, 10**15 - 1]
    text = written(["", " "], thousandths(np.array(times)))
    assert text.split() == [repr(time / 1000) for time in times]


def test_more_rows_than_are_written_at_once():
    numbers = np.arange(20_001)
    assert written(["", "\n"], Column(numbers)).split() == [str(n) for n in range(20_001)]


def strange_timeline():
    """Two tasks with operators whose names need quotes in CSV and in JSON."""
    names = ('say "hi", twice', "back\\slash\nand Ω")
    graph = make_task_graph([(1500, [0], []), (2, [0], [0])])
    object.__setattr__(graph, "operator_names", names)
    return names, simulate(graph)


def test_names_in_csv_are_quoted(tmp_path):
    names, timeline = strange_timeline()
    write_timeline(tmp_path / "t.csv", timeline, "operators")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["operator"] for row in rows] == list(names)
    by_pandas = timeline.to_frame().to_csv(index=False, lineterminator="\n")
    ours = (tmp_path / "t.csv").read_bytes().decode().replace("operators,", "")
    assert ours.replace("detail,", "") == by_pandas


def test_names_in_json_are_escaped(tmp_path):
    names, timeline = strange_timeline()
    write_trace(tmp_path / "t.json", timeline, "operators")
    document = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    events = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in events] == [
        (names[0], 0.0, 1.5),
        (names[1], 1.5, 0.002),
    ]
