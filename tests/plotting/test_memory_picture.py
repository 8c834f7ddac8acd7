"""The memory picture: its columns by hand, and what it shows of few and of many stages."""

from __future__ import annotations

import numpy as np
import pytest

from flexsim.plotting.memory import MOST_PANELS, PART_COLORS, memory_figure, save_memory
from flexsim.plotting.memory_columns import highest_columns
from flexsim.timeline.memory import PARTS
from flexsim.timeline.memory_series import DeviceSeries, MemorySeries

GIB = 2**30


def series(rank: int, moments: list[tuple[int, int]], weights: int = 0) -> DeviceSeries:
    """Return a device with activations of so many GiB from each time on."""
    parts = np.zeros((len(moments), len(PARTS)), np.int64)
    parts[:, PARTS.index("weights")] = weights * GIB
    parts[:, PARTS.index("activations")] = [held * GIB for _, held in moments]
    return DeviceSeries(8 * rank, rank, np.array([time for time, _ in moments]), parts)


def whole(num_ranks: int) -> MemorySeries:
    moments = [(0, 0), (10, 30), (60, 5), (90, 0)]
    return MemorySeries(tuple(series(r, moments, 10 + r % 3) for r in range(num_ranks)), 100)


def test_columns_are_as_high_as_their_highest_moment():
    """Ten units of time in five columns; 3 holds on from the second column into the third."""
    one = series(0, [(0, 1), (3, 7), (3, 3), (6, 0), (7, 2)])
    held = highest_columns(one, 10, 5)[:, PARTS.index("activations")] // GIB
    assert held.tolist() == [1, 7, 3, 2, 2]


def test_every_part_has_a_colour():
    assert sorted(PART_COLORS) == sorted(PARTS)
    assert len(set(PART_COLORS.values())) == len(PARTS)


@pytest.mark.parametrize(("num_ranks", "num_axes"), [(1, 1), (4, 4), (MOST_PANELS, MOST_PANELS)])
def test_a_few_ranks_get_a_panel_each(num_ranks, num_axes):
    figure = memory_figure(whole(num_ranks), 80 * GIB, "small")
    assert len(figure.axes) == num_axes
    labels = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert labels[-1] == f"rank {num_ranks - 1}: peak {40 + (num_ranks - 1) % 3:.1f} GiB"


def test_many_ranks_get_a_map_and_the_fullest_a_panel():
    figure = memory_figure(whole(64), 80 * GIB, "large")
    picture = figure.axes[0].images[0].get_array()
    assert picture is not None and picture.shape[0] == 64
    assert picture.max() == pytest.approx(100 * 42 / 80)
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["rank 2: peak 42.0 GiB"]


@pytest.mark.parametrize(("capacity", "told"), [(80, "of 80.0 GiB"), (35, "6.00 GiB too much")])
def test_the_picture_says_whether_it_fits(capacity, told, tmp_path):
    found = whole(2)
    figure = memory_figure(found, capacity * GIB, "small")
    assert any(text.get_text().endswith(told) for text in figure.texts)
    path = save_memory(found, capacity * GIB, "small", tmp_path / "memory.png")
    assert path.stat().st_size > 5_000
