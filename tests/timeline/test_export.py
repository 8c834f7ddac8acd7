"""What timeline.csv, trace.json and metrics.csv hold."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
from graphs import make_task_graph

from flexsim.engine.event import simulate
from flexsim.errors import FlexSimError
from flexsim.timeline import export
from flexsim.timeline.export import block_frame, write_metrics, write_timeline
from flexsim.timeline.trace import write_trace

TENSOR = [("tensor", 0, -1), ("tensor", 1, -1)]


@pytest.fixture
def timeline():
    """A backward whose layers alternate with their recomputation and a tensor collective."""
    return simulate(
        make_task_graph(
            [
                (3, [0], []),
                (4, [0], [0]),
                (2, [1, 2], [1]),
                (3, [0], [2]),
                (4, [0], [3]),
                (5, [3], [4]),
            ],
            kinds=["recompute", "backward", "tensor", "recompute", "backward", "pipeline"],
            resources=[("compute", 0, -1), *TENSOR, ("pipeline", 0, 1)],
            actions=[("B", 2, 6, 0)],
            action=[0, 0, 0, 0, 0, 0],
        )
    )


def test_blocks_merge_the_spans_of_an_action(timeline):
    rows = [tuple(row) for row in block_frame(timeline).itertuples(index=False)]
    assert rows == [
        (0, "2B6", 2, 6, "B", "backward", 3, 16, 8, 2, 0),
        (0, "2B6", 2, 6, "B", "recompute", 0, 12, 6, 2, 0),
        (0, "2B6", 2, 6, "B", "tensor", 7, 9, 2, 1, 100),
        (0, "2B6", 2, 6, "B", "pipeline", 16, 21, 5, 1, 100),
    ]


def test_timeline_csv_says_what_a_row_is(timeline, tmp_path):
    path = tmp_path / "made" / "timeline.csv"
    assert write_timeline(path, timeline) == "operators"
    spans = pd.read_csv(path)
    assert list(spans["detail"].unique()) == ["operators"]
    assert spans["duration_ns"].tolist() == [3, 4, 2, 3, 4, 5]
    assert write_timeline(path, timeline, "blocks") == "blocks"
    blocks = pd.read_csv(path)
    assert list(blocks["detail"].unique()) == ["blocks"] and len(blocks) == 4


def test_large_timelines_are_written_as_blocks(timeline, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MOST_SPANS", 5)
    assert write_timeline(tmp_path / "t.csv", timeline) == "blocks"
    assert write_trace(tmp_path / "t.json", timeline) == "blocks"
    assert write_trace(tmp_path / "t.json", timeline, "operators") == "operators"
    monkeypatch.setattr(export, "MOST_SPANS", 6)
    assert write_timeline(tmp_path / "t.csv", timeline) == "operators"


def test_unknown_detail(timeline, tmp_path):
    with pytest.raises(FlexSimError, match="detail = 'block' is unknown: did you mean 'blocks'"):
        write_timeline(tmp_path / "t.csv", timeline, "block")
    assert not list(tmp_path.iterdir())


def _spans(document):
    return [event for event in document["traceEvents"] if event["ph"] == "X"]


def _thread_names(document):
    events = document["traceEvents"]
    return {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}


def _trace(timeline, tmp_path, detail):
    assert write_trace(tmp_path / "trace.json", timeline, detail) == detail
    return json.loads((tmp_path / "trace.json").read_text())


def test_trace_of_every_span(timeline, tmp_path):
    document = _trace(timeline, tmp_path, "operators")
    assert document["otherData"] == {"detail": "operators", "makespan_ns": 21}
    names = _thread_names(document)
    rows = [(e["pid"], names[e["tid"]], e["name"], e["ts"], e["dur"]) for e in _spans(document)]
    assert rows == [
        (0, "compute", "op 0", 0, 0.003),
        (0, "compute", "op 1", 0.003, 0.004),
        (0, "compute", "op 3", 0.009, 0.003),
        (0, "compute", "op 4", 0.012, 0.004),
        (0, "tensor", "op 2", 0.007, 0.002),
        (1, "tensor", "op 2", 0.007, 0.002),
        (0, "pipeline to 1", "op 5", 0.016, 0.005),
    ]
    processes = [e["args"]["name"] for e in document["traceEvents"] if e["name"] == "process_name"]
    assert processes == ["device 0", "device 1"]


def test_blocks_that_overlap_get_threads_of_their_own(timeline, tmp_path):
    document = _trace(timeline, tmp_path, "blocks")
    names = _thread_names(document)
    rows = [(names[e["tid"]], e["cat"], e["ts"], e["dur"]) for e in _spans(document)]
    assert rows[:2] == [
        ("compute", "recompute", 0, 0.012),
        ("compute (2)", "backward", 0.003, 0.013),
    ]
    _check_no_thread_overlaps(document)


def _check_no_thread_overlaps(document):
    end_of: dict[int, float] = {}
    for event in sorted(_spans(document), key=lambda e: e["ts"]):
        assert event["ts"] >= end_of.get(event["tid"], 0)
        end_of[event["tid"]] = event["ts"] + event["dur"]


def test_metrics_csv_is_one_flat_row(tmp_path):
    write_metrics(
        tmp_path / "metrics.csv",
        {"title": "a, b", "strategy": {"tensor": 8}},
        {"exposed_s": {"tensor": 0.5}, "stages": [{"w": 1}, {"w": 2}], "fits": None},
    )
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["title", "strategy.tensor", "exposed_s.tensor", "stages.0.w", "stages.1.w", "fits"],
        ["a, b", "8", "0.5", "1", "2", ""],
    ]
