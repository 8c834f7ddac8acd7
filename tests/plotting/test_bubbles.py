"""The bubble table row by row; the picture's parts, not its pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from graphs import make_task_graph

from flexsim.engine.event import simulate
from flexsim.plotting.bubbles import bubble_figure, bubble_table, save_bubbles
from flexsim.plotting.raster import raster
from flexsim.plotting.style import KIND_COLORS, kind_rgb, text_color_on, tint
from flexsim.timeline.metrics import IterationFacts, metrics

STREAMS = [("compute", 0, -1), ("compute", 4, -1), ("tensor", 0, -1), ("pipeline", 0, 4)]


@pytest.fixture
def timeline():
    """Two ranks on devices 0 and 4: layers with a collective, a transfer, a recomputation."""
    return simulate(
        make_task_graph(
            [
                (10, [0], []),  # 0F5, first layer: 0-10
                (4, [2], [0]),  # its collective: 10-14
                (6, [0], [1]),  # second layer: 14-20
                (5, [3], [2]),  # transfer: 20-25
                (3, [1], [3]),  # 1B5 recomputes a layer: 25-28
                (7, [1], [4]),  # and goes back: 28-35
                (2, [1], [5]),  # the next layer: 35-37
                (8, [1], [6]),  # 37-45
            ],
            kinds=["forward", "tensor", "forward", "pipeline", *["recompute", "backward"] * 2],
            resources=STREAMS,
            actions=[("F", 0, 5, 0), ("B", 1, 5, 1)],
            action=[0, 0, 0, 0, 1, 1, 1, 1],
        )
    )


def rows(table: pd.DataFrame) -> list[tuple]:
    columns = ["rank", "kind", "stage", "microbatch", "chunk"]
    times = [(table[name] * 1e9).round().astype(int) for name in ("start_s", "end_s")]
    return list(zip(*(table[name] for name in columns), *times, strict=True))


def test_table_row_by_row(timeline):
    assert rows(bubble_table(timeline)) == [
        (0, "forward", 0, 5, 0, 0, 20),
        (0, "communication", -1, -1, -1, 10, 14),
        (0, "communication", -1, -1, -1, 20, 25),
        (0, "idle", -1, -1, -1, 25, 45),
        (1, "idle", -1, -1, -1, 0, 20),
        (1, "communication", -1, -1, -1, 20, 25),
        (1, "recompute", 1, 5, 0, 25, 30),
        (1, "backward", 1, 5, 0, 30, 45),
    ]


def test_communication_too_short_to_see_is_left_out_but_is_not_idle(timeline):
    table = bubble_table(timeline, smallest_share=0.1)
    found = table[table["kind"].isin(["communication", "idle"])]
    assert [row[:2] + row[-2:] for row in rows(found)] == [
        (0, "communication", 20, 25),
        (0, "idle", 25, 45),
        (1, "idle", 0, 20),
        (1, "communication", 20, 25),
    ]


def test_chunks_count_the_stages_of_a_rank():
    actions = [("F", 0, 0, 0), ("F", 2, 0, 0), ("F", 4, 0, 0), ("F", 1, 0, 1), ("F", 3, 0, 1)]
    tasks = [(1, [rank], []) for _, _, _, rank in actions]
    table = bubble_table(simulate(make_task_graph(tasks, actions=actions)))
    bars = table[table["kind"] == "forward"].sort_values("stage")
    assert bars["chunk"].tolist() == [0, 0, 1, 1, 2]


def test_one_device_a_rank_is_shown():
    tasks = [(1, [3], []), (2, [1], []), (4, [2], [])]
    actions = [("F", 0, 0, 0), ("F", 0, 1, 0), ("F", 1, 0, 1)]
    table = bubble_table(simulate(make_task_graph(tasks, actions=actions)))
    assert rows(table[table["kind"] == "forward"]) == [
        (0, "forward", 0, 1, 0, 0, 2),
        (1, "forward", 1, 0, 0, 0, 4),
    ]


FACTS = IterationFacts(2, 1, 1, 1.0, 1.0, 1.0, 1)


def test_saved_pictures(timeline, tmp_path):
    paths = save_bubbles(timeline, metrics(timeline, FACTS), "A title", tmp_path / "plots")
    assert [path.name for path in paths] == ["bubbles.png", "bubbles.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in paths[1].read_bytes()
    before = [path.read_bytes() for path in paths]
    save_bubbles(timeline, metrics(timeline, FACTS), "A title", tmp_path / "plots")
    assert [path.read_bytes() for path in paths] == before


def _chains(num_ranks: int, num_microbatches: int):
    """Independent forwards, back to back on every rank."""
    actions = [("F", r, m, r) for r in range(num_ranks) for m in range(num_microbatches)]
    tasks = [(1000, [rank], []) for _, _, _, rank in actions]
    return simulate(make_task_graph(tasks, actions=actions))


def test_numbers_where_they_fit_legend_and_units():
    figure = bubble_figure(bubble_table(_chains(2, 4)), "Title", "bubble 12 %")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == [*"01230123", "bubble 12 %"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["forward"]
    assert ax.get_title(loc="left") == "Title"
    assert ax.get_xlabel() == "time (µs)"
    assert len(ax.collections) == 1 and not ax.images


def test_many_bars_are_pixels_without_numbers():
    figure = bubble_figure(bubble_table(_chains(2, 3200)), "Title", "bubble 12 %")
    (ax,) = figure.axes
    assert len(ax.texts) == 1
    assert len(ax.images) == 1 and not ax.collections


def test_raster_mixes_colors_by_time():
    row, spans = np.array([0, 0, 1]), (np.array([0.0, 1.5, 2.0]), np.array([1.5, 4.0, 4.0]))
    red, blue, black = np.eye(3)[0], np.eye(3)[2], np.zeros(3)
    image = raster(row, spans, np.array([red, blue, black]), end=4.0, num_columns=4)
    white = np.ones(3)
    expected = [[red, (red + blue) / 2, blue, blue], [white, white, black, black]]
    assert np.allclose(image, expected)


def test_colors_are_distinct_and_text_contrasts():
    assert len(set(KIND_COLORS.values())) == len(KIND_COLORS)
    assert text_color_on(kind_rgb("forward")) == "white"
    assert text_color_on(kind_rgb("idle")) != "white"
    plain = kind_rgb("backward")
    shades = [tint(plain, chunk, 3).sum() for chunk in range(3)]
    assert shades == sorted(shades) and shades[0] == plain.sum() and shades[2] < 3
