"""``flexsim plot``: pictures of a sweep's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexsim.cli.options import Quiet

if TYPE_CHECKING:
    from flexsim.sweep.plot_rows import PlotRows
    from flexsim.sweep.plots import Asked

_RESULTS = ("results.csv", "results.parquet")


Results = Annotated[
    Path,
    typer.Argument(
        metavar="RESULTS", help="What flexsim sweep wrote, or its directory.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="The picture (.png, .svg, .pdf), else beside RESULTS.",
        show_default=False,
    ),
]


def _asked(what: str, metavar: str | None = None) -> Any:
    return typer.Option(metavar=metavar, help=what, show_default=False)


X = Annotated[str | None, _asked("Across: a key.", "COLUMN")]
Y = Annotated[str | None, _asked("The metric; mfu unless given.", "COLUMN")]
By = Annotated[str | None, _asked("A line or front a value, or the rows of a heat map.", "COLUMN")]
Kind = Annotated[str | None, _asked("lines, heat-map, pareto, scaling or parallel.")]
Where = Annotated[str | None, _asked("Draw only rows for which it holds.", "EXPRESSION")]
Best = Annotated[int, typer.Option(min=1, max=200, help="Lines of a parallel picture.")]


def plot_command(  # noqa: PLR0913
    results: Results,
    *,
    x: X = None,
    y: Y = None,
    by: By = None,
    kind: Kind = None,
    where: Where = None,
    best: Best = 20,
    output: Output = None,
    quiet: Quiet = False,
) -> None:
    """Draw a sweep's results; without --kind and --x all pictures that suit them."""
    from flexsim.sweep.plots import Asked

    rows, path = _rows(results, where)
    drawn = _drawn(rows, (kind, Asked(x, y, by, best)), output, path)
    for each in [] if quiet else drawn:
        print(f"wrote {each}")


def _rows(results: Path, where: str | None) -> tuple[PlotRows, Path]:
    """Return what is to be drawn, and the results file."""
    from flexsim.reports.sweep_table import read_results
    from flexsim.sweep.plot_rows import plot_rows, rows_where

    path = _file_of(results)
    found = read_results(path)
    rows = plot_rows(found.rows, found.keys, (str(path), found.name))
    return (rows if where is None else rows_where(rows, where)), path


def _file_of(results: Path) -> Path:
    """Return the results file, also where its directory was given."""
    if not results.is_dir():
        return results
    there = [results / name for name in _RESULTS if (results / name).is_file()]
    return there[0] if there else results / _RESULTS[0]


def _drawn(
    rows: PlotRows, asked: tuple[str | None, Asked], output: Path | None, path: Path
) -> list[Path]:
    from flexsim.cli.pictures import check_ending
    from flexsim.errors import FlexSimError
    from flexsim.plotting.saving import save_figure
    from flexsim.sweep.pictures import draw_suiting
    from flexsim.sweep.plots import picture

    kind, columns = asked
    if output is not None:
        check_ending(output, "--output")
    if kind is None and columns.x is None and columns.by is None:
        if output is not None:
            raise FlexSimError(
                f"--output {output}: names one picture: say which with --kind or --x"
            )
        return draw_suiting(rows, path.with_suffix(""), columns)
    chosen = kind or "lines"
    figure = picture(rows, chosen, columns)
    return [save_figure(figure, output or path.with_name(f"{path.stem}-{chosen}.png"))]
