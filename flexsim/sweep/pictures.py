"""What is drawn of a finished sweep, beside its results file."""

from __future__ import annotations

from pathlib import Path

from flexsim.errors import SweepError
from flexsim.plotting.saving import save_figure
from flexsim.sweep.plot_rows import PlotRows, plot_rows
from flexsim.sweep.plots import Asked, picture
from flexsim.sweep.result import SweepResult
from flexsim.sweep.suiting import suiting


def pictures(result: SweepResult, directory: Path) -> list[Path]:
    """Draw what suits the results into ``directory``, and return the paths of the pictures.

    They are called by the results file and their kind, ``results-pareto.png``. Nothing is drawn
    where no configuration could be simulated, or the results went to a device.
    """
    if not result.path.is_file():
        return []
    try:
        rows = plot_rows(
            result.table(), result.keys, str(result.path), result.name, result.ranked_by
        )
    except SweepError:
        return []
    return draw_suiting(rows, directory / result.path.stem)


def draw_suiting(rows: PlotRows, stem: Path, asked: Asked | None = None) -> list[Path]:
    """Draw every picture that suits the rows, each as ``STEM-KIND.png``; return the paths."""
    chosen = asked or Asked()
    return [
        save_figure(picture(rows, kind, chosen), stem.with_name(f"{stem.name}-{kind}.png"))
        for kind in suiting(rows)
    ]
