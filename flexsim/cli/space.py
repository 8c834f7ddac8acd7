"""``flexsim space``: how many strategies a scenario has, operator by operator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flexsim.cli.options import Changes, ScenarioFile

if TYPE_CHECKING:
    from rich.table import Table

    from flexsim.search.size import SpaceSize


def space_command(
    file: ScenarioFile,
    *,
    changes: Changes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the exact numbers.")] = False,
) -> None:
    """Print the exact size of the space that a search would look through, by S, O, A and P."""
    from flexsim.cli.console import out
    from flexsim.scenario.load import load_scenario
    from flexsim.search.api import with_options
    from flexsim.search.problem import make_problem, make_space
    from flexsim.search.size import space_size

    scenario = with_options(load_scenario(file, changes or []), {})
    size = space_size(make_space(scenario, make_problem(scenario)))
    if as_json:
        print(json.dumps(size.content(), indent=2))
    else:
        out().print(_table(size))


def _table(size: SpaceSize) -> Table:
    from rich.table import Table

    from flexsim.search.size import short

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Operator", overflow="fold")
    table.add_column("dimensions", overflow="fold")
    for header in (*size.letters, "together"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in size.rows:
        cells = [short(row.by_letter[letter]) for letter in size.letters]
        table.add_row(row.name, row.dims, *cells, short(row.together))
    cells = [short(size.by_letter[letter]) for letter in size.letters]
    table.add_row("in all", "", *cells, short(size.together), style="bold")
    return table
