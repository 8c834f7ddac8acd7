"""Pictures of sweeps: the tables behind them, and what is on the Axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from flexsim import plotting
from flexsim.plotting.quantities import METRICS, quantity_of
from flexsim.plotting.sweep_axes import MOST_SERIES, look_of
from flexsim.sweep.columns import is_better_larger, metric_columns, numeric

GIB = 2**30


def rows(**columns):
    """Return a results table; every configuration fits unless told otherwise."""
    table = pd.DataFrame(columns)
    return table if "fits_memory" in table else table.assign(fits_memory=True)


@pytest.fixture
def ax():
    return Figure().subplots()


def plain(table, *columns):
    return list(zip(*(table[name].tolist() for name in columns), strict=True))


@pytest.mark.parametrize("metric", numeric(metric_columns(True, True, True)))
def test_every_metric_of_a_results_file_has_a_label(metric):
    quantity = quantity_of(metric)
    assert metric in METRICS or metric.rpartition(".")[2] in quantity.label
    assert quantity.is_larger_better == is_better_larger(metric)
    if metric.endswith(("_s", "_bytes", "_flops", "_fraction", "fu")):
        assert quantity.unit


def test_units_and_scales():
    assert quantity_of("iteration_time_s").axis_label == "iteration time (s)"
    assert quantity_of("peak_memory_bytes.weights").axis_label == "weights in the peak memory (GiB)"
    assert quantity_of("step_ns").axis_label == "step (s)"
    assert 3 * GIB * quantity_of("peak_memory_bytes").scale == pytest.approx(3)
    assert quantity_of("strategy.overlap_gradients").axis_label == "overlap gradients"


def test_the_best_that_fits_stands_for_a_place():
    table = rows(
        t=[1, 1, 1, 2, 2],
        mfu=[0.5, 0.3, 0.4, 0.2, 0.6],
        fits_memory=[False, True, True, False, False],
    )
    found = plotting.lines_table(table, "t", "mfu")
    assert plain(found, "t", "mfu", "fits_memory") == [(1, 0.4, True), (2, 0.6, False)]


def test_less_is_better_where_it_is():
    table = rows(t=[1, 1], iteration_time_s=[3.0, 2.0])
    assert plotting.lines_table(table, "t", "iteration_time_s")["iteration_time_s"].tolist() == [2]


def test_lines_are_in_the_order_of_the_file_and_of_numbers(ax):
    table = rows(s=["b", "a", "b", "a"], x=[64, 1, 1, 64], mfu=[0.1, 0.2, 0.3, 0.4])
    found = plotting.lines_table(table, "x", "mfu", "s")
    assert plain(found, "s", "x") == [("b", 1), ("b", 64), ("a", 1), ("a", 64)]
    plotting.draw_lines(found, ax, x="x", y="mfu", by="s")
    lines = [line for line in ax.get_lines() if line.get_linestyle() != "None"]
    assert [line.get_ydata().tolist() for line in lines] == [[30, 10], [20, 40]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "a"]
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "MFU (%)"


def test_what_does_not_fit_is_hollow(ax):
    table = rows(x=[1, 2, 3], mfu=[0.1, 0.2, 0.3], fits_memory=[True, False, True])
    plotting.draw_lines(plotting.lines_table(table, "x", "mfu"), ax, x="x", y="mfu")
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata().tolist() for line in hollow] == [[2]]
    assert "does not fit in memory" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_texts_stand_side_by_side(ax):
    table = rows(s=["none", "full", "none"], mfu=[0.1, 0.2, 0.3])
    plotting.draw_lines(plotting.lines_table(table, "s", "mfu"), ax, x="s", y="mfu")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "full"]


def test_looks_differ():
    assert len({look_of(number) for number in range(MOST_SERIES)}) == MOST_SERIES


def test_heat_map_has_a_number_a_cell(ax):
    table = rows(
        t=[1, 2, 4, 1],
        p=[1, 1, 2, 1],
        mfu=[0.4, 0.512, 0.3, 0.45],
        fits_memory=[True, True, False, True],
    )
    cells = plotting.heat_map_table(table, "t", "p", "mfu")
    plotting.draw_heat_map(cells, ax, x="t", y="p", value="mfu")
    assert {(text.get_position(), text.get_text()) for text in ax.texts} == {
        ((0, 0), "45.0"),
        ((1, 0), "51.2"),
        ((2, 1), "30.0"),
    }
    mesh = next(each for each in ax.collections if isinstance(each, QuadMesh))
    assert mesh.get_array().compressed().tolist() == pytest.approx([45.0, 51.2])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "4"]
    assert len(ax.patches) == 1


def test_pareto_front_is_what_nothing_beats():
    table = rows(
        k=list("abcdef"),
        iteration_time_s=[1.0, 2.0, 2.0, 3.0, 0.5, 4.0],
        peak_memory_bytes=[9, 7, 6, 6, 1, 5],
        fits_memory=[True, True, True, True, False, True],
    )
    found = plotting.pareto_table(table, "iteration_time_s", "peak_memory_bytes")
    assert found["k"].tolist() == list("eacbdf")
    assert found[found["on_front"]]["k"].tolist() == ["a", "c", "f"]


def test_pareto_front_of_what_should_be_large():
    table = rows(mfu=[0.5, 0.4, 0.3], peak_memory_bytes=[9, 9, 3])
    found = plotting.pareto_table(table, "mfu", "peak_memory_bytes")
    assert found[found["on_front"]]["mfu"].tolist() == [0.5, 0.3]


def test_pareto_names_the_front(ax):
    times, memory = [1.0, 2.0, 3.0], [9 * GIB, 5 * GIB, 8 * GIB]
    table = rows(**{"a.tensor": [1, 2, 4]}, iteration_time_s=times, peak_memory_bytes=memory)
    table.loc[len(table)] = [8, 0.1, 900 * GIB, False]
    found = plotting.pareto_table(table, "iteration_time_s", "peak_memory_bytes")
    plotting.draw_pareto(found, ax, x="iteration_time_s", y="peak_memory_bytes", keys=["a.tensor"])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [
        *("fits in memory", "does not fit in memory\n(1 of 1 outside the frame)", "Pareto front"),
        *("tensor 1", "tensor 2"),
    ]
    assert ax.get_ylim()[1] < 20


def test_every_batch_has_its_own_front(ax):
    table = rows(
        b=[64, 8, 64, 8, 8], t=[1, 1, 2, 2, 4],
        iteration_time_s=[8.0, 1.0, 9.0, 2.0, 0.5], peak_memory_bytes=[5, 5, 4, 6, 1],
        fits_memory=[True, True, True, True, False],
    )  # fmt: skip
    axes = {"x": "iteration_time_s", "y": "peak_memory_bytes"}
    found = plotting.pareto_table(table, **axes, by="b")
    assert plain(found[found["on_front"]], "b", "t") == [(8, 1), (64, 1), (64, 2)]
    plotting.draw_pareto(found, ax, **axes, keys=["b", "t"], by="b")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[:2] == ["8\nt 1", "64\nt 1"]
    fronts = [line.get_xdata().tolist() for line in ax.get_lines()]
    assert fronts == [[1.0], [8.0, 9.0]]


def test_fronts_by_a_text_are_in_the_order_of_the_file():
    table = rows(m=["z", "a"], iteration_time_s=[2.0, 1.0], peak_memory_bytes=[2, 1])
    found = plotting.pareto_table(table, "iteration_time_s", "peak_memory_bytes", "m")
    assert list(found["m"].cat.categories) == ["z", "a"]
    assert found["on_front"].all()


def scaled(by_devices, **columns):
    devices, times = zip(*by_devices.items(), strict=True)
    return rows(num_devices=devices, iteration_time_s=times, **columns)


def test_ideal_of_a_fixed_model_falls():
    found = plotting.scaling_table(
        scaled({8: 4.0, 16: 2.5, 32: 1.0}), "num_devices", "iteration_time_s"
    )
    assert found["ideal"].tolist() == [4, 2, 1]
    assert found["efficiency"].tolist() == pytest.approx([1, 0.8, 1])


def test_ideal_of_growing_work_stays():
    table = scaled({8: 4.0, 16: 5.0}, model_flops=[1e15, 2e15])
    found = plotting.scaling_table(table, "num_devices", "iteration_time_s")
    assert found["ideal"].tolist() == [4, 4]
    assert found["efficiency"].tolist() == pytest.approx([1, 0.8])


def test_efficiency_is_drawn_in_per_cent_from_zero(ax):
    table = scaled({8: 4.0, 16: 2.5}, fits_memory=[True, False])
    found = plotting.scaling_table(table, "num_devices", "iteration_time_s")
    plotting.draw_efficiency(found, ax, x="num_devices")
    curve, hollow = (line for line in ax.get_lines() if line.get_marker() == "o")
    assert curve.get_ydata().tolist() == pytest.approx([100, 80])
    assert hollow.get_xdata().tolist() == [16]
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylabel() == "of the ideal (%)"


def test_ideal_rate_grows_with_devices():
    table = scaled({8: 4.0, 16: 2.5}, tokens_per_s=[100, 160], model_flops=[1e15, 1e15])
    found = plotting.scaling_table(table, "num_devices", "tokens_per_s")
    assert found["ideal"].tolist() == pytest.approx([100, 200])
    assert found["efficiency"].tolist() == pytest.approx([1, 0.8])


def test_every_curve_has_its_own_ideal(ax):
    table = scaled({8: 4.0, 16: 2.0}, model=["a", "a"])
    other = scaled({8: 9.0, 16: 9.0}, model=["b", "b"])
    both = pd.concat([table, other], ignore_index=True)
    found = plotting.scaling_table(both, "num_devices", "iteration_time_s", "model")
    assert found["ideal"].tolist() == [4, 2, 9, 4.5]
    plotting.draw_scaling(found, ax, x="num_devices", y="iteration_time_s", by="model")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[:2] == ["a, 100 % of ideal", "b, 50 % of ideal"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["8", "16"]


def test_parallel_has_the_best_first_and_all_values(ax):
    table = rows(
        t=[1, 2, 4, 8], s=["x", "y", "x", "y"], mfu=[0.1, 0.4, 0.3, 0.9],
        fits_memory=[True, True, True, False],
    )  # fmt: skip
    found = plotting.parallel_table(table, ["t", "s"], ["mfu"], 2)
    assert plain(found, "rank", "t", "s", "mfu") == [(1, 2, "y", 0.4), (2, 4, "x", 0.3)]
    plotting.draw_parallel(found, ax, keys=["t", "s"], metrics=["mfu"])
    assert len(ax.patches) == 2
    told = {text.get_text() for text in ax.texts}
    assert {"1", "2", "4", "8", "x", "y", "MFU (%)", "40", "30"} <= told
    widest = max(ax.patches, key=lambda patch: patch.get_linewidth())
    assert widest.get_path().vertices[0].tolist() == pytest.approx([0, 1 / 3])


@pytest.mark.parametrize("num", [0, 1])
def test_few_rows_are_drawn_too(num):
    table = rows(
        t=[1] * num, num_devices=[8] * num, iteration_time_s=[2.0] * num, mfu=[0.5] * num,
        peak_memory_bytes=[GIB] * num, fits_memory=[True] * num,
    )  # fmt: skip
    five = Figure(figsize=(8, 8)).subplots(5)
    time, memory, devices = "iteration_time_s", "peak_memory_bytes", "num_devices"
    plotting.draw_lines(plotting.lines_table(table, "t", "mfu"), five[0], x="t", y="mfu")
    cells = plotting.heat_map_table(table, "t", devices, "mfu")
    plotting.draw_heat_map(cells, five[1], x="t", y=devices, value="mfu")
    front = plotting.pareto_table(table, time, memory)
    plotting.draw_pareto(front, five[2], x=time, y=memory, keys=["t"])
    curve = plotting.scaling_table(table, devices, time)
    plotting.draw_scaling(curve, five[3], x=devices, y=time)
    best = plotting.parallel_table(table, ["t"], ["mfu"])
    plotting.draw_parallel(best, five[4], keys=["t"], metrics=["mfu"])
    said = [text.get_text() for ax in five for text in ax.texts]
    assert said.count("no configuration to draw") == (5 if num == 0 else 0)
    five[0].get_figure().draw_without_rendering()


@pytest.mark.parametrize("num_series", [2, 12])
def test_legend_stands_outside_the_data(num_series):
    from flexsim.plotting.sweep_axes import new_figure

    values = [f"a-rather-long-name-{number}" for number in range(num_series)]
    table = rows(s=np.repeat(values, 3), x=[1, 2, 3] * num_series, mfu=0.3)
    figure, ax = new_figure("A title", "A caption.")
    plotting.draw_lines(plotting.lines_table(table, "x", "mfu", "s"), ax, x="x", y="mfu", by="s")
    figure.draw_without_rendering()
    legend, data = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.x0 >= data.x1
    assert legend.x1 <= figure.bbox.x1
    assert legend.y0 >= figure.bbox.y0


def test_public_names_are_there():
    for name in plotting.__all__:
        assert callable(getattr(plotting, name))
    assert dir(plotting) == sorted(plotting.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        plotting.nonsense  # noqa: B018
