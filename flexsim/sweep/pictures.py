"""What is drawn of a finished sweep, beside its results file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from flexsim.errors import SweepError
from flexsim.plotting.saving import save_figure
from flexsim.sweep.columns import COST, STATUS
from flexsim.sweep.plot_rows import PlotRows, plot_rows
from flexsim.sweep.plots import Asked, picture
from flexsim.sweep.result import SweepResult
from flexsim.sweep.suiting import suiting

if TYPE_CHECKING:
    import pandas as pd

_METRICS = (
    "iteration_time_s",
    "tokens_per_s",
    "samples_per_s",
    "model_flops",
    "mfu",
    "peak_memory_bytes",
    "num_devices",
    COST,
)


def pictures(result: SweepResult, directory: Path) -> list[Path]:
    """Draw what suits the results into ``directory``, and return the paths of the pictures.

    They are called by the results file and their kind, ``results-pareto.png``. Nothing is drawn
    where no configuration could be simulated, or the results went to a device.
    """
    drawn: list[Path] = []
    if not result.path.is_file():
        return drawn
    stem = directory / result.path.stem
    with contextlib.suppress(SweepError):
        table = _table(result)
        named = (str(result.path), result.name)
        told = {"ranked_by": result.ranked_by, "samples": result.samples}
        rows = plot_rows(table, result.keys, named, **told)
        for kind in suiting(rows):
            with contextlib.suppress(SweepError):
                drawn.append(_draw(rows, kind, stem, Asked()))
    return drawn


def draw_suiting(rows: PlotRows, stem: Path, asked: Asked) -> list[Path]:
    """Draw every picture that suits the rows, each as ``STEM-KIND.png``; return the paths.

    Raise :class:`SweepError` where something that is asked for does not suit.
    """
    return [_draw(rows, kind, stem, asked) for kind in suiting(rows)]


def _draw(rows: PlotRows, kind: str, stem: Path, asked: Asked) -> Path:
    return save_figure(picture(rows, kind, asked), stem.with_name(f"{stem.name}-{kind}.png"))


def _table(result: SweepResult) -> pd.DataFrame:
    """Return the columns of the results that are drawn; a long sweep has many others."""
    import pandas as pd

    if result.path.suffix != ".csv":
        return result.table()
    wanted = {*result.keys, result.ranked_by, STATUS, *_METRICS}
    return pd.read_csv(result.path, usecols=lambda name: name in wanted, low_memory=False)
