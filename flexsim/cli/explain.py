"""``--waterfall`` and ``--critical-path``: where the time of a run went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flexsim.scenario.runner import Result

WithWaterfall = Annotated[
    bool,
    typer.Option(
        "--waterfall", help="Print and draw what leads from ideal compute to iteration time."
    ),
]
WithCriticalPath = Annotated[
    bool, typer.Option("--critical-path", help="Print and draw what the iteration waited for.")
]


class Explanation(NamedTuple):
    """What is printed behind the report, and the files that hold it."""

    parts: Sequence[RenderableType] = ()
    written: Sequence[Path] = ()

    def __add__(self, other: object) -> Explanation:
        assert isinstance(other, Explanation)
        return Explanation([*self.parts, *other.parts], [*self.written, *other.written])


def explained(result: Result, with_waterfall: bool, with_critical_path: bool) -> Explanation:
    """Return what was asked for, its files written to the directory of the scenario."""
    explanation = Explanation()
    if with_waterfall:
        explanation += _waterfall(result)
    if with_critical_path:
        explanation += _critical_path(result)
    return explanation


def _waterfall(result: Result) -> Explanation:
    from flexsim.scenario.explain import save_waterfall, waterfall_table

    table = result.waterfall()
    written = save_waterfall(result, table, _folder(result))
    return Explanation([waterfall_table(table), ""], written)


def _critical_path(result: Result) -> Explanation:
    from flexsim.scenario.explain import critical_path_parts, save_critical_path

    path = result.critical_path()
    return Explanation(critical_path_parts(path), save_critical_path(result, path, _folder(result)))


def _folder(result: Result) -> Path:
    assert result.scenario is not None
    return Path(result.scenario.directory)
