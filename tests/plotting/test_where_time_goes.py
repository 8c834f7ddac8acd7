"""Pictures of the waterfall and of the critical path: their bars, not their pixels."""

from __future__ import annotations

import pytest
from graphs import make_task_graph
from matplotlib.figure import Figure

from flexsim.engine.event import simulate
from flexsim.plotting.bubbles import bubble_table
from flexsim.plotting.critical_path import (
    critical_path_figure,
    draw_critical_path,
    path_bars,
    save_critical_path,
)
from flexsim.plotting.waterfall import draw_waterfall, save_waterfall, waterfall_bars
from flexsim.timeline.critical_path import critical_path
from flexsim.timeline.waterfall import Waterfall, WaterfallStep

STREAMS = [("compute", 0, -1), ("compute", 4, -1), ("pipeline", 0, 4)]


@pytest.fixture
def timeline():
    """Two ranks: forward and backward of two microbatches, and a step outside any action."""
    return simulate(
        make_task_graph(
            [
                (10, [0], []),  # 0F0: 0-10
                (2, [2], [0]),  # transfer: 10-12
                (20, [1], [1]),  # 1B0: 12-32
                (10, [0], [0]),  # 0F1: 10-20
                (5, [1], [2]),  # a step: 32-37
            ],
            kinds=["forward", "pipeline", "backward", "forward", "optimizer"],
            resources=STREAMS,
            actions=[("F", 0, 0, 0), ("B", 1, 0, 1), ("F", 0, 1, 0)],
            action=[0, 0, 1, 2, -1],
        )
    )


def test_path_bars_row_by_row(timeline):
    table = path_bars(timeline, critical_path(timeline)).to_frame()
    times = [(table[name] * 1e9).round().astype(int) for name in ("start_s", "end_s")]
    columns = [table[name] for name in ("rank", "kind", "microbatch")]
    assert list(zip(*columns, *times, strict=True)) == [
        (0, "forward", 0, 0, 10),
        (0, "communication", 0, 10, 12),
        (1, "backward", 0, 12, 32),
        (1, "optimizer", -1, 32, 37),
    ]


def test_path_lies_above_the_pale_timeline(timeline):
    ax = Figure().subplots()
    path = path_bars(timeline, critical_path(timeline))
    draw_critical_path(bubble_table(timeline), path.to_frame(), ax)
    below, above = ax.collections
    (cover,) = ax.patches
    assert below.get_zorder() < cover.get_zorder() < above.get_zorder()
    assert len(above.get_paths()) == 4
    line = ax.lines[0]
    assert line.get_xdata().tolist() == pytest.approx([0, 10, 10, 12, 12, 32, 32, 37])
    assert line.get_ydata().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_time_by_kind_stands_under_the_title(timeline, tmp_path):
    path = critical_path(timeline)
    texts = [text.get_text() for text in critical_path_figure(timeline, path, "t").axes[0].texts]
    expected = "backward 20.0 ns · forward 10.0 ns · optimizer 5.00 ns · pipeline 2.00 ns"
    assert f"critical path (red line): {expected}" in texts
    save_critical_path(timeline, path, "a title", tmp_path / "critical_path.png")
    assert (tmp_path / "critical_path.png").read_bytes().startswith(b"\x89PNG")


def steps(**parts: int) -> Waterfall:
    named = [(part.replace("_", " "), time_ns) for part, time_ns in parts.items()]
    rows = tuple(WaterfallStep(part, time_ns, 2 * time_ns) for part, time_ns in named)
    return Waterfall(sum(parts.values()), 2, rows)


def test_every_bar_begins_where_the_one_above_ends(tmp_path):
    table = steps(ideal_compute=600, kernel_efficiency=-100, optimizer=300, pipeline_bubble=200)
    bars = waterfall_bars(table)
    spans_ns = [(round(bar.start_s * 1e9), round(bar.end_s * 1e9)) for bar in bars]
    assert spans_ns == [(0, 600), (600, 500), (500, 800), (800, 1000), (0, 1000)]
    assert [bar.label for bar in bars][-1] == "iteration time"
    ax = Figure().subplots()
    draw_waterfall(table, ax)
    assert [text.get_text() for text in ax.texts] == [
        "600 ns · 60.0 %",
        "−100 ns · −10.0 %",
        "300 ns · 30.0 %",
        "200 ns · 20.0 %",
        "1.00 µs · 100.0 %",
    ]
    save_waterfall(table, "a title", tmp_path / "waterfall.png")
    assert (tmp_path / "waterfall.png").read_bytes().startswith(b"\x89PNG")


def test_short_communication_is_summed_up():
    parts = {f"exposed_{kind}_communication": 3 for kind in ("data", "gradient", "embedding")}
    table = steps(ideal_compute=9000, exposed_tensor_communication=900, **parts, pipeline_bubble=91)
    assert [(bar.label, round(bar.end_s * 1e9)) for bar in waterfall_bars(table)] == [
        ("ideal compute", 9000),
        ("exposed tensor communication", 9900),
        ("other exposed communication", 9909),
        ("pipeline bubble", 10000),
        ("iteration time", 10000),
    ]
