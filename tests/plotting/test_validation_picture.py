"""The picture of simulated against measured times."""

import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from flexsim.plotting.validation import (
    draw_errors,
    draw_validation,
    drawn,
    save_validation,
    validation_figure,
)


@pytest.fixture
def table():
    rows = [
        ("one", "iter_time_s", 1.0, 1.1),
        ("one", "iter_time_s", 10.0, 9.0),
        ("two", "mfu_pct", 100.0, 100.0),
        ("two", "1 / speedup over a", 0.5, 0.6),
        ("two", "iter_time_s", 3.0, None),
    ]
    table = pd.DataFrame(rows, columns=["family", "metric", "measured", "simulated"])
    return table.assign(error=table.simulated / table.measured - 1)


def points(ax):
    clouds = [each for each in ax.collections if isinstance(each, PathCollection)]
    return [tuple(point) for cloud in clouds for point in cloud.get_offsets().tolist()]


def test_a_point_a_value_on_logarithmic_axes(table):
    ax = Figure().subplots()
    draw_validation(table, ax)
    assert points(ax) == [(1.0, 1.1), (10.0, 9.0), (100.0, 100.0)]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_legend_handles_labels()[1] == [
        "one\n2 values, mean error 10.0%", "two\n1 value, mean error 0.0%",
    ]  # fmt: skip


def test_errors_in_per_cent(table):
    ax = Figure().subplots()
    draw_errors(table, ax)
    found = {x: pytest.approx(y) for x, y in points(ax)}
    assert found == {1.0: 10.0, 10.0: -10.0, 100.0: 0.0}


def test_relative_times_are_not_drawn(table):
    assert drawn(table).measured.tolist() == [1.0, 10.0, 100.0]


def test_the_axes_of_both_panels_agree(table):
    above, below = validation_figure(table, "a title").axes
    assert above.get_xlim() == below.get_xlim()
    assert above.get_title(loc="left") == "a title"
    assert below.get_xlabel() == "measured time (s)"


def test_the_picture_is_written(table, tmp_path):
    path = save_validation(table, "a title", tmp_path / "validation.png")
    assert path.read_bytes().startswith(b"\x89PNG")
