"""The schedules gallery: a panel a schedule, its numbers, and what is drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from command_line import flexsim, only_error

from flexsim.errors import ScheduleError
from flexsim.plotting.bars import BAR_CODE
from flexsim.plotting.gallery import draw_schedule, gallery_figure
from flexsim.plotting.gallery_panels import schedule_panel, schedule_panels
from flexsim.task_graph.schedules import SCHEDULES


@pytest.fixture(scope="module")
def panels():
    return schedule_panels(4, 8)


def test_every_schedule_fits_four_stages_and_eight_microbatches(panels):
    assert [panel.name for panel in panels] == list(SCHEDULES)


def test_all_do_the_same_work(panels):
    for panel in panels:
        works = panel.bars.kind != BAR_CODE["idle"]
        assert (panel.bars.kind[works] != BAR_CODE["communication"]).all()
        time = (panel.bars.end_s - panel.bars.start_s)[works].sum()
        assert time == pytest.approx(4 * 8 * (1 if panel.name == "forward" else 3)), panel.name
        whole = 4 * panel.makespan
        assert (whole - time) / whole == pytest.approx(panel.bubble_fraction), panel.name


@pytest.mark.parametrize(
    ("name", "bubble", "peaks"),
    [
        ("gpipe", 3 / 11, (8, 8, 8, 8)),
        ("1f1b", 3 / 11, (4, 3, 2, 1)),
        ("interleaved-1f1b", 3 / 19, (5.5, 4.5, 3.5, 2.5)),
    ],
)
def test_known_numbers(panels, name, bubble, peaks):
    panel = next(panel for panel in panels if panel.name == name)
    assert panel.bubble_fraction == pytest.approx(bubble)
    assert panel.peak_activations == peaks


def test_no_flush_means_no_bubble_in_steady_state(panels):
    steady = {panel.name: panel.steady_bubble_fraction for panel in panels}
    assert steady["1f1b"] is None
    assert steady["pipedream"] == pytest.approx(0)


def test_what_does_not_fit_is_left_out(monkeypatch):
    def refuse(shape):
        raise ScheduleError("no")

    monkeypatch.setitem(SCHEDULES, "gpipe", replace(SCHEDULES["gpipe"], function=refuse))
    assert schedule_panel("gpipe", 4, 6) is None
    assert [panel.name for panel in schedule_panels(4, 8)] == list(SCHEDULES)[1:]


def test_figure_has_numbers_in_cells_and_at_the_right(panels):
    chosen = [panel for panel in panels if panel.name in ("gpipe", "pipedream")]
    figure = gallery_figure(chosen, "a title")
    assert len(figure.axes) == 2
    assert [ax.get_xlim() for ax in figure.axes] == [(0, 33)] * 2
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("7") == 8  # four forwards and four backwards of the last microbatch
    assert {"gpipe", "bubble 27.3 %", "peak memory 8", "by rank 8 8 8 8"} <= set(texts)
    async_texts = {text.get_text() for text in figure.axes[1].texts}
    assert {"in steady state 0.0 %", "weights 4× 3× 2× 1×"} <= async_texts


def test_inference_keeps_nothing(panels):
    forward = [panel for panel in panels if panel.name == "forward"]
    texts = {text.get_text() for text in gallery_figure(forward).axes[0].texts}
    assert "nothing is kept" in texts


def test_numbers_need_room():
    from matplotlib.figure import Figure

    panel = schedule_panel("gpipe", 2, 12)
    assert panel is not None
    for points, drawn in ((20.0, 4 * 12), (5.0, 2 * (10 + 12)), (0.1, 0)):
        ax = Figure().subplots()
        draw_schedule(panel.bars.to_frame(), ax, points)
        assert len(ax.texts) == drawn
        assert len(ax.collections[0].get_paths()) == len(panel.bars)


def test_command_draws_schedules_only(tmp_path, monkeypatch):
    few = {name: SCHEDULES[name] for name in ("gpipe", "zb-v")}
    monkeypatch.setattr("flexsim.plotting.gallery_panels.SCHEDULES", few)
    picture = tmp_path / "schedules.svg"
    answer = flexsim("list", "schedules", "--plot", str(picture))
    assert answer.code == 0 and "gpipe" in answer.out
    assert picture.read_text(encoding="utf-8").startswith("<?xml")
    assert "a picture of schedules only" in only_error(
        flexsim("list", "models", "--plot", str(picture))
    )
